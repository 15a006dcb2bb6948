#include "supervisor/ports.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "base/fd.h"
#include "fmt/core.h"
#include "supervisor/socket_owner.h"

namespace muster::supervisor {

namespace {
enum class Rest : std::uint8_t { must_be_over, may_last };

// Binding without SO_REUSEADDR fails for a port that anybody uses, also for one whose last connections rest in
// TIME_WAIT; with it only for one that somebody listens on.
bool is_free(std::uint16_t port, Rest rest) {
  const Fd probe(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!probe) return true;  // no descriptors: the spawn itself will say so
  const int reuse = rest == Rest::may_last ? 1 : 0;
  ::setsockopt(probe.get(), SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof reuse);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  return ::bind(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ||
         errno != EADDRINUSE;
}
}  // namespace

void Ports::set_range(std::uint16_t first, std::uint16_t last) {
  if (first == first_ && last == last_) return;
  first_ = first;
  last_ = last;
  cursor_ = first;
}

void Ports::reserve_those_of(const spec::Spec& spec) {
  reserved_.clear();
  const auto reserve = [this](const spec::Port& port, int replicas) {
    if (port.kind != spec::PortKind::numbered) return;
    for (int i = 0; i < std::max(replicas, 1); ++i)
      reserved_.insert(static_cast<std::uint16_t>(port.base + i));
  };
  for (const spec::App& app : spec.apps) {
    reserve(app.port, app.replicas_max());
    for (const spec::NamedPort& named : app.ports) reserve(named.port, app.replicas_max());
  }
  for (const spec::Listener& listener : spec.listeners) {
    for (const spec::BindAddress& bind : listener.bind) {
      if (bind.kind == spec::BindAddress::Kind::inet) reserved_.insert(bind.port);
    }
  }
}

// A replica that was killed under load leaves its port in TIME_WAIT for a minute. An app need not set SO_REUSEADDR, so
// such ports are the second choice; most apps do, so they are one when a small range has nothing else.
std::optional<std::uint16_t> Ports::next_free() {
  const int count = last_ - first_ + 1;
  for (const Rest rest : {Rest::must_be_over, Rest::may_last}) {
    for (int tries = 0; tries < count; ++tries) {
      const std::uint16_t port = cursor_;
      cursor_ = cursor_ >= last_ ? first_ : static_cast<std::uint16_t>(cursor_ + 1);
      if (!taken_.contains(port) && !reserved_.contains(port) && is_free(port, rest)) return port;
    }
  }
  return std::nullopt;
}

Result<std::vector<std::pair<std::string, std::uint16_t>>> Ports::take(const spec::App& app, int ordinal,
                                                                       InstanceId instance) {
  std::vector<std::pair<std::string, std::uint16_t>> ports;
  std::vector<std::uint16_t>& mine = by_instance_[instance];
  const auto add = [&](const std::string& name, const spec::Port& port) -> std::optional<Error> {
    if (port.kind == spec::PortKind::none || port.kind == spec::PortKind::local) return std::nullopt;
    if (port.kind == spec::PortKind::numbered) {
      const auto number = static_cast<std::uint16_t>(port.base + ordinal);
      if (auto busy = port_busy_sentence(number)) {
        return Error{.message = std::move(*busy), .code = ExitCode::failed, .errno_value = EADDRINUSE};
      }
      ports.emplace_back(name, number);
      return std::nullopt;
    }
    const auto number = next_free();
    if (!number) {
      return Error{.message = fmt::format("no free port in daemon.port_range {}-{}", first_, last_),
                   .code = ExitCode::failed,
                   .errno_value = EADDRNOTAVAIL};
    }
    taken_.insert(*number);
    mine.push_back(*number);
    ports.emplace_back(name, *number);
    return std::nullopt;
  };
  std::optional<Error> problem = add("", app.port);
  for (const spec::NamedPort& named : app.ports) {
    if (!problem) problem = add(named.name, named.port);
  }
  if (problem) {
    give_back(instance);
    return std::move(*problem);
  }
  return ports;
}

void Ports::keep(const std::vector<std::pair<std::string, std::uint16_t>>& ports, InstanceId instance) {
  for (const auto& [name, port] : ports) {
    if (taken_.insert(port).second) by_instance_[instance].push_back(port);
  }
}

void Ports::give_back(InstanceId instance) {
  const auto at = by_instance_.find(instance);
  if (at == by_instance_.end()) return;
  for (const std::uint16_t port : at->second) taken_.erase(port);
  by_instance_.erase(at);
}

}  // namespace muster::supervisor
