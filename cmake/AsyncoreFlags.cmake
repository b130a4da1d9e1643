# asyncore_target_flags(TARGET): warnings and sanitizers, for every target of this project.
# asyncore_library_flags(TARGET): these and hardening, for the library; programs of ours are compiled
# as a user's. Nothing of it reaches those who use an installed target.
include(CheckCCompilerFlag)

# asyncore_known_flags(VARIABLE FLAG...): appends those of the flags that the compiler knows.
function(asyncore_known_flags variable)
  set(known ${${variable}})
  foreach(flag IN LISTS ARGN)
    string(MAKE_C_IDENTIFIER "ASYNCORE_HAS${flag}" has)
    set(CMAKE_REQUIRED_FLAGS -Werror) # clang only warns of those that it ignores
    check_c_compiler_flag(${flag} ${has})
    if(${has})
      list(APPEND known ${flag})
    endif()
  endforeach()
  set(${variable} ${known} PARENT_SCOPE)
endfunction()

set(asyncore_warnings
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wcast-qual -Wcast-align
  -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wmissing-variable-declarations
  -Wundef -Wformat=2 -Wnull-dereference -Wpointer-arith -Wvla
  -Wimplicit-fallthrough)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
  list(REMOVE_ITEM asyncore_warnings -Wmissing-variable-declarations) # C only since gcc 14
  list(APPEND asyncore_warnings
    -Wlogical-op -Wduplicated-cond -Wduplicated-branches -Wjump-misses-init -Wtrampolines)
endif()
if(ASYNCORE_WERROR)
  list(APPEND asyncore_warnings -Werror)
endif()

function(asyncore_target_flags target)
  target_compile_options(${target} PRIVATE ${asyncore_warnings})
  if(ASYNCORE_SANITIZE)
    target_compile_options(${target} PRIVATE
      -fsanitize=${ASYNCORE_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_link_options(${target} PUBLIC $<BUILD_INTERFACE:-fsanitize=${ASYNCORE_SANITIZE}>)
  endif()
endfunction()

# The library's own: calls inside it are direct.
set(asyncore_library_compile_options "")
set(asyncore_library_link_options "")
# Nor does it tell where it was built.
asyncore_known_flags(asyncore_library_compile_options -fno-semantic-interposition
  -fmacro-prefix-map=${PROJECT_SOURCE_DIR}/=)
if(ASYNCORE_HARDENING)
  asyncore_known_flags(asyncore_library_compile_options
    -fstack-protector-strong -fstack-clash-protection -fcf-protection=full)
  list(APPEND asyncore_library_link_options LINKER:-z,relro LINKER:-z,now LINKER:-z,noexecstack)
  if(NOT ASYNCORE_SANITIZE)
    # Undefined first, since distributions define it. It needs optimisation.
    set(optimised $<CONFIG:Release,RelWithDebInfo,MinSizeRel>)
    list(APPEND asyncore_library_compile_options
      $<${optimised}:-U_FORTIFY_SOURCE> $<${optimised}:-D_FORTIFY_SOURCE=2>)
  endif()
endif()

function(asyncore_library_flags target)
  asyncore_target_flags(${target})
  target_compile_options(${target} PRIVATE ${asyncore_library_compile_options})
  target_link_options(${target} PRIVATE ${asyncore_library_link_options})
endfunction()
