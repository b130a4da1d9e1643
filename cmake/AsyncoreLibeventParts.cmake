# What tests and demos need of libevent beside the core, which the library does without: the targets
# asyncore::libevent_extra (evhttp) and asyncore::libevent_pthreads. They are not looked up by
# pkg-config, where they want all of libevent, with a second copy of the core.
find_package(Threads REQUIRED)

foreach(part extra pthreads)
  if(ASYNCORE_USE_STATIC_LIBEVENT)
    set(name libevent_${part}.a)
  else()
    set(name event_${part})
  endif()
  find_library(ASYNCORE_LIBEVENT_${part} ${name} HINTS ${AsyncoreLibevent_PC_LIBRARY_DIRS} REQUIRED)
  mark_as_advanced(ASYNCORE_LIBEVENT_${part})
  add_library(asyncore::libevent_${part} UNKNOWN IMPORTED)
  set_target_properties(asyncore::libevent_${part} PROPERTIES
    IMPORTED_LOCATION "${ASYNCORE_LIBEVENT_${part}}"
    INTERFACE_LINK_LIBRARIES "asyncore::libevent_core;Threads::Threads")
endforeach()
