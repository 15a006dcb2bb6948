#include "simulator/deed.h"

#include <array>

#include "fmt/core.h"

namespace muster::sim {

namespace {
Process* find(FakeHost& host, const Victim& victim) {
  return host.process(victim.app, victim.ordinal, victim.oldest);
}

struct Performer {
  FakeHost& host;

  void operator()(const EndProcess& deed) const {
    if (const Process* process = find(host, deed.victim)) host.exit(process->id, deed.status);
  }
  void operator()(const SetHealth& deed) const {
    Process* process = find(host, deed.victim);
    if (process == nullptr) return;
    if (deed.kind == health::ProbeKind::readiness) {
      process->healthy = deed.healthy;
    } else {
      process->alive = deed.healthy.value_or(true);
    }
  }
  void operator()(const Hang& deed) const {
    if (Process* process = find(host, deed.victim)) process->hung = deed.hung;
  }
  void operator()(const Say& deed) const {
    const Process* process = find(host, deed.victim);
    if (process == nullptr) return;
    Notified notified{};
    notified.instance = process->id;
    notified.ready = deed.ready;
    notified.stopping = deed.stopping;
    notified.watchdog_trigger = deed.trigger;
    notified.extend_timeout = deed.extend;
    notified.status = "busy";
    host.send(notified);
  }
  void operator()(const LoadFile& deed) const {
    if (deed.waits) {
      static_cast<void>(host.apply(deed.spec, deed.retry));
    } else {
      host.load(deed.spec);
    }
  }
  void operator()(const LoadBadFile&) const { host.send(SpecRejected{"muster.toml:1:1: error: no"}); }
  void operator()(const TouchFile& deed) const { host.send(FilesChanged{deed.app, "app.py"}); }
  void operator()(const Ask& deed) const {
    switch (deed.verb) {
      case Verb::start:
        return static_cast<void>(host.start(deed.target));
      case Verb::stop:
        return static_cast<void>(host.stop(deed.target));
      case Verb::restart:
      case Verb::restart_now:
        return static_cast<void>(host.restart(deed.target, deed.verb == Verb::restart_now));
      case Verb::scale:
        return static_cast<void>(host.scale(deed.target.app, deed.replicas));
      case Verb::drain:
      case Verb::undrain:
        return static_cast<void>(host.drain(deed.target, deed.verb == Verb::drain));
      case Verb::pause:
      case Verb::resume:
        return static_cast<void>(host.pause(deed.target.app, deed.verb == Verb::pause));
      case Verb::undo:
        return static_cast<void>(host.undo(deed.target.app));
    }
  }
  void operator()(const RunJob& deed) const { host.send(RunCommand{host.command_id(), deed.job}); }
  void operator()(const Abandon&) const {
    if (!host.unanswered().empty()) host.abandon(*host.unanswered().begin());
  }
  void operator()(const HoldPorts& deed) const { host.strangers = deed.ports; }
  void operator()(const LateEvents& deed) const {
    const InstanceId id = deed.instance;
    if (host.all().contains(id)) return;
    host.send(ProbeFinished{.instance = id, .kind = health::ProbeKind::liveness, .outcome = {}});
    host.send(StopCommandDone{.instance = id, .sentence = ""});
    host.send(EndpointIdle{id});
    host.send(LogMatched{.instance = id});
    host.send(TreeGone{id});
  }
  void operator()(const AnswerRequests& deed) const {
    host.answer_requests(deed.app, deed.newest, deed.all, deed.errors);
  }
  void operator()(const FailStarts& deed) const { host.fail_starts(deed.app, deed.fault, deed.duration); }
  void operator()(const Stall& deed) const { host.stall(deed.duration); }
  void operator()(const Freeze& deed) const { host.freeze(deed.duration); }
  void operator()(const SetClock& deed) const {
    host.set_clock(deed.forward);
    host.send(ClockSet{});
  }
  void operator()(const SetDisk& deed) const { host.set_disk(deed.writable); }
  void operator()(const Shutdown& deed) const { host.shutdown(deed.at_once); }
  void operator()(const RestartDaemon& deed) const {
    if (deed.crash) return host.crash_daemon(deed.away, deed.file);
    host.restart_daemon(deed.in_order, deed.file);
  }
};

constexpr std::array<std::string_view, 10> verbs{"start", "stop",    "restart", "restart --now", "scale",
                                                 "drain", "undrain", "pause",   "resume",        "undo"};

std::string name_of(const Victim& victim) {
  return fmt::format("{}/{}{}", victim.app, victim.ordinal, victim.oldest ? " (the oldest)" : "");
}

struct Describer {
  std::string operator()(const EndProcess& deed) const {
    if (deed.status.signal)
      return fmt::format("kill {} {}{}", name_of(deed.victim), signal_name(*deed.status.signal),
                         deed.status.oom ? " (out of memory)" : "");
    return fmt::format("exit {} {}", name_of(deed.victim),
                       deed.status.code ? std::to_string(*deed.status.code) : "unknown");
  }
  std::string operator()(const SetHealth& deed) const {
    const bool readiness = deed.kind == health::ProbeKind::readiness;
    return fmt::format("{} {} {}", readiness ? "probe" : "live", name_of(deed.victim),
                       !deed.healthy   ? "is as it is"
                       : *deed.healthy ? "holds"
                                       : "fails");
  }
  std::string operator()(const Hang& deed) const {
    return fmt::format("{} {}", deed.hung ? "hang" : "unhang", name_of(deed.victim));
  }
  std::string operator()(const Say& deed) const {
    std::string words;
    if (deed.ready) words += " READY=1";
    if (deed.stopping) words += " STOPPING=1";
    if (deed.trigger) words += " WATCHDOG=trigger";
    if (deed.extend) words += " EXTEND_TIMEOUT=" + say_length(*deed.extend);
    return fmt::format("notify {}{}", name_of(deed.victim), words);
  }
  std::string operator()(const LoadFile& deed) const {
    std::string words = deed.waits ? "apply" : "reload";
    if (deed.retry) words += " --retry";
    return deed.name.empty() ? words : words + " " + deed.name;
  }
  std::string operator()(const LoadBadFile&) const { return "reload of a file with errors"; }
  std::string operator()(const TouchFile& deed) const { return "touch a watched file of " + deed.app; }
  std::string operator()(const Ask& deed) const {
    if (deed.verb == Verb::scale)
      return fmt::format("scale {}={}", deed.target.app,
                         deed.replicas ? std::to_string(*deed.replicas) : "file");
    return fmt::format("{} {}{}", verb_word(deed.verb), deed.target.app,
                       deed.target.ordinal ? fmt::format("/{}", *deed.target.ordinal) : "");
  }
  std::string operator()(const RunJob& deed) const { return "run " + deed.job; }
  std::string operator()(const Abandon&) const { return "the oldest client that waits goes away"; }
  std::string operator()(const HoldPorts& deed) const {
    if (deed.ports.empty()) return "strangers leave their ports";
    std::string words = "strangers hold";
    for (const std::uint16_t port : deed.ports) words += fmt::format(" {}", port);
    return words;
  }
  std::string operator()(const LateEvents& deed) const {
    return fmt::format("late events of instance {}", raw(deed.instance));
  }
  std::string operator()(const AnswerRequests& deed) const {
    return fmt::format("traffic {} {}: {} answers each, {} of them 5xx", deed.app,
                       deed.newest ? "new" : "old", deed.all, deed.errors);
  }
  std::string operator()(const FailStarts& deed) const {
    return fmt::format("spawn {} fails {} for {}", deed.app, start_fault_row(deed.fault).word,
                       say_length(deed.duration));
  }
  std::string operator()(const Stall& deed) const { return "stall " + say_length(deed.duration); }
  std::string operator()(const Freeze& deed) const { return "freeze " + say_length(deed.duration); }
  std::string operator()(const SetClock& deed) const {
    return fmt::format("clock {}{}", deed.forward < Nanos{0} ? "-" : "+",
                       say_length(std::chrono::abs(deed.forward)));
  }
  std::string operator()(const SetDisk& deed) const {
    return deed.writable ? "disk is writable" : "disk is full";
  }
  std::string operator()(const Shutdown& deed) const { return deed.at_once ? "down --now" : "down"; }
  std::string operator()(const RestartDaemon& deed) const {
    const std::string what = deed.crash      ? "crash, away " + say_length(deed.away)
                             : deed.in_order ? "restart muster"
                                             : "power cut";
    return what + (deed.file ? ", the file is edited meanwhile" : "");
  }
};

struct AppOf {
  std::string operator()(const EndProcess& deed) const { return deed.victim.app; }
  std::string operator()(const SetHealth& deed) const { return deed.victim.app; }
  std::string operator()(const Hang& deed) const { return deed.victim.app; }
  std::string operator()(const Say& deed) const { return deed.victim.app; }
  std::string operator()(const LoadFile&) const { return {}; }
  std::string operator()(const LoadBadFile&) const { return {}; }
  std::string operator()(const TouchFile& deed) const { return deed.app; }
  std::string operator()(const Ask& deed) const { return deed.target.app; }
  std::string operator()(const RunJob& deed) const { return deed.job; }
  std::string operator()(const Abandon&) const { return {}; }
  std::string operator()(const HoldPorts&) const { return {}; }
  std::string operator()(const LateEvents&) const { return {}; }
  std::string operator()(const AnswerRequests& deed) const { return deed.app; }
  std::string operator()(const FailStarts& deed) const { return deed.app; }
  std::string operator()(const Stall&) const { return {}; }
  std::string operator()(const Freeze&) const { return {}; }
  std::string operator()(const SetClock&) const { return {}; }
  std::string operator()(const SetDisk&) const { return {}; }
  std::string operator()(const Shutdown&) const { return {}; }
  std::string operator()(const RestartDaemon&) const { return {}; }
};
}  // namespace

void perform(FakeHost& host, const Deed& deed) {
  std::visit(Performer{host}, deed);
}

std::string describe_deed(const Deed& deed) {
  return std::visit(Describer{}, deed);
}

std::string app_of(const Deed& deed) {
  return std::visit(AppOf{}, deed);
}

std::string_view verb_word(Verb verb) {
  return verbs.at(static_cast<std::size_t>(verb));
}

std::string say_length(Nanos length) {
  struct Unit {
    Nanos size;
    const char* word;
  };
  constexpr std::array units{Unit{24h, "d"}, Unit{1h, "h"}, Unit{1min, "min"}, Unit{1s, "s"},
                             Unit{1ms, "ms"}};
  std::string text;
  for (const Unit& unit : units) {
    const auto count = length / unit.size;
    if (count == 0) continue;
    text += fmt::format("{}{} {}", text.empty() ? "" : " ", count, unit.word);
    length -= count * unit.size;
  }
  return text.empty() ? "0 ms" : text;
}

}  // namespace muster::sim
