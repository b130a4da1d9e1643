# libevent_pthreads, for the tests and demos that have threads; the library does without. The
# imported target asyncore::libevent_pthreads, as FindAsyncoreLibevent.cmake makes that of the core.
find_package(Threads QUIET)
find_package(PkgConfig QUIET)
if(PkgConfig_FOUND)
  pkg_check_modules(AsyncoreLibeventPthreads_PC QUIET libevent_pthreads)
endif()

if(ASYNCORE_USE_STATIC_LIBEVENT)
  set(AsyncoreLibeventPthreads_name libevent_pthreads.a)
else()
  set(AsyncoreLibeventPthreads_name event_pthreads)
endif()
find_library(AsyncoreLibeventPthreads_LIBRARY ${AsyncoreLibeventPthreads_name}
  HINTS ${AsyncoreLibeventPthreads_PC_LIBRARY_DIRS})
mark_as_advanced(AsyncoreLibeventPthreads_LIBRARY)
unset(AsyncoreLibeventPthreads_name)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(AsyncoreLibeventPthreads
  REQUIRED_VARS AsyncoreLibeventPthreads_LIBRARY Threads_FOUND)

if(AsyncoreLibeventPthreads_FOUND AND NOT TARGET asyncore::libevent_pthreads)
  add_library(asyncore::libevent_pthreads UNKNOWN IMPORTED)
  set_target_properties(asyncore::libevent_pthreads PROPERTIES
    IMPORTED_LOCATION "${AsyncoreLibeventPthreads_LIBRARY}"
    INTERFACE_LINK_LIBRARIES "asyncore::libevent_core;Threads::Threads")
endif()
