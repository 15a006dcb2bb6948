#include "sim/chaos.h"

#include <csignal>

#include "fmt/core.h"
#include "sim/random_spec.h"
#include "supervisor/state_codec.h"

namespace muster::sim {

namespace {
constexpr Nanos settle_limit = 30min;  // virtual: the longest backoff, drains and stops one after the other
constexpr Nanos quiet_time = 40s;

class Chaos {
 public:
  Chaos(std::uint64_t seed, bool trace, const std::function<void(HostOptions&)>& plant)
      : random_(seed * 2654435761U + 1), stack_(random_), seed_(seed), trace_(trace), plant_(plant) {}

  SeedResult run() {
    mode_ = random_.percent(30) ? RunMode::up : RunMode::daemon;
    int lives = random_.percent(25) ? 2 : 1;
    PersistentState saved;
    while (lives-- > 0 && result_.violation.empty()) saved = live(saved);
    return std::move(result_);
  }

 private:
  PersistentState live(const PersistentState& restored) {
    HostOptions options{.seed = seed_,
                        .spec = stack_.current(),
                        .mode = mode_,
                        .restored = restored,
                        .workers = random_.between(1, 3),
                        .trace = trace_,
                        .seam = {}};
    if (plant_) plant_(options);
    SimHost host(std::move(options));
    host_ = &host;
    disorder();
    host.advance(Nanos{0});
    check_holds(restored);
    const int faults = random_.between(5, 40);
    for (int fault = 0; fault < faults && running(); ++fault) {
      host.advance(random_.percent(60) ? random_.millis(0, 300) : random_.millis(0, 4000));
      if (running()) one_fault();
      if (random_.percent(15) && running()) one_fault();  // both in one step
    }
    if (running() && random_.percent(85)) settle();
    if (running()) end();
    result_.violation = host.violation();
    result_.trace = host.trace();
    result_.steps += host.steps();
    // As the next daemon would read it.
    auto read = decode_state(encode_state(host.saved()));
    if (!read && result_.violation.empty())
      result_.violation = "the state cannot be read: " + read.error().message;
    return read ? std::move(read.value()) : PersistentState{};
  }

  [[nodiscard]] bool running() const { return host_->violation().empty() && !host_->ended(); }

  void disorder() {
    host_->conduct = [this](const Spawn& spawn) { return conduct(spawn); };
    host_->probe_takes = [this] {
      return random_.percent(90) ? random_.millis(0, 5) : random_.millis(0, 1500);
    };
    host_->acknowledge_takes = [this] {
      return random_.percent(90) ? random_.millis(0, 2) : random_.millis(0, 2000);
    };
  }

  Conduct conduct(const Spawn& spawn) {
    Conduct conduct;
    if (host_->world().jobs.contains(spawn.replica.app)) {
      conduct.exits_after = random_.percent(80) ? random_.millis(0, 1500) : random_.millis(0, 20000);
      conduct.exit = random_.percent(70) ? ExitStatus{.code = 0, .signal = std::nullopt} : some_exit();
      conduct.fails = random_.percent(5) ? std::optional(SpawnFailure::exec) : std::nullopt;
      if (random_.percent(5)) conduct.fails = SpawnFailure::resources;
      conduct.ignores_signal = random_.percent(10);
      conduct.tree_outlives = random_.percent(15);
      return conduct;
    }
    conduct.start_takes = random_.percent(90) ? random_.millis(0, 10) : random_.millis(0, 2000);
    if (random_.percent(1)) conduct.start_takes = std::chrono::hours(1);  // its folder hangs, say
    if (random_.percent(5))
      conduct.fails = random_.percent(50) ? SpawnFailure::exec : SpawnFailure::resources;
    conduct.healthy_after = random_.percent(70) ? random_.millis(0, 100) : random_.millis(0, 3000);
    conduct.never_healthy = random_.percent(5);
    // Some revisions are broken: every process of them ends soon.
    const bool broken = (fingerprint(spawn.app->run.front().text()) + seed_) % 8 == 0;
    if (broken || random_.percent(8)) conduct.exits_after = random_.millis(0, 2500);
    conduct.exit = some_exit();
    conduct.ignores_signal = random_.percent(10);
    conduct.signal_takes = random_.percent(70) ? random_.millis(0, 5) : random_.millis(0, 2000);
    conduct.tree_outlives = random_.percent(15);
    conduct.kills_needed = random_.percent(5) ? 3 : 1;
    conduct.stop_command_takes = random_.millis(0, 500);
    if (random_.percent(30)) conduct.in_flight = random_.millis(0, 3000);
    if (random_.percent(10)) conduct.in_flight.reset();
    return conduct;
  }

  ExitStatus some_exit() {
    switch (random_.below(5)) {
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

  Process* some_process() {
    const auto processes = host_->processes();
    return processes.empty()
               ? nullptr
               : processes[static_cast<std::size_t>(random_.below(static_cast<int>(processes.size())))];
  }

  Target some_target() {
    const auto& apps = stack_.apps();
    if (apps.empty() || random_.percent(3)) return {"nosuch", std::nullopt};
    const spec::App& app = apps[static_cast<std::size_t>(random_.below(static_cast<int>(apps.size())))];
    return {app.name, random_.percent(50) ? std::optional(random_.below(5)) : std::nullopt};
  }

  void one_fault() {
    const int kind = random_.below(100);
    if (kind < 30) return fault_of(some_process());
    if (kind < 50) return command();
    if (kind < 72) {
      stack_.edit();
      if (random_.percent(50)) return host_->load(stack_.current());
      static_cast<void>(host_->apply(stack_.current()));
      return;
    }
    if (kind < 75) return host_->load(stack_.current());  // the same again
    if (kind < 76) return static_cast<void>(host_->apply(stack_.current(), true));
    if (kind < 78) return host_->send(SpecRejected{"muster.toml:1:1: error: no"});
    if (kind < 84) return host_->send(FilesChanged{some_target().app, "app.py"});
    if (kind < 92) return strangers();
    if (kind < 94) return late();
    if (kind < 95) return answers();
    if (kind < 98) {
      if (!host_->unanswered().empty()) host_->abandon(*host_->unanswered().begin());
      return;
    }
    if (random_.percent(30)) host_->shutdown(random_.percent(20));
  }

  void fault_of(Process* process) {
    if (process == nullptr) return;
    Notified notified{};
    notified.instance = process->id;
    switch (random_.below(8)) {
      case 0:
      case 1:
        process->healthy = false;
        return;
      case 2:
        process->healthy = true;
        return;
      case 3:
        process->alive = random_.percent(30);
        return;
      case 4:
        process->hung = random_.percent(70);
        return;
      case 5:
        notified.stopping = random_.percent(30);
        notified.watchdog_trigger = random_.percent(30);
        notified.extend_timeout = Millis{500};
        notified.status = "busy";
        return host_->send(notified);
      default:
        return host_->exit(process->id, some_exit());
    }
  }

  void command() {
    if (!stack_.jobs().empty() && random_.percent(15)) {
      const auto& jobs = stack_.jobs();
      const auto& job = jobs[static_cast<std::size_t>(random_.below(static_cast<int>(jobs.size())))];
      return host_->send(RunCommand{host_->command_id(), job.name()});
    }
    const Target target = some_target();
    switch (random_.below(9)) {
      case 8:
        static_cast<void>(host_->undo(target.app));
        return;
      case 0:
      case 1:
        static_cast<void>(host_->restart(target, random_.percent(30)));
        return;
      case 2:
        static_cast<void>(host_->stop(target));
        return;
      case 3:
      case 4:
        static_cast<void>(host_->start(target));
        return;
      case 5:
        static_cast<void>(host_->scale(
            target.app, random_.percent(30) ? std::nullopt : std::optional(random_.between(0, 6))));
        return;
      case 6:
        static_cast<void>(host_->pause(target.app, random_.percent(50)));
        return;
      default:
        static_cast<void>(host_->drain(target, random_.percent(50)));
    }
  }

  // The balancer's counts, and again when more was answered; some revisions answer worse.
  void answers() {
    for (const std::uint64_t all : {std::uint64_t{10}, std::uint64_t{100}}) {
      AnswersCounted counted;
      for (const Process* process : host_->processes()) {
        const bool worse = (raw(process->revision) + seed_) % 3 == 0;
        counted.by_instance[process->id] = Answers{.all = all, .errors = worse ? all / 2 : 0};
      }
      host_->send(std::move(counted));
    }
  }

  void strangers() {
    if (!host_->strangers.empty() && random_.percent(50)) return host_->strangers.clear();
    for (const spec::App& app : stack_.apps()) {
      if (app.port.kind == spec::PortKind::numbered)
        host_->strangers.insert(static_cast<std::uint16_t>(app.port.base + random_.below(3)));
    }
  }

  // Events of an instance that has been gone for long, or never was.
  void late() {
    const InstanceId id{static_cast<std::uint64_t>(random_.between(1, 40))};
    if (host_->all().contains(id)) return;
    host_->send(ProbeFinished{.instance = id, .kind = health::ProbeKind::liveness, .outcome = {}});
    host_->send(StopCommandDone{.instance = id, .sentence = ""});
    host_->send(EndpointIdle{id});
    host_->send(LogMatched{.instance = id});
    host_->send(TreeGone{id});
  }

  // Holds outlive the daemon, except in `up`.
  void check_holds(const PersistentState& restored) {
    for (const auto& [name, saved] : restored.apps) {
      const auto at = host_->world().apps.find(name);
      if (at == host_->world().apps.end()) continue;
      const bool held = mode_ == RunMode::daemon && saved.held;
      const bool paused = mode_ == RunMode::daemon && saved.paused;
      // An edit while no daemon looks ends a rollback by hand.
      const bool made_up = at->second.undone && (mode_ == RunMode::up || !saved.undone);
      if (at->second.held != held || at->second.paused != paused || made_up)
        host_->violate("the hold on " + name + " is lost or made up by a restart");
    }
  }

  void settle() {
    host_->calm_down();
    const bool settled = host_->advance_until([this] { return host_->unfinished().empty(); }, settle_limit);
    if (!running()) return;
    if (!settled) return host_->violate("never settles: " + host_->unfinished());
    // A job that is due is something to do.
    for (const auto& [name, job] : host_->world().jobs) {
      const Nanos until =
          job.next ? job.next->time_since_epoch() - host_->now().time_since_epoch() : quiet_time;
      if (until < quiet_time) return;
    }
    const std::size_t done = host_->log().size();
    const std::size_t started = host_->spawns().size();
    const auto version = host_->world().published;
    const auto idle = host_->idle_steps();
    host_->advance(quiet_time);
    if (!running()) return;
    if (host_->log().size() != done || host_->spawns().size() != started ||
        host_->world().published != version)
      return host_->violate("does something although everything is settled");
    if (host_->idle_steps() > idle + 2)
      return host_->violate("wakes up for nothing although everything is settled");
    if (!host_->unfinished().empty()) host_->violate("was settled and is no more: " + host_->unfinished());
  }

  void end() {
    host_->shutdown();
    if (random_.percent(20)) {
      host_->advance(random_.millis(0, 1000));
      if (running()) host_->shutdown(random_.percent(50));
    }
    host_->advance(settle_limit);
    if (!host_->violation().empty()) return;
    if (!host_->ended()) return host_->violate("the daemon does not end");
    if (!host_->unanswered().empty()) host_->violate("the daemon ends and a command has no answer");
  }

  Random random_;
  RandomSpec stack_;
  std::uint64_t seed_;
  bool trace_;
  const std::function<void(HostOptions&)>& plant_;
  RunMode mode_ = RunMode::daemon;
  SimHost* host_ = nullptr;
  SeedResult result_;
};
}  // namespace

SeedResult run_seed(std::uint64_t seed, bool trace, const std::function<void(HostOptions&)>& plant) {
  return Chaos(seed, trace, plant).run();
}

}  // namespace muster::sim
