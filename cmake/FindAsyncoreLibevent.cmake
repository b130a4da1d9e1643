# libevent's core library for asyncore: the imported target asyncore::libevent_core.
#
# Debian's libevent has .pc files and no CMake config; others have a config that defines libevent::*.
# This module has names of its own and defines none of libevent's, so that it can stand beside
# either. ASYNCORE_USE_STATIC_LIBEVENT: link libevent_core.a, for a fully static program.
find_package(PkgConfig QUIET)
if(PkgConfig_FOUND)
  pkg_check_modules(AsyncoreLibevent_PC QUIET libevent_core)
endif()

find_path(AsyncoreLibevent_INCLUDE_DIR event2/event.h HINTS ${AsyncoreLibevent_PC_INCLUDE_DIRS})
# With multiarch it lies in a directory of its own.
find_path(AsyncoreLibevent_CONFIG_INCLUDE_DIR event2/event-config.h
  HINTS ${AsyncoreLibevent_PC_INCLUDE_DIRS} ${AsyncoreLibevent_INCLUDE_DIR})
if(ASYNCORE_USE_STATIC_LIBEVENT)
  set(AsyncoreLibevent_library AsyncoreLibevent_STATIC_LIBRARY)
  find_library(${AsyncoreLibevent_library} libevent_core.a HINTS ${AsyncoreLibevent_PC_LIBRARY_DIRS})
else()
  set(AsyncoreLibevent_library AsyncoreLibevent_LIBRARY)
  find_library(${AsyncoreLibevent_library} event_core HINTS ${AsyncoreLibevent_PC_LIBRARY_DIRS})
endif()
mark_as_advanced(AsyncoreLibevent_INCLUDE_DIR AsyncoreLibevent_CONFIG_INCLUDE_DIR
  ${AsyncoreLibevent_library})

if(AsyncoreLibevent_CONFIG_INCLUDE_DIR)
  file(STRINGS "${AsyncoreLibevent_CONFIG_INCLUDE_DIR}/event2/event-config.h"
    AsyncoreLibevent_version REGEX "EVENT__VERSION[ \t]+\"[0-9.]+")
  string(REGEX MATCH "[0-9.]*[0-9]" AsyncoreLibevent_VERSION "${AsyncoreLibevent_version}")
  unset(AsyncoreLibevent_version)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(AsyncoreLibevent
  REQUIRED_VARS ${AsyncoreLibevent_library} AsyncoreLibevent_INCLUDE_DIR
                AsyncoreLibevent_CONFIG_INCLUDE_DIR
  VERSION_VAR AsyncoreLibevent_VERSION)

if(AsyncoreLibevent_FOUND AND NOT TARGET asyncore::libevent_core)
  add_library(asyncore::libevent_core UNKNOWN IMPORTED)
  set_target_properties(asyncore::libevent_core PROPERTIES
    IMPORTED_LOCATION "${${AsyncoreLibevent_library}}"
    INTERFACE_INCLUDE_DIRECTORIES
      "${AsyncoreLibevent_INCLUDE_DIR};${AsyncoreLibevent_CONFIG_INCLUDE_DIR}")
endif()
unset(AsyncoreLibevent_library)
