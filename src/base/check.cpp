#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace muster {
void check_failed(const char* condition, const char* file, int line) noexcept {
  std::fprintf(stderr, "muster: bug: check failed at %s:%d: %s\n", file, line, condition);
  std::abort();
}
}  // namespace muster
