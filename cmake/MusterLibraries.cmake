# The Debian libraries. System headers, so that their warnings are not ours; static where Debian ships an archive,
# because the exec shim is this same binary and pays for every shared library at each start of a replica.
find_package(Threads REQUIRED)

find_path(MUSTER_BOOST_INCLUDE boost/asio.hpp REQUIRED)
find_library(MUSTER_BOOST_JSON NAMES libboost_json.a REQUIRED)
find_library(MUSTER_UV NAMES libuv_a.a libuv.a REQUIRED)
find_library(MUSTER_SPDLOG NAMES libspdlog.a spdlog REQUIRED)
find_library(MUSTER_FMT NAMES libfmt.a fmt REQUIRED)

add_library(muster_fmt INTERFACE)
target_compile_definitions(muster_fmt INTERFACE FMT_SHARED=0)
target_link_libraries(muster_fmt INTERFACE ${MUSTER_FMT})

add_library(muster_spdlog INTERFACE)
target_compile_definitions(muster_spdlog INTERFACE SPDLOG_COMPILED_LIB SPDLOG_FMT_EXTERNAL)
target_link_libraries(muster_spdlog INTERFACE ${MUSTER_SPDLOG} muster_fmt Threads::Threads)

add_library(muster_uv INTERFACE)
target_link_libraries(muster_uv INTERFACE ${MUSTER_UV} Threads::Threads ${CMAKE_DL_LIBS} rt)

add_library(muster_json INTERFACE)
target_include_directories(muster_json SYSTEM INTERFACE ${MUSTER_BOOST_INCLUDE})
target_link_libraries(muster_json INTERFACE ${MUSTER_BOOST_JSON})

add_library(muster_asio INTERFACE)
target_include_directories(muster_asio SYSTEM INTERFACE ${MUSTER_BOOST_INCLUDE})
target_compile_definitions(muster_asio INTERFACE BOOST_ASIO_NO_DEPRECATED)
target_link_libraries(muster_asio INTERFACE Threads::Threads)
