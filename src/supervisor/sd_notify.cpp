#include "supervisor/sd_notify.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "supervisor/text.h"

namespace muster::supervisor {
namespace {

constexpr std::size_t status_bytes_max = 512;
constexpr std::size_t fds_max = 4;  // in one message

// NOLINTBEGIN(concurrency-mt-unsafe): called at the start, before there are threads
std::string take_variable(const char* name) {
  const char* value = std::getenv(name);
  std::string taken = value ? value : "";
  unsetenv(name);
  return taken;
}
// NOLINTEND(concurrency-mt-unsafe)

std::optional<std::uint64_t> parse_whole(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<Millis> watchdog_half(std::string_view usec, std::string_view pid) {
  const auto whole = parse_whole(usec);
  if (!whole || *whole == 0 || *whole > std::uint64_t{1} << 52U) return std::nullopt;
  if (!pid.empty() && parse_whole(pid) != static_cast<std::uint64_t>(getpid())) return std::nullopt;
  return Millis{std::max<std::int64_t>(static_cast<std::int64_t>(*whole / 2000), 1)};
}

// A path, or "@name": there the first byte is 0 and the length says where the name ends.
bool is_usable(std::string_view address) {
  return address.size() > 1 && (address[0] == '/' || address[0] == '@') &&
         address.size() < sizeof(sockaddr_un::sun_path);
}

std::uint64_t monotonic_usec() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(now).count());
}

}  // namespace

SdNotify SdNotify::from_environment() {
  SdNotify notify;
  notify.address_ = take_variable("NOTIFY_SOCKET");
  const std::string usec = take_variable("WATCHDOG_USEC");
  const std::string pid = take_variable("WATCHDOG_PID");
  if (!is_usable(notify.address_)) return notify;
  notify.socket_.reset(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (notify.socket_) notify.watchdog_every_ = watchdog_half(usec, pid);
  return notify;
}

// Addressed anew each time: the manager may have made its socket again since (systemctl daemon-reexec).
void SdNotify::send(const std::string& message, std::initializer_list<int> fds) {
  if (!socket_) return;
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  std::memcpy(to.sun_path, address_.data(), address_.size());
  std::size_t size = offsetof(sockaddr_un, sun_path) + address_.size();
  if (address_[0] == '@') {
    to.sun_path[0] = '\0';
  } else {
    ++size;
  }
  iovec text{const_cast<char*>(message.data()), message.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(fds_max * sizeof(int))> control{};
  msghdr datagram{};
  datagram.msg_name = &to;
  datagram.msg_namelen = static_cast<socklen_t>(size);
  datagram.msg_iov = &text;
  datagram.msg_iovlen = 1;
  if (fds.size() > 0 && fds.size() <= fds_max) {
    const std::size_t bytes = fds.size() * sizeof(int);
    datagram.msg_control = control.data();
    datagram.msg_controllen = CMSG_SPACE(bytes);
    cmsghdr* header = CMSG_FIRSTHDR(&datagram);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(bytes);
    std::memcpy(CMSG_DATA(header), fds.begin(), bytes);
  }
  static_cast<void>(sendmsg(socket_.get(), &datagram, MSG_NOSIGNAL | MSG_DONTWAIT));
}

void SdNotify::store(const std::string& name, std::initializer_list<int> fds) {
  send("FDSTORE=1\nFDPOLL=0\nFDNAME=" + name, fds);
}

void SdNotify::unstore(const std::string& name) {
  send("FDSTOREREMOVE=1\nFDNAME=" + name);
}

// A pipe whose one end only the store can hold: it has closed when there is none. BARRIER=1 closes its own descriptor
// once the manager has taken everything before it.
bool SdNotify::has_store(Millis at_most) {
  if (!socket_) return false;
  std::array<int, 2> stored{-1, -1};
  std::array<int, 2> barrier{-1, -1};
  if (pipe2(stored.data(), O_CLOEXEC) != 0) return false;
  const Fd stored_end(stored[0]);
  Fd stored_sent(stored[1]);
  if (pipe2(barrier.data(), O_CLOEXEC) != 0) return false;
  const Fd barrier_end(barrier[0]);
  Fd barrier_sent(barrier[1]);
  constexpr char name[] = "muster-question";
  store(name, {stored_sent.get()});
  stored_sent.reset();
  send("BARRIER=1", {barrier_sent.get()});
  barrier_sent.reset();
  pollfd answer{barrier_end.get(), 0, 0};
  if (poll(&answer, 1, static_cast<int>(at_most.count())) != 1) return false;
  pollfd held{stored_end.get(), 0, 0};
  const bool has = poll(&held, 1, 0) == 0;
  unstore(name);
  return has;
}

void SdNotify::ready(std::string_view status) {
  send("READY=1\nSTATUS=" + sd_status_value(status) + "\nMAINPID=" + std::to_string(getpid()));
}

void SdNotify::reloading(std::string_view status) {
  send("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(monotonic_usec()) +
       "\nSTATUS=" + sd_status_value(status));
}

void SdNotify::stopping(std::string_view status) {
  send("STOPPING=1\nSTATUS=" + sd_status_value(status));
}

void SdNotify::status(std::string_view status) {
  send("STATUS=" + sd_status_value(status));
}

void SdNotify::watchdog() {
  send("WATCHDOG=1");
}

void SdNotify::extend_timeout(Millis by) {
  send("EXTEND_TIMEOUT_USEC=" + std::to_string(std::max<Millis::rep>(by.count(), 1) * 1000));
}

std::string sd_status_value(std::string_view text) {
  std::string value;
  while (!text.empty()) {
    const std::size_t size = std::max<std::size_t>(utf8_char_bytes(text), 1);
    if (value.size() + size > status_bytes_max) break;
    const auto first = static_cast<unsigned char>(text[0]);
    const bool control = first < 0x20 || first == 0x7F || (size == 1 && first >= 0x80) ||
                         (first == 0xC2 && static_cast<unsigned char>(text[1]) < 0xA0);
    value += control ? std::string_view(" ") : text.substr(0, size);
    text.remove_prefix(size);
  }
  return value;
}

}  // namespace muster::supervisor
