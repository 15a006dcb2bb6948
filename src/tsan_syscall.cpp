// What ThreadSanitizer has to be told; compiled into builds with it only.
#include <sys/syscall.h>
#include <unistd.h>

// libuv closes descriptors by syscall(2), which the sanitizer does not see: it takes the number, in use again on a
// traffic thread, for the control thread's. The linker puts this before syscall(2).
extern "C" {
// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming,readability-function-size): the linker's names
long __real_syscall(long number, long a, long b, long c, long d, long e, long f);
long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f) {
  if (number == SYS_close) return ::close(static_cast<int>(a));
  return __real_syscall(number, a, b, c, d, e, f);
}
// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming,readability-function-size)
}
