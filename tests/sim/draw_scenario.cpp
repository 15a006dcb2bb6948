// A seed becomes a scenario: a random stack under random faults, edits and commands.
#include <csignal>

#include "sim/behaviour.h"
#include "sim/random_spec.h"
#include "sim/scenario.h"

namespace muster::sim {

namespace {
constexpr int ordinals_hit = 5;  // a name may be of no replica

class Drawer {
 public:
  explicit Drawer(std::uint64_t seed) : random_(seed * 2654435761U + 1), stack_(random_, true) {
    scenario_.seed = seed;
    scenario_.mode = random_.percent(30) ? RunMode::up : RunMode::daemon;
    scenario_.workers = random_.between(1, 3);
    scenario_.first = stack_.current();
    scenario_.settles = random_.percent(85);
    restarts_ = random_.percent(40) ? random_.between(1, 3) : 0;
  }

  Scenario draw() {
    const int faults = random_.between(5, 45);
    for (int fault = 0; fault < faults; ++fault) {
      after_ = random_.percent(60) ? random_.millis(0, 300) : random_.millis(0, 4000);
      one();
      after_ = Nanos{0};
      if (random_.percent(15)) one();  // both in one step
    }
    return std::move(scenario_);
  }

 private:
  void add(Deed deed) {
    scenario_.steps.push_back(Step{.after = after_, .deed = std::move(deed)});
    after_ = Nanos{0};
  }

  const spec::App* some_app() {
    const auto& apps = stack_.apps();
    if (apps.empty()) return nullptr;
    return &apps[static_cast<std::size_t>(random_.below(static_cast<int>(apps.size())))];
  }
  // With that chance; where there are no jobs nothing is drawn.
  const spec::Job* some_job(int percent) {
    const auto& jobs = stack_.jobs();
    if (jobs.empty() || !random_.percent(percent)) return nullptr;
    return &jobs[static_cast<std::size_t>(random_.below(static_cast<int>(jobs.size())))];
  }
  std::string some_name() {
    const spec::Job* job = some_job(5);
    if (job != nullptr) return job->name();
    const spec::App* app = random_.percent(97) ? some_app() : nullptr;
    return app == nullptr ? "nosuch" : app->name;
  }
  Target some_target() {
    return {some_name(), random_.percent(50) ? std::optional(random_.below(ordinals_hit)) : std::nullopt};
  }
  Victim some_victim() {
    const spec::Job* job = some_job(15);
    if (job != nullptr) return {.app = job->name(), .ordinal = random_.percent(90) ? 0 : 1};
    const spec::App* app = some_app();
    const int replicas = app == nullptr ? 0 : app->replicas;
    return {.app = app == nullptr ? "nosuch" : app->name,
            .ordinal = random_.below(std::max(1, replicas)),
            .oldest = random_.percent(30)};
  }

  void one() {
    const int kind = random_.below(100);
    if (kind < 30) return fault_of(some_victim());
    if (kind < 48) {
      const spec::Job* job = some_job(20);
      return job != nullptr ? add(RunJob{job->name()}) : add(some_command());
    }
    if (kind < 68) return edit();
    if (kind < 71) return add(load(false));  // the same again
    if (kind < 72) return add(LoadBadFile{});
    if (kind < 75) return add(TouchFile{some_name()});
    if (kind < 80) return strangers();
    if (kind < 82) return add(LateEvents{InstanceId{static_cast<std::uint64_t>(random_.between(1, 40))}});
    if (kind < 86) return traffic();
    if (kind < 89) return add(Abandon{});
    if (kind < 92) return broken_starts();
    if (kind < 95) return clocks();
    if (kind < 97) return add(SetDisk{random_.percent(50)});
    if (kind < 99) return daemon_again();
    if (random_.percent(20)) add(Shutdown{random_.percent(20)});
  }

  LoadFile load(bool waits) {
    return LoadFile{.spec = stack_.current(), .waits = waits, .retry = waits && random_.percent(10)};
  }

  void edit() {
    stack_.edit();
    add(load(random_.percent(50)));
  }

  void fault_of(Victim victim) {
    switch (random_.below(8)) {
      case 0:
      case 1:
        return add(SetHealth{.victim = std::move(victim), .healthy = false});
      case 2:
        return add(SetHealth{.victim = std::move(victim), .healthy = true});
      case 3:
        return add(SetHealth{.victim = std::move(victim),
                             .kind = health::ProbeKind::liveness,
                             .healthy = random_.percent(30)});
      case 4:
        return add(Hang{.victim = std::move(victim), .hung = random_.percent(70)});
      case 5:
        return add(Say{.victim = std::move(victim),
                       .ready = random_.percent(20),
                       .stopping = random_.percent(30),
                       .trigger = random_.percent(30),
                       .extend = Millis{500}});
      default:
        return add(EndProcess{.victim = std::move(victim), .status = some_exit(random_)});
    }
  }

  Ask some_command() {
    const Target target = some_target();
    constexpr std::array verbs{Verb::restart, Verb::restart, Verb::stop,   Verb::start,
                               Verb::start,   Verb::scale,   Verb::pause,  Verb::drain,
                               Verb::undrain, Verb::undo,    Verb::resume, Verb::restart_now};
    Ask ask{.verb = verbs.at(static_cast<std::size_t>(random_.below(verbs.size()))), .target = target};
    const bool whole_app = ask.verb == Verb::scale || ask.verb == Verb::pause || ask.verb == Verb::resume ||
                           ask.verb == Verb::undo;
    if (whole_app) ask.target.ordinal.reset();
    if (ask.verb == Verb::scale && random_.percent(70)) ask.replicas = random_.between(0, 6);
    return ask;
  }

  void strangers() {
    HoldPorts hold;
    if (random_.percent(60)) {
      for (const spec::App& app : stack_.apps()) {
        if (app.port.kind == spec::PortKind::numbered)
          hold.ports.insert(static_cast<std::uint16_t>(app.port.base + random_.below(3)));
      }
    }
    add(std::move(hold));
  }

  // The balancer's counts of an app; some of its revisions answer worse.
  void traffic() {
    const std::string app = some_name();
    const bool worse = random_.percent(40);
    add(AnswerRequests{.app = app, .newest = false, .all = 200, .errors = 0});
    add(AnswerRequests{.app = app, .newest = true, .all = 200, .errors = worse ? 100U : 2U});
  }

  void broken_starts() {
    const auto faults = start_faults();
    add(FailStarts{
        .app = some_name(),
        .fault = faults[static_cast<std::size_t>(random_.below(static_cast<int>(faults.size())))].fault,
        .duration = random_.millis(100, 8000)});
  }

  void clocks() {
    switch (random_.below(stack_.jobs().empty() ? 4 : 5)) {
      case 0:
        return add(SetClock{std::chrono::hours(random_.between(-5, 50))});
      case 4:  // by minutes: schedules feel it
        return add(SetClock{random_.millis(-600000, 600000)});
      case 1:
        return add(Freeze{random_.percent(70) ? random_.millis(100, 20000) : Millis{3600000}});
      default:
        return add(Stall{random_.percent(80) ? random_.millis(10, 5000) : random_.millis(5000, 60000)});
    }
  }

  void daemon_again() {
    if (restarts_ == 0) return;
    --restarts_;
    RestartDaemon again{.in_order = random_.percent(40)};
    again.crash = !again.in_order && random_.percent(60);
    if (again.crash && random_.percent(60)) again.away = random_.millis(0, 5000);
    if (random_.percent(20)) {
      stack_.edit();
      again.file = stack_.current();
    }
    add(std::move(again));
  }

  Random random_;
  RandomSpec stack_;
  Scenario scenario_;
  Nanos after_{0};
  int restarts_ = 0;
};
}  // namespace

Scenario scenario_of(std::uint64_t seed) {
  return Drawer(seed).draw();
}

}  // namespace muster::sim
