# Stands in for the config that libevent installs when it is built with CMake; Debian's package has
# none. As that one does, it refuses to define a target that is there already.
if(TARGET libevent::core)
  message(FATAL_ERROR "libevent::core is defined already")
endif()
find_path(LIBEVENT_INCLUDE_DIR event2/event.h REQUIRED)
find_library(LIBEVENT_CORE_LIBRARY event_core REQUIRED)
add_library(libevent::core SHARED IMPORTED)
set_target_properties(libevent::core PROPERTIES
  IMPORTED_LOCATION ${LIBEVENT_CORE_LIBRARY}
  INTERFACE_INCLUDE_DIRECTORIES ${LIBEVENT_INCLUDE_DIR})
