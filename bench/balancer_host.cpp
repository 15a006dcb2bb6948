// The balancer alone, without a supervisor around it: what a profiler is pointed at (callgrind cannot follow the start
// of replicas). `balancer_host PORT BACKEND_PORT...` balances HTTP on 127.0.0.1 with one traffic thread until SIGTERM.
#include <signal.h>  // NOLINT(modernize-deprecated-headers): sigwait(3)

#include <charconv>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "lb/balancer.h"

namespace {

using muster::lb::Balancer;

std::optional<std::uint16_t> port_of(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc{} || end != text.data() + text.size() || port == 0) return std::nullopt;
  return port;
}

muster::spec::Listener listener_on(std::uint16_t port) {
  muster::spec::Listener listener;
  listener.name = "bench";
  listener.app = "backend";
  muster::spec::BindAddress address;
  address.host = "127.0.0.1";
  address.port = port;
  address.text = "127.0.0.1:" + std::to_string(port);
  listener.bind.push_back(address);
  return listener;
}

int serve(const muster::lb::Snapshot& snapshot) {
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  sigprocmask(SIG_BLOCK, &ends, nullptr);
  muster::lb::Callbacks callbacks;
  callbacks.on_snapshot_in_use = [](auto) { std::puts("ready"), std::fflush(stdout); };
  auto balancer = Balancer::start({.threads = 1, .systemd_fds = {}, .callbacks = std::move(callbacks)});
  if (!balancer) return std::fprintf(stderr, "%s\n", balancer.error().message.c_str()), 1;
  auto prepared = balancer.value()->prepare(snapshot.listeners);
  if (!prepared) return std::fprintf(stderr, "%s\n", prepared.error().message.c_str()), 1;
  balancer.value()->publish(std::make_shared<const muster::lb::Snapshot>(snapshot),
                            std::move(prepared).value());
  int signal = 0;
  sigwait(&ends, &signal);
  balancer.value()->stop(muster::Millis{0});
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::span<char*> words(argv, static_cast<std::size_t>(argc));
  muster::lb::Snapshot snapshot{
      .version = muster::SnapshotVersion{1}, .listeners = {}, .pools = {{"backend", {}}}};
  for (std::size_t i = 1; i < words.size(); ++i) {
    const auto port = port_of(words[i]);
    if (!port) return std::fprintf(stderr, "not a port: %s\n", words[i]), 64;
    if (i == 1) {
      snapshot.listeners.push_back(listener_on(*port));
    } else {
      auto& endpoints = snapshot.pools.front().endpoints;
      endpoints.push_back({.instance = muster::InstanceId{i},
                           .label = "backend/" + std::to_string(i - 2),
                           .address = "127.0.0.1",
                           .port = *port,
                           .ordinal = static_cast<int>(i - 2)});
    }
  }
  if (words.size() < 3) return std::fputs("usage: balancer_host PORT BACKEND_PORT...\n", stderr), 64;
  return serve(snapshot);
}
