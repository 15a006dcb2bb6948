#include <algorithm>

#include "fmt/core.h"
#include "sim/behaviour.h"
#include "sim/scenario.h"
#include "sim/sim_host.h"
#include "supervisor/state_codec.h"

namespace muster::sim {

namespace {
constexpr Nanos settle_limit = 30min;  // virtual: the longest backoff, drains and stops one after the other
constexpr Nanos quiet_time = 40s;
constexpr Nanos quiet_least = 5s;  // what an edit without a change may take

class Runner {
 public:
  Runner(const Scenario& scenario, const RunOptions& options)
      : scenario_(scenario), behaviour_(scenario, options.record), host_(host_options(scenario, options)) {
    behaviour_.rule(host_);
  }

  RunResult run() {
    host_.advance(Nanos{0});
    for (const Step& step : scenario_.steps) {
      host_.advance(step.after);
      if (!host_.violation().empty()) break;
      const bool revives = std::holds_alternative<RestartDaemon>(step.deed);
      if (host_.ended() && !revives) continue;
      perform(host_, step.deed);
    }
    if (running()) host_.advance(Nanos{0});
    if (running() && scenario_.settles) settle();
    if (running()) end();
    check_codec();
    return RunResult{.violation = host_.violation(), .trace = host_.trace(), .steps = host_.steps()};
  }

 private:
  static HostOptions host_options(const Scenario& scenario, const RunOptions& options) {
    HostOptions made{.seed = scenario.seed,
                     .spec = scenario.first,
                     .mode = scenario.mode,
                     .restored = {},
                     .workers = scenario.workers,
                     .trace = options.trace,
                     .seam = {}};
    if (options.plant) options.plant(made);
    return made;
  }

  [[nodiscard]] bool running() const { return host_.violation().empty() && !host_.ended(); }

  // Liveness, and then quiescence.
  void settle() {
    host_.calm_down();
    const bool settled = host_.advance_until([this] { return host_.unfinished().empty(); }, settle_limit);
    if (!running()) return;
    if (!settled) return host_.violate("never settles: " + host_.unfinished());
    expect_quiet("although everything is settled", 0);
    if (!running() || until_due() < quiet_least) return;
    // The same text, read anew. Its listeners were prepared anew, too, and a snapshot takes them over.
    host_.load(std::make_shared<const spec::Spec>(*host_.file()));
    expect_quiet("although the same file was applied again", 1);
  }

  // A job that is due is something to do.
  [[nodiscard]] Nanos until_due() const {
    Nanos quiet = quiet_time;
    for (const auto& [name, job] : host_.world().jobs) {
      if (job.next) quiet = std::min<Nanos>(quiet, *job.next - host_.wall() - 1ms);
    }
    return std::max(quiet, Nanos{0});
  }

  void expect_quiet(const char* when, std::uint64_t snapshots) {
    const std::size_t done = host_.log().size();
    const std::size_t started = host_.spawns().size();
    const auto version = raw(host_.world().published);
    const auto idle = host_.idle_steps();
    host_.advance(until_due());
    if (!running()) return;
    if (host_.log().size() != done || host_.spawns().size() != started ||
        raw(host_.world().published) > version + snapshots)
      return host_.violate(fmt::format("does something {}", when));
    if (host_.idle_steps() > idle + 2) return host_.violate(fmt::format("wakes up for nothing {}", when));
    if (!host_.unfinished().empty()) host_.violate("was settled and is no more: " + host_.unfinished());
  }

  void end() {
    Random random(scenario_.seed);
    host_.shutdown();
    if (random.percent(20)) {
      host_.advance(random.millis(0, 1000));
      if (running()) host_.shutdown(random.percent(50));
    }
    host_.advance(settle_limit);
    if (!host_.violation().empty()) return;
    if (!host_.ended()) return host_.violate("the daemon does not end");
    if (!host_.unanswered().empty()) host_.violate("the daemon ends and a command has no answer");
  }

  // What is saved is what is read.
  void check_codec() {
    if (!host_.violation().empty()) return;
    const std::string text = encode_state(host_.saved());
    const auto read = decode_state(text);
    if (!read) return host_.violate("the state cannot be read: " + read.error().message);
    if (encode_state(read.value()) != text) host_.violate("the state is another one once it was read");
  }

  const Scenario& scenario_;
  Behaviour behaviour_;
  SimHost host_;
};
}  // namespace

RunResult run(const Scenario& scenario, const RunOptions& options) {
  return Runner(scenario, options).run();
}

}  // namespace muster::sim
