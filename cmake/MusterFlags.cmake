# One interface target that every target of ours links: warnings are errors, hardened, sanitized by preset.
include(CheckCXXCompilerFlag)

add_library(muster_flags INTERFACE)
target_include_directories(muster_flags INTERFACE ${CMAKE_SOURCE_DIR}/src)
target_compile_options(muster_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wnon-virtual-dtor -Woverloaded-virtual
  -Wswitch -Wimplicit-fallthrough -Werror -fstack-protector-strong -ffunction-sections -fdata-sections)
# All libraries here are linked into programs alone: -fPIE, not -fPIC, so that what one file calls of itself is inlined.
target_compile_options(muster_flags INTERFACE -fPIE)
target_link_options(muster_flags INTERFACE -pie -Wl,-z,relro,-z,now -Wl,-z,noexecstack -Wl,--gc-sections -Wl,--as-needed)

# g++ 12 sees overlapping copies in "literal" + std::string (GCC bug 105651).
target_compile_options(muster_flags INTERFACE $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>)

# Control-flow protection exists on some processors only.
foreach(flag -fcf-protection=full -fstack-clash-protection)
  string(MAKE_C_IDENTIFIER "MUSTER_HAS${flag}" has)
  check_cxx_compiler_flag(${flag} ${has})
  if(${has})
    target_compile_options(muster_flags INTERFACE ${flag})
  endif()
endforeach()

set(MUSTER_SANITIZE "" CACHE STRING "address (with undefined) or thread: set by the presets asan and tsan")
if(MUSTER_SANITIZE STREQUAL "address")
  # g++ 12 with sanitizers takes variables inside of std::regex for uninitialized; clang 14 cannot put its check of a
  # called function's type in front of a coroutine.
  target_compile_options(muster_flags INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
    $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized> $<$<CXX_COMPILER_ID:Clang>:-fno-sanitize=function>)
  target_link_options(muster_flags INTERFACE -fsanitize=address,undefined)
elseif(MUSTER_SANITIZE STREQUAL "thread")
  target_compile_options(muster_flags INTERFACE -fsanitize=thread -fno-omit-frame-pointer)
  target_link_options(muster_flags INTERFACE -fsanitize=thread)
else()
  # The library's own cheap checks (index in range, optional engaged) stay on in what is shipped.
  target_compile_definitions(muster_flags INTERFACE _GLIBCXX_ASSERTIONS)
  target_compile_options(muster_flags INTERFACE $<$<CONFIG:Release>:-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2>)
  # The exec shim is this binary: each start of a replica pays for each shared library. Measured on a do-nothing
  # program, exec to exit: 1.03 ms with libstdc++.so and libgcc_s.so, 0.57 ms with both linked in.
  target_link_options(muster_flags INTERFACE -static-libstdc++ -static-libgcc)
endif()

# What nearly every file includes, parsed once: a third of the time of a whole build. The files still name what they
# use: `./setup.sh check` compiles them without this (CMAKE_DISABLE_PRECOMPILE_HEADERS).
add_library(muster_headers OBJECT ${CMAKE_CURRENT_LIST_DIR}/headers.cpp)
target_link_libraries(muster_headers PRIVATE muster_flags)
target_precompile_headers(muster_headers PRIVATE ${CMAKE_CURRENT_LIST_DIR}/headers.h)

# A module of ours: muster_module(NAME sources...) makes the static library muster_NAME.
function(muster_module name)
  add_library(muster_${name} STATIC ${ARGN})
  target_link_libraries(muster_${name} PUBLIC muster_flags)
  target_precompile_headers(muster_${name} REUSE_FROM muster_headers)
endfunction()
