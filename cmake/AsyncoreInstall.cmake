# Install rules: libraries, headers, CMake package, pkg-config file, and the target uninstall.
set(cmake_dir ${CMAKE_INSTALL_LIBDIR}/cmake/asyncore)
set(pc_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

install(DIRECTORY include/ TYPE INCLUDE COMPONENT Development FILES_MATCHING PATTERN "*.h")
install(FILES LICENSE TYPE DOC COMPONENT Runtime)
foreach(kind shared static)
  if(TARGET asyncore_${kind})
    install(TARGETS asyncore_${kind} EXPORT asyncore-${kind}-targets
      LIBRARY COMPONENT Runtime NAMELINK_COMPONENT Development
      ARCHIVE COMPONENT Development)
    install(EXPORT asyncore-${kind}-targets NAMESPACE asyncore:: DESTINATION ${cmake_dir}
      COMPONENT Development)
  endif()
endforeach()

configure_package_config_file(cmake/asyncore-config.cmake.in asyncore-config.cmake
  INSTALL_DESTINATION ${cmake_dir})
write_basic_package_version_file(asyncore-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/asyncore-config.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/asyncore-config-version.cmake
              cmake/FindAsyncoreLibevent.cmake
  DESTINATION ${cmake_dir} COMPONENT Development)

# The .pc file finds its prefix from its own place, so that the installation can be moved, and
# cmake --install --prefix be used. Directories that are given as absolute paths stay so.
function(asyncore_pc_path variable dir)
  if(IS_ABSOLUTE ${dir})
    set(${variable} ${dir} PARENT_SCOPE)
  else()
    set(${variable} \${prefix}/${dir} PARENT_SCOPE)
  endif()
endfunction()
asyncore_pc_path(pc_libdir ${CMAKE_INSTALL_LIBDIR})
asyncore_pc_path(pc_includedir ${CMAKE_INSTALL_INCLUDEDIR})
if(IS_ABSOLUTE ${pc_dir})
  set(pc_prefix ${CMAKE_INSTALL_PREFIX})
else()
  file(RELATIVE_PATH pc_prefix /${pc_dir} /)
  string(REGEX REPLACE "/$" "" pc_prefix \${pcfiledir}/${pc_prefix})
endif()
# A program that links the archive links libevent too.
set(pc_requires Requires.private)
if(NOT ASYNCORE_BUILD_SHARED)
  set(pc_requires Requires)
endif()
configure_file(cmake/asyncore.pc.in asyncore.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/asyncore.pc DESTINATION ${pc_dir} COMPONENT Development)

if(PROJECT_IS_TOP_LEVEL)
  add_custom_target(uninstall COMMAND ${CMAKE_COMMAND}
    -DMANIFEST=${CMAKE_CURRENT_BINARY_DIR}/install_manifest.txt
    -P ${CMAKE_CURRENT_SOURCE_DIR}/cmake/uninstall.cmake)
endif()
