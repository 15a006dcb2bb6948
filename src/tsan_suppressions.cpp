// What ThreadSanitizer takes for a race and is none; compiled into builds with it only.

// libuv closes descriptors by syscall(2), and a listener's descriptor is copied by fcntl(2): the sanitizer sees neither
// and takes the number, in use again on a traffic thread, for the control thread's.
extern "C" const char*
__tsan_default_suppressions() {  // NOLINT(bugprone-reserved-identifier,readability-identifier-naming): the sanitizer's
  return "race:^__interceptor_epoll_ctl$\n";
}
