# One interface target that every target of ours links: warnings are errors, hardened, sanitized by preset.
add_library(muster_flags INTERFACE)
target_include_directories(muster_flags INTERFACE ${CMAKE_SOURCE_DIR}/src)
target_compile_options(muster_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wnon-virtual-dtor -Woverloaded-virtual
  -Wswitch -Wimplicit-fallthrough -Werror -fstack-protector-strong -ffunction-sections -fdata-sections)
target_link_options(muster_flags INTERFACE -pie -Wl,-z,relro,-z,now -Wl,--gc-sections)

set(MUSTER_SANITIZE "" CACHE STRING "address (with undefined) or thread: set by the presets asan and tsan")
if(MUSTER_SANITIZE STREQUAL "address")
  target_compile_options(muster_flags INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(muster_flags INTERFACE -fsanitize=address,undefined)
elseif(MUSTER_SANITIZE STREQUAL "thread")
  target_compile_options(muster_flags INTERFACE -fsanitize=thread -fno-omit-frame-pointer)
  target_link_options(muster_flags INTERFACE -fsanitize=thread)
else()
  target_compile_options(muster_flags INTERFACE $<$<CONFIG:Release>:-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2>)
endif()

# A module of ours: muster_module(NAME sources...) makes the static library muster_NAME.
function(muster_module name)
  add_library(muster_${name} STATIC ${ARGN})
  target_link_libraries(muster_${name} PUBLIC muster_flags)
endfunction()
