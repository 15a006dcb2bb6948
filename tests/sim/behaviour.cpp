#include "sim/behaviour.h"

#include <csignal>

namespace muster::sim {

namespace {
enum What { of_start, of_probe, of_swap };
const ReplicaId nobody{};

bool is_calm(const Conduct& conduct) {
  const Conduct calm;
  return conduct.start_takes <= 10ms && !conduct.fails && conduct.healthy_after <= 100ms &&
         !conduct.never_healthy && !conduct.exits_after && !conduct.ignores_signal &&
         conduct.signal_takes <= 5ms && !conduct.tree_outlives && conduct.kills_needed == calm.kills_needed &&
         conduct.stop_command_takes <= 5ms && conduct.in_flight == calm.in_flight;
}

// What is left alone is over soon, with success.
Conduct calm(bool of_job) {
  Conduct conduct;
  if (of_job) conduct.exits_after = 100ms;
  return conduct;
}
}  // namespace

ExitStatus some_exit(Random& random) {
  switch (random.below(5)) {
    case 0:
      return {.code = 0, .signal = std::nullopt};
    case 1:
      return {.code = std::nullopt, .signal = SIGSEGV, .core = true};
    case 2:
      return {.code = std::nullopt, .signal = SIGKILL, .core = false, .oom = true};
    case 3:
      return {};  // unknown
    default:
      return {.code = 1, .signal = std::nullopt};
  }
}

Random Behaviour::draw(int what, int life, const ReplicaId& replica, int turn) const {
  std::uint64_t mixed = scenario_.seed * 2654435761U + static_cast<std::uint64_t>(what);
  mixed = mixed * 1099511628211U + fingerprint(replica.app);
  mixed = mixed * 1099511628211U + static_cast<std::uint64_t>(replica.ordinal) * 64 +
          static_cast<std::uint64_t>(life);
  return Random(mixed * 1099511628211U + static_cast<std::uint64_t>(turn));
}

Conduct Behaviour::draw_start(Random random, const Spawn& spawn) const {
  Conduct conduct;
  conduct.start_takes = random.percent(90) ? random.millis(0, 10) : random.millis(0, 2000);
  if (random.percent(1)) conduct.start_takes = std::chrono::hours(1);  // its folder hangs, say
  if (random.percent(5)) {
    const auto faults = start_faults();
    conduct.fails = faults[static_cast<std::size_t>(random.below(static_cast<int>(faults.size())))].fault;
  }
  conduct.healthy_after = random.percent(70) ? random.millis(0, 100) : random.millis(0, 3000);
  conduct.never_healthy = random.percent(5);
  // Some revisions are broken: every process of them ends soon, or is never healthy.
  const std::uint64_t kind = (fingerprint(spawn.app->run.front().text()) + scenario_.seed) % 16;
  if (kind < 2 || random.percent(8)) conduct.exits_after = random.millis(0, 2500);
  if (kind == 2) conduct.never_healthy = true;
  conduct.exit = some_exit(random);
  conduct.ignores_signal = random.percent(10);
  conduct.signal_takes = random.percent(70) ? random.millis(0, 5) : random.millis(0, 2000);
  conduct.tree_outlives = random.percent(15);
  conduct.kills_needed = random.percent(5) ? 3 : 1;
  conduct.stop_command_takes = random.millis(0, 500);
  if (random.percent(30)) conduct.in_flight = random.millis(0, 3000);
  if (random.percent(10)) conduct.in_flight.reset();
  return conduct;
}

// Each try ends, also when all faults are over.
Conduct Behaviour::draw_job(Random random) {
  Conduct conduct = calm(true);
  conduct.exits_after = random.percent(80) ? random.millis(0, 1500) : random.millis(0, 20000);
  if (random.percent(30)) conduct.exit = some_exit(random);
  if (random.percent(5)) conduct.fails = StartFault::no_program;
  if (random.percent(5)) conduct.fails = StartFault::no_memory;
  conduct.ignores_signal = random.percent(10);
  conduct.tree_outlives = random.percent(15);
  return conduct;
}

Conduct Behaviour::start(const FakeHost& host, const Spawn& spawn) {
  const bool of_job = host.world().jobs.contains(spawn.replica.app);
  const int turn = starts_[{host.life(), spawn.replica}]++;
  const Oddities::Start key{host.life(), spawn.replica, turn};
  if (!scenario_.drawn) {
    const auto at = scenario_.oddities.starts.find(key);
    return at == scenario_.oddities.starts.end() ? calm(of_job) : at->second;
  }
  const Random random = draw(of_start, host.life(), spawn.replica, turn);
  const Conduct conduct = of_job ? draw_job(random) : draw_start(random, spawn);
  if (!of_job && is_calm(conduct)) return Conduct{};
  if (record_ != nullptr) record_->starts.emplace(key, conduct);
  return conduct;
}

ProbeConduct Behaviour::probe(const FakeHost& host, const Process& process) {
  const int turn = probes_[{host.life(), process.replica}]++;
  const Oddities::Probe key{host.life(), process.replica, turn};
  if (!scenario_.drawn) {
    const auto at = scenario_.oddities.probes.find(key);
    return at == scenario_.oddities.probes.end() ? ProbeConduct{} : at->second;
  }
  Random random = draw(of_probe, host.life(), process.replica, turn);
  if (random.percent(90)) return ProbeConduct{};
  ProbeConduct conduct{.takes = random.millis(0, 1500), .lost = random.percent(20)};
  if (record_ != nullptr) record_->probes.emplace(key, conduct);
  return conduct;
}

Nanos Behaviour::swap(const FakeHost& host) {
  const int turn = swaps_[host.life()]++;
  const Oddities::Swap key{host.life(), turn};
  if (!scenario_.drawn) {
    const auto at = scenario_.oddities.swaps.find(key);
    return at == scenario_.oddities.swaps.end() ? Nanos{1ms} : at->second;
  }
  Random random = draw(of_swap, host.life(), nobody, turn);
  if (random.percent(85)) return Nanos{1ms};
  const Nanos takes = random.millis(0, 2000);
  if (record_ != nullptr) record_->swaps.emplace(key, takes);
  return takes;
}

void Behaviour::rule(FakeHost& host) {
  host.conduct = [this, &host](const Spawn& spawn) { return start(host, spawn); };
  host.probe_conduct = [this, &host](const Process& process) { return probe(host, process); };
  host.acknowledge_takes = [this, &host] { return swap(host); };
}

}  // namespace muster::sim
