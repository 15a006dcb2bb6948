# Runs at install time; CMAKE_INSTALL_PREFIX is what --prefix said. file(INSTALL) puts DESTDIR in front by itself.
get_filename_component(prefix "${CMAKE_INSTALL_PREFIX}" ABSOLUTE)
set(CMAKE_INSTALL_FULL_BINDIR "${prefix}/bin")
set(CMAKE_INSTALL_FULL_DOCDIR "${prefix}/share/doc/muster")
if(prefix STREQUAL "/usr")
  set(sysconf "/etc") # the FHS keeps the configuration of /usr there
else()
  set(sysconf "${prefix}/etc")
endif()

set(staged "${MUSTER_BINARY_DIR}/install-units")
configure_file("${MUSTER_SOURCE_DIR}/systemd/muster.service.in" "${staged}/system/muster.service" @ONLY)
configure_file("${MUSTER_SOURCE_DIR}/systemd/muster-user.service.in" "${staged}/user/muster.service" @ONLY)
file(INSTALL "${staged}/system/muster.service" DESTINATION "${prefix}/lib/systemd/system")
file(INSTALL "${staged}/user/muster.service" DESTINATION "${prefix}/lib/systemd/user")
file(INSTALL "${MUSTER_SOURCE_DIR}/config/muster.toml.example" DESTINATION "${sysconf}/muster")
