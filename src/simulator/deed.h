// What can be done to the fake host: faults, edits, commands. Each is a value, so a run is a list of them that can be
// drawn by a seed, read from a timeline, cut down and printed. Whoever they name may be gone by then: then nothing
// happens. Pure.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <variant>

#include "simulator/fake_host.h"

namespace muster::sim {

struct Victim {  // a process of that ordinal
  std::string app;
  int ordinal = 0;
  bool oldest = false;  // of several; else the newest
};

struct EndProcess {
  Victim victim;
  ExitStatus status;
};
struct SetHealth {  // what probes find from now on; none: as it behaves by itself
  Victim victim;
  health::ProbeKind kind = health::ProbeKind::readiness;
  std::optional<bool> healthy;
};
struct Hang {  // no watchdog ping any more
  Victim victim;
  bool hung = true;
};
struct Say {  // sd_notify(3)
  Victim victim;
  bool ready = false;
  bool stopping = false;
  bool trigger = false;
  std::optional<Millis> extend;
};
struct LoadFile {
  std::shared_ptr<const spec::Spec> spec;
  bool waits = false;  // `muster apply`, and its answer is due
  bool retry = false;
  std::string name = {};  // as the timeline calls it
};
struct LoadBadFile {};
struct TouchFile {  // a file of a `watch`
  std::string app;
};
enum class Verb { start, stop, restart, restart_now, scale, drain, undrain, pause, resume, undo };
struct Ask {
  Verb verb = Verb::start;
  Target target;
  std::optional<int> replicas = {};  // of a scale; none: the file's
};
struct RunJob {  // `muster run`
  std::string job;
};
struct Abandon {};  // the client of the oldest command without an answer goes away
struct HoldPorts {  // by strangers, instead of those before; none: all are free again
  std::set<std::uint16_t> ports;
};
struct LateEvents {  // of an instance that has been gone for long, or never was
  InstanceId instance{};
};
struct AnswerRequests {
  std::string app;
  bool newest = true;  // by processes of the revision in force; else by all others
  std::uint64_t all = 0;
  std::uint64_t errors = 0;
};
struct FailStarts {
  std::string app;
  StartFault fault = StartFault::no_program;
  Nanos duration{0};
};
struct Stall {
  Nanos duration{0};
};
struct Freeze {
  Nanos duration{0};
};
struct SetClock {
  Nanos forward{0};
};
struct SetDisk {
  bool writable = true;
};
struct Shutdown {
  bool at_once = false;
};
struct RestartDaemon {
  bool in_order = true;
  bool crash = false;                           // instead: the daemon dies, what it started lives on
  std::shared_ptr<const spec::Spec> file = {};  // edited meanwhile; null: it was not
  Nanos away{0};                                // until the next daemon is there, after a crash
};

using Deed = std::variant<EndProcess, SetHealth, Hang, Say, LoadFile, LoadBadFile, TouchFile, Ask, RunJob,
                          Abandon, HoldPorts, LateEvents, AnswerRequests, FailStarts, Stall, Freeze, SetClock,
                          SetDisk, Shutdown, RestartDaemon>;

struct Step {
  Nanos after{0};  // the step before
  Deed deed;
};

void perform(FakeHost& host, const Deed& deed);
std::string describe_deed(const Deed& deed);  // "kill web/1 SIGSEGV"

// The app or job that it is about; empty: none.
std::string app_of(const Deed& deed);

std::string_view verb_word(Verb verb);
// "250 ms", "5 s", "1 h 30 min": as short as it can be said without loss.
std::string say_length(Nanos length);

}  // namespace muster::sim
