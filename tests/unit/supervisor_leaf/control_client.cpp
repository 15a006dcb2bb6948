#include "control_client.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace muster::supervisor {

ControlClient::ControlClient(Loop& loop, const std::string& path) : loop_(loop) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  fd_.reset(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) fd_.reset();
  watch();
}

void ControlClient::watch() {
  const int events = (listening_ ? UV_READABLE : 0) | (unsent_.empty() ? 0 : UV_WRITABLE);
  poll_.close();
  if (!fd_ || events == 0) return;
  EXPECT_EQ(poll_.start(loop_.get(), fd_.get(), events,
                        [this] {
                          if (listening_) read_on();
                          if (fd_ && !unsent_.empty()) write_on();
                        }),
            0);
}

void ControlClient::read_on() {
  std::array<char, 65536> bytes{};
  for (;;) {
    const ssize_t got = read(fd_.get(), bytes.data(), bytes.size());
    if (got > 0) {
      received_.append(bytes.data(), static_cast<std::size_t>(got));
      continue;
    }
    if (got < 0 && errno == EAGAIN) return;
    ended_ = true;  // or ECONNRESET
    return hang_up();
  }
}

void ControlClient::write_on() {
  const ssize_t sent = ::send(fd_.get(), unsent_.data(), unsent_.size(), MSG_NOSIGNAL);
  if (sent > 0) unsent_.erase(0, static_cast<std::size_t>(sent));
  if (sent < 0 && errno != EAGAIN) unsent_.clear();  // the server has closed: what it said can still be read
  if (unsent_.empty()) watch();
}

void ControlClient::send(std::string text) {
  unsent_ += text;
  write_on();
  if (!unsent_.empty()) watch();
}

void ControlClient::listen_no_more() {
  listening_ = false;
  watch();
}

void ControlClient::listen_again() {
  listening_ = true;
  watch();
}

void ControlClient::end_of_input() {
  shutdown(fd_.get(), SHUT_WR);
}

void ControlClient::hang_up() {
  poll_.close();
  fd_.reset();
}

bool ControlClient::receives(const std::string& text) {
  return loop_.until([&] { return received_.find(text) != std::string::npos; });
}

bool ControlClient::sees_end() {
  return loop_.until([&] { return ended_; });
}

}  // namespace muster::supervisor
