#include "supervisor/notification.h"

#include <algorithm>
#include <charconv>

namespace muster::supervisor {

namespace {
constexpr std::size_t status_bytes_max = 512;
constexpr std::uint64_t extend_usec_max = 3'600'000'000;  // an app may ask for an hour at a time

void take_line(Notified& to, std::string_view name, std::string_view value) {
  if (name == "READY") to.ready = to.ready || value == "1";
  if (name == "STOPPING") to.stopping = to.stopping || value == "1";
  if (name == "STATUS") to.status = std::string(value.substr(0, status_bytes_max));
  if (name == "WATCHDOG" && value == "1") to.watchdog = true;
  if (name == "WATCHDOG" && value == "trigger") to.watchdog_trigger = true;
  if (name == "EXTEND_TIMEOUT_USEC") {
    std::uint64_t usec = 0;
    const auto [end, problem] = std::from_chars(value.data(), value.data() + value.size(), usec);
    if (problem == std::errc{} && end == value.data() + value.size())
      to.extend_timeout = Millis(std::min(usec, extend_usec_max) / 1000);
  }
}
}  // namespace

Notified parse_notification(InstanceId instance, std::string_view datagram) {
  Notified notified;
  notified.instance = instance;
  while (!datagram.empty()) {
    const auto end = std::min(datagram.find('\n'), datagram.size());
    const std::string_view line = datagram.substr(0, end);
    datagram.remove_prefix(std::min(end + 1, datagram.size()));
    const auto equals = line.find('=');
    if (equals != std::string_view::npos)
      take_line(notified, line.substr(0, equals), line.substr(equals + 1));
  }
  return notified;
}

}  // namespace muster::supervisor
