// LD_PRELOAD: a wall clock that a test can set, for one program. The file that MUSTER_TEST_CLOCK names holds the offset
// in ns (8 bytes, mapped); a byte into the FIFO at that name + ".set" says that it was set, as the kernel does by
// TFD_TIMER_CANCEL_ON_SET (timerfd_create(2)).
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <string>

namespace {

constexpr std::int64_t second_ns = 1'000'000'000;

const volatile std::int64_t* offset() {
  static const volatile std::int64_t* mapped = [] {
    static const std::int64_t none = 0;
    const char* path = std::getenv("MUSTER_TEST_CLOCK");
    const int file = path != nullptr ? ::open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return &none;
    void* page = ::mmap(nullptr, sizeof none, PROT_READ, MAP_SHARED, file, 0);
    ::close(file);
    return page == MAP_FAILED ? &none : static_cast<const std::int64_t*>(page);
  }();
  return mapped;
}

std::atomic<int> watch{-1};

}  // namespace

extern "C" {

int clock_gettime(clockid_t clock, timespec* now) noexcept {
  static const auto real =
      reinterpret_cast<int (*)(clockid_t, timespec*)>(::dlsym(RTLD_NEXT, "clock_gettime"));
  const int result = real(clock, now);
  if (result != 0 || clock != CLOCK_REALTIME) return result;
  const std::int64_t moved = now->tv_nsec + *offset() % second_ns + second_ns;
  now->tv_sec += *offset() / second_ns + moved / second_ns - 1;
  now->tv_nsec = moved % second_ns;
  return 0;
}

// The watch for changes of the clock: readable when the FIFO is.
int timerfd_create(clockid_t clock, int flags) noexcept {
  const char* path = std::getenv("MUSTER_TEST_CLOCK");
  if (clock != CLOCK_REALTIME || path == nullptr)
    return static_cast<int>(::syscall(SYS_timerfd_create, clock, flags));
  const int fifo = ::open((std::string(path) + ".set").c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
  watch.store(fifo);
  return fifo;
}

int timerfd_settime(int fd, int flags, const itimerspec* to, itimerspec* old) noexcept {
  if (fd == watch.load()) return 0;
  return static_cast<int>(::syscall(SYS_timerfd_settime, fd, flags, to, old));
}

ssize_t read(int fd, void* into, size_t size) {
  const ssize_t got = ::syscall(SYS_read, fd, into, size);
  if (got <= 0 || fd != watch.load()) return got;
  errno = ECANCELED;
  return -1;
}
}
