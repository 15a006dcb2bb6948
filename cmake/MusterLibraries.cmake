# The Debian libraries. System headers, so that their warnings are not ours; static where Debian ships an archive,
# because the exec shim is this same binary and pays for every shared library at each start of a replica.
find_package(Threads REQUIRED)

find_path(MUSTER_BOOST_INCLUDE boost/beast.hpp REQUIRED)
find_library(MUSTER_BOOST_JSON NAMES libboost_json.a REQUIRED)
find_library(MUSTER_SSL NAMES libssl.a REQUIRED)
find_library(MUSTER_CRYPTO NAMES libcrypto.a REQUIRED)
find_library(MUSTER_UV NAMES libuv_a.a libuv.a REQUIRED)

# Debian 12 ships these two without archives: made here, once, from the packages' own headers.
add_library(muster_fmt INTERFACE)
target_compile_definitions(muster_fmt INTERFACE FMT_SHARED=0)
add_library(muster_fmt_archive STATIC ${CMAKE_CURRENT_LIST_DIR}/archives/fmt.cpp)
target_compile_definitions(muster_fmt_archive PRIVATE FMT_SHARED=0)
target_link_libraries(muster_fmt_archive PRIVATE muster_flags)
target_link_libraries(muster_fmt INTERFACE muster_fmt_archive)

add_library(muster_spdlog INTERFACE)
target_compile_definitions(muster_spdlog INTERFACE SPDLOG_COMPILED_LIB SPDLOG_FMT_EXTERNAL)
add_library(muster_spdlog_archive STATIC ${CMAKE_CURRENT_LIST_DIR}/archives/spdlog.cpp)
target_compile_definitions(muster_spdlog_archive PRIVATE SPDLOG_COMPILED_LIB SPDLOG_FMT_EXTERNAL)
target_link_libraries(muster_spdlog_archive PUBLIC muster_fmt Threads::Threads PRIVATE muster_flags)
target_link_libraries(muster_spdlog INTERFACE muster_spdlog_archive)

add_library(muster_uv INTERFACE)
target_link_libraries(muster_uv INTERFACE ${MUSTER_UV} Threads::Threads ${CMAKE_DL_LIBS} rt)

add_library(muster_tls INTERFACE)
target_link_libraries(muster_tls INTERFACE ${MUSTER_SSL} ${MUSTER_CRYPTO} Threads::Threads ${CMAKE_DL_LIBS})

add_library(muster_json INTERFACE)
target_include_directories(muster_json SYSTEM INTERFACE ${MUSTER_BOOST_INCLUDE})
target_link_libraries(muster_json INTERFACE ${MUSTER_BOOST_JSON})

add_library(muster_beast INTERFACE)
target_include_directories(muster_beast SYSTEM INTERFACE ${MUSTER_BOOST_INCLUDE})
target_compile_definitions(muster_beast INTERFACE BOOST_ASIO_NO_DEPRECATED)
target_link_libraries(muster_beast INTERFACE Threads::Threads)
