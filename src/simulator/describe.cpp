#include "simulator/describe.h"

#include "fmt/core.h"

namespace muster::sim {

namespace {
using namespace muster::supervisor;

std::string target(const Target& target) {
  return target.ordinal ? fmt::format("{}/{}", target.app, *target.ordinal) : target.app;
}
const char* kind(health::ProbeKind kind) {
  return kind == health::ProbeKind::readiness ? "readiness" : "liveness";
}

struct EventText {
  std::string operator()(const ProcessStarted& e) const {
    return fmt::format("started {} pid {}", raw(e.instance), e.pid);
  }
  std::string operator()(const SpawnFailed& e) const {
    return fmt::format("spawn failed {}: {}", raw(e.instance), e.sentence);
  }
  std::string operator()(const ProcessExited& e) const {
    return fmt::format("exited {}: {}", raw(e.instance), describe(e.status));
  }
  std::string operator()(const LimitExceeded& e) const {
    return fmt::format("over limit {}: {}", raw(e.instance), excess_text(e.kind, e.used, e.limit));
  }
  std::string operator()(const ProcessFrozen& e) const {
    return fmt::format("frozen {} by {}", raw(e.instance), signal_name(e.signal));
  }
  std::string operator()(const ProcessThawed& e) const { return fmt::format("thawed {}", raw(e.instance)); }
  std::string operator()(const TreeGone& e) const { return fmt::format("tree gone {}", raw(e.instance)); }
  std::string operator()(const ProbeFinished& e) const {
    return fmt::format("probe {} {}: {}", raw(e.instance), kind(e.kind),
                       e.outcome.healthy() ? "healthy" : "unhealthy");
  }
  std::string operator()(const Notified& e) const {
    return fmt::format("notified {}{}{}{}{}", raw(e.instance), e.ready ? " READY" : "",
                       e.stopping ? " STOPPING" : "", e.watchdog ? " WATCHDOG" : "",
                       e.watchdog_trigger ? " TRIGGER" : "");
  }
  std::string operator()(const LogMatched& e) const { return fmt::format("log matched {}", raw(e.instance)); }
  std::string operator()(const StopCommandDone& e) const {
    return fmt::format("stop command done {}", raw(e.instance));
  }
  std::string operator()(const SnapshotInUse& e) const {
    return fmt::format("snapshot {} in use", raw(e.version));
  }
  std::string operator()(const EndpointIdle& e) const { return fmt::format("idle {}", raw(e.instance)); }
  std::string operator()(const LoadMeasured& e) const {
    return fmt::format("load of {} measured", e.by_instance.size());
  }
  std::string operator()(const Demanded& e) const { return "a request for " + e.app; }
  std::string operator()(const TrafficSeen& e) const {
    return fmt::format("last requests of {} replicas", e.last.size());
  }
  std::string operator()(const AnswersCounted& e) const {
    std::string text = "answers:";
    for (const auto& [id, answers] : e.by_instance)
      text += fmt::format(" {}: {} of {} failed;", raw(id), answers.errors, answers.all);
    return text;
  }
  std::string operator()(const SpecLoaded& e) const {
    std::string text = fmt::format("spec loaded{} (command {}):", e.retry ? " to try again" : "",
                                   e.command ? raw(*e.command) : 0);
    for (const spec::App& app : e.spec->apps)
      text += fmt::format(" {}x{} port {}{} run '{}' after {};", app.name, app.replicas, app.port.base,
                          app.volumes.empty() ? "" : " volume", app.run.front().text(),
                          app.after.empty() ? "-" : app.after.front().app);
    return text;
  }
  std::string operator()(const RunCommand& e) const { return "run job " + e.job; }
  std::string operator()(const ClockSet&) const { return "clock set"; }
  std::string operator()(const SpecRejected& e) const { return "spec rejected: " + e.error; }
  std::string operator()(const StartCommand& e) const {
    return fmt::format("command {}: start {}", raw(e.command), target(e.target));
  }
  std::string operator()(const StopCommand& e) const {
    return fmt::format("command {}: stop {}", raw(e.command), target(e.target));
  }
  std::string operator()(const RestartCommand& e) const {
    return fmt::format("command {}: restart {}{}", raw(e.command), target(e.target),
                       e.at_once ? " --now" : "");
  }
  std::string operator()(const ScaleCommand& e) const {
    return fmt::format("command {}: scale {}={}", raw(e.command), e.app, e.replicas.value_or(-1));
  }
  std::string operator()(const DrainCommand& e) const {
    return fmt::format("command {}: {} {}", raw(e.command), e.drain ? "drain" : "undrain", target(e.target));
  }
  std::string operator()(const PauseCommand& e) const {
    return fmt::format("command {}: {} {}", raw(e.command), e.pause ? "pause" : "resume", e.app);
  }
  std::string operator()(const UndoCommand& e) const {
    return fmt::format("command {}: undo {}", raw(e.command), e.app);
  }
  std::string operator()(const CommandAbandoned& e) const {
    return fmt::format("command {} abandoned", raw(e.command));
  }
  std::string operator()(const FilesChanged& e) const { return "files changed of " + e.app; }
  std::string operator()(const ShutdownRequested& e) const {
    return e.at_once ? "shutdown at once" : "shutdown";
  }
};

struct ActionText {
  std::string operator()(const Spawn& a) const {
    return fmt::format("SPAWN {} {} revision {}: {}", raw(a.instance), to_string(a.replica), raw(a.revision),
                       a.why);
  }
  std::string operator()(const Signal& a) const {
    return fmt::format("SIGNAL {} {}: {}", raw(a.instance), a.signal, a.why);
  }
  std::string operator()(const MarkReplica& a) const {
    const ReplicaMark& mark = a.mark;
    return fmt::format("mark {}:{}{}{}{}{}", raw(a.instance), mark.started ? " started" : "",
                       mark.was_ready ? " was-ready" : "", mark.fit ? " fit" : "",
                       mark.stopping ? " stopping" : "", mark.outdated ? " outdated" : "");
  }
  std::string operator()(const SetLimits& a) const {
    return fmt::format("limits {}: {}", raw(a.instance), a.why);
  }
  std::string operator()(const KillTree& a) const {
    return fmt::format("KILL TREE {}: {}", raw(a.instance), a.why);
  }
  std::string operator()(const RunStopCommand& a) const {
    return fmt::format("STOP COMMAND {}", raw(a.instance));
  }
  std::string operator()(const RunProbe& a) const {
    return fmt::format("PROBE {} {}", raw(a.instance), kind(a.kind));
  }
  std::string operator()(const Publish& a) const {
    std::string text = fmt::format("PUBLISH {}:", raw(a.version));
    for (const PoolState& pool : a.pools) {
      text += " " + pool.app + "[";
      for (const EndpointState& endpoint : pool.endpoints) text += fmt::format(" {}", raw(endpoint.instance));
      text += " ]";
    }
    return text;
  }
  std::string operator()(const WatchIdle& a) const { return fmt::format("WATCH IDLE {}", raw(a.instance)); }
  std::string operator()(const Note& a) const {
    return fmt::format("note {} {}{}: {}", a.kind, a.app, a.ordinal ? fmt::format("/{}", *a.ordinal) : "",
                       a.text);
  }
  std::string operator()(const CommandDone& a) const {
    return fmt::format("COMMAND {} DONE {}: {}", raw(a.command), static_cast<int>(a.code), a.message);
  }
  std::string operator()(const SaveState&) const { return "SAVE STATE"; }
  std::string operator()(const ExitDaemon& a) const { return fmt::format("EXIT {}: {}", a.code, a.why); }
};
}  // namespace

std::string describe_event(const Event& event) {
  return std::visit(EventText{}, event);
}
std::string describe_action(const Action& action) {
  return std::visit(ActionText{}, action);
}

}  // namespace muster::sim
