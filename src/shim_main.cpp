// The small exec shim and the output keeper, a program of its own without a C library: what glibc does before main() takes three times as
// long as all the rest (it asks the processor for its features, and a virtual machine answers each question slowly).
#include <linux/prctl.h>

#include <cstddef>

#include "supervisor/exec_shim.h"
#include "supervisor/keeper_steps.h"
#include "supervisor/raw_syscall.h"
#include "supervisor/shim_steps.h"

// The compiler may call these wherever it likes, but must not make a call of their own loops.
extern "C" {
void* memcpy(void* to, const void* from, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    static_cast<char*>(to)[i] = static_cast<const char*>(from)[i];
    asm volatile("" ::: "memory");
  }
  return to;
}
void* memset(void* to, int byte, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    static_cast<char*>(to)[i] = static_cast<char>(byte);
    asm volatile("" ::: "memory");
  }
  return to;
}
}

namespace {

using namespace muster::supervisor;

bool is_flag(const char* flag, const char* word) {
  for (; *flag != 0 && *word == *flag; ++flag, ++word) {
  }
  return *flag == *word;
}

// What the kernel puts on a new program's stack: argc, then the arguments.
[[noreturn]] void run(const long* stack) {
  const auto* const argv = reinterpret_cast<const char* const*>(stack + 1);
  if (stack[0] == 2 && is_flag(output_keeper_flag, argv[1])) keep_output();
  int memfd = -1;
  if (stack[0] >= 3 && is_flag(exec_shim_flag, argv[1])) {
    memfd = 0;
    for (const char* digit = argv[2]; *digit >= '0' && *digit <= '9'; ++digit)
      memfd = memfd * 10 + (*digit - '0');
  }
  raw_call(SYS_prctl, PR_SET_NAME, raw_address("muster-shim"));
  if (ShimImage* const image = memfd < 0 ? nullptr : map_shim_image(memfd)) {
    const bool named = image->user != 0 || image->group != 0;
    if (named && image->has_credentials == 0) fail_shim(*image, ShimStep::order, 95);  // ENOTSUP
    carry_out(*image, groups_of(*image), image->group_count);
  }
  for (;;) raw_call(SYS_exit_group, exit_of_failed_shim);
}

}  // namespace

extern "C" [[noreturn]] __attribute__((visibility("hidden"), used)) void muster_shim_start(
    const long* stack) {
  run(stack);
}

#if defined(__x86_64__)
asm(R"(
  .globl _start
  .type _start, @function
_start:
  endbr64
  xorl %ebp, %ebp
  movq %rsp, %rdi
  andq $-16, %rsp
  call muster_shim_start
)");
#elif defined(__aarch64__)
asm(R"(
  .globl _start
  .type _start, %function
_start:
  mov x29, #0
  mov x30, #0
  mov x0, sp
  bl muster_shim_start
)");
#endif
