# `cmake --install build/release --prefix P`, with DESTDIR: binary, units, example config and docs by the FHS.
# The unit files carry absolute paths, and the prefix is known only at install time: InstallUnits.cmake fills them in.
install(TARGETS muster RUNTIME DESTINATION bin)
if(TARGET muster-shim)
  install(TARGETS muster-shim RUNTIME DESTINATION libexec/muster)
endif()

install(FILES README.md ARCHITECTURE.md CHANGELOG.md LICENSE DESTINATION share/doc/muster)
install(DIRECTORY config/examples/ DESTINATION share/doc/muster/examples USE_SOURCE_PERMISSIONS # ./db is a program
  PATTERN .muster EXCLUDE PATTERN __pycache__ EXCLUDE)
install(FILES systemd/root.conf DESTINATION share/doc/muster/examples/systemd)

install(FILES systemd/muster.socket DESTINATION lib/systemd/system)
install(FILES systemd/sysusers.conf DESTINATION lib/sysusers.d RENAME muster.conf)
install(CODE "set(MUSTER_SOURCE_DIR \"${CMAKE_SOURCE_DIR}\")\nset(MUSTER_BINARY_DIR \"${CMAKE_BINARY_DIR}\")")
install(SCRIPT cmake/InstallUnits.cmake)
