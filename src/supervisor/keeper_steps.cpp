#include "supervisor/keeper_steps.h"

#include <asm/ioctls.h>
#include <fcntl.h>
#include <linux/prctl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#include <cerrno>
#include <cstddef>

#include "supervisor/raw_syscall.h"

namespace muster::supervisor {
namespace {

constexpr long seconds_max = 3600;

struct Held {
  std::uint64_t instance;
  int fds[2];
};

// Pages that are not touched cost nothing.
Held held[keeper_held_max];
std::uint32_t held_count = 0;
pollfd polled[2 * keeper_held_max];

void close_fd(int& fd) {
  if (fd >= 0) raw_call(SYS_close, fd);
  fd = -1;
}

void drop(std::uint32_t index) {
  close_fd(held[index].fds[0]);
  close_fd(held[index].fds[1]);
  held[index] = held[--held_count];
}

void drop_instance(std::uint64_t instance) {
  for (std::uint32_t i = 0; i < held_count; ++i) {
    if (held[i].instance == instance) return drop(i);
  }
}

void hold(std::uint64_t instance, int out, int err) {
  drop_instance(instance);
  if (held_count == keeper_held_max) {
    close_fd(out);
    close_fd(err);
    return;
  }
  held[held_count].instance = instance;
  held[held_count].fds[0] = out;
  held[held_count].fds[1] = err;
  ++held_count;
}

// False: nobody is at the other end any more.
bool obey_next() {
  KeeperOrder order;
  alignas(cmsghdr) unsigned char control[64];
  iovec piece{&order, sizeof order};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const long got = raw_call(SYS_recvmsg, keeper_socket_fd, raw_address(&message), MSG_CMSG_CLOEXEC);
  if (got == -EINTR) return true;
  if (got <= 0) return false;
  int fds[2] = {-1, -1};
  const auto* const header = reinterpret_cast<const cmsghdr*>(control);
  if (message.msg_controllen >= sizeof(cmsghdr) && header->cmsg_level == SOL_SOCKET &&
      header->cmsg_type == SCM_RIGHTS) {
    const std::size_t count = (header->cmsg_len - sizeof(cmsghdr)) / sizeof(int);
    const auto* const sent = reinterpret_cast<const int*>(header + 1);
    for (std::size_t i = 0; i < count && i < 2; ++i) fds[i] = sent[i];
  }
  if (order.verb == static_cast<std::uint32_t>(KeeperVerb::hold)) {
    hold(order.instance, fds[0], fds[1]);
  } else {
    drop_instance(order.instance);
  }
  return true;
}

long now_seconds() {
  timespec now{};
  raw_call(SYS_clock_gettime, CLOCK_MONOTONIC, raw_address(&now));
  return now.tv_sec;
}

bool is_empty(int fd) {
  int waiting = 0;
  return raw_call(SYS_ioctl, fd, FIONREAD, raw_address(&waiting)) != 0 || waiting == 0;
}

void drop_closed() {
  for (std::uint32_t i = held_count; i > 0; --i) {
    if (held[i - 1].fds[0] < 0 && held[i - 1].fds[1] < 0) drop(i - 1);
  }
}

// Of `fd`, which has ended: closed when it is empty, else it waits for somebody to read it.
void let_go(int ended) {
  for (std::uint32_t i = 0; i < held_count; ++i) {
    for (int& fd : held[i].fds) {
      if (fd == ended && is_empty(fd)) close_fd(fd);
    }
  }
}

void wait_for_the_ends() {
  const long until = now_seconds() + seconds_max;
  std::uint32_t count = 0;
  for (std::uint32_t i = 0; i < held_count; ++i) {
    for (const int fd : held[i].fds) {
      polled[count].fd = fd;
      polled[count].events = 0;  // the end is always told
      ++count;
    }
  }
  drop_closed();
  while (held_count > 0) {
    timespec left{until - now_seconds(), 0};
    if (left.tv_sec <= 0) return;
    const long ready = raw_call(SYS_ppoll, raw_address(polled), count, raw_address(&left));
    if (ready == 0) return;
    for (std::uint32_t i = 0; i < count; ++i) {
      if (polled[i].fd < 0 || polled[i].revents == 0) continue;
      let_go(polled[i].fd);
      polled[i].fd = -1;
    }
    drop_closed();
  }
}

}  // namespace

void keep_output() {
  raw_call(SYS_prctl, PR_SET_NAME, raw_address("muster-keeper"));
  raw_call(SYS_close_range, keeper_socket_fd + 1, 0xFFFFFFFFL, 0);
  raw_call(SYS_chdir, raw_address("/"));
  rlimit64 files{};
  raw_call(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, raw_address(&files));
  files.rlim_cur = files.rlim_max;
  raw_call(SYS_prlimit64, 0, RLIMIT_NOFILE, raw_address(&files), 0);
  while (obey_next()) {
  }
  raw_call(SYS_close, keeper_socket_fd);
  wait_for_the_ends();
  for (;;) raw_call(SYS_exit_group, 0);
}

}  // namespace muster::supervisor
