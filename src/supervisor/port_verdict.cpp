#include "supervisor/port_verdict.h"

#include <algorithm>

#include "fmt/core.h"

namespace muster::supervisor {

namespace {

bool answers_at(const ListeningSocket& socket, const std::string& address) {
  if (socket.address == address) return true;
  // A socket at :: takes IPv4 too, unless it says otherwise.
  return address == "::1" ? socket.address == "::" : socket.any_address();
}

std::string shown(const ListeningSocket& socket) {
  const bool v6 = socket.address.find(':') != std::string::npos;
  return v6 ? fmt::format("[{}]:{}", socket.address, socket.port)
            : fmt::format("{}:{}", socket.address, socket.port);
}

health::Outcome outcome(health::ProbeCode code, std::string sentence) {
  return health::Outcome{.code = code, .sentence = std::move(sentence), .output = {}, .address = {}};
}

}  // namespace

std::optional<health::Outcome> judge_open_port(const PortQuestion& question) {
  const auto fits = [&](const ListeningSocket& socket) {
    return socket.port == question.port && answers_at(socket, question.address);
  };
  const auto mine = std::ranges::find_if(question.own, fits);
  if (mine != question.own.end()) {
    if (!mine->any_address()) return std::nullopt;
    auto wide = outcome(
        health::ProbeCode::ok_wide,
        fmt::format("listens on {}, so it can be reached from outside past the balancer; {}:{} is enough",
                    shown(*mine), question.address, question.port));
    wide.address = question.address;
    return wide;
  }
  for (const ListeningSocket& socket : question.all) {
    if (!fits(socket)) continue;
    if (const auto holder = question.holder(socket.inode)) {
      return outcome(health::ProbeCode::foreign,
                     fmt::format("port {} is held by pid {} ({})", question.port, holder->pid, holder->name));
    }
  }
  return std::nullopt;
}

namespace {
health::Outcome listens_elsewhere(const std::vector<ListeningSocket>& own, const std::string& expected) {
  std::string where;
  for (const ListeningSocket& socket : own) where += (where.empty() ? "" : ", ") + shown(socket);
  return outcome(health::ProbeCode::wrong_port,
                 fmt::format("listens on {}, expected {} (use {{port}})", where, expected));
}
}  // namespace

std::optional<health::Outcome> judge_missing_socket(const std::string& path,
                                                    const std::vector<ListeningSocket>& own) {
  if (own.empty()) return std::nullopt;
  return listens_elsewhere(own, "unix:" + path);
}

std::optional<health::Outcome> judge_closed_port(std::uint16_t port,
                                                 const std::vector<ListeningSocket>& own) {
  if (own.empty()) return std::nullopt;
  const bool right = std::ranges::any_of(own, [port](const ListeningSocket& socket) {
    return socket.port == port && (answers_at(socket, "127.0.0.1") || answers_at(socket, "::1"));
  });
  if (right) return std::nullopt;  // it has begun to listen since
  return listens_elsewhere(own, fmt::format("127.0.0.1:{}", port));
}

}  // namespace muster::supervisor
