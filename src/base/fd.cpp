#include "base/fd.h"

#include <unistd.h>

namespace muster {

void Fd::reset(int raw) noexcept {
  if (raw_ >= 0) ::close(raw_);
  raw_ = raw;
}

}  // namespace muster
