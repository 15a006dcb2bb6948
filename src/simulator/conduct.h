// How the processes, probes and traffic threads of the fake host behave: values, calm unless something else is asked.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "base/time.h"
#include "supervisor/event.h"

namespace muster::sim {

using namespace std::chrono_literals;

// What a start can meet.
enum class StartFault {
  no_program,
  no_access,
  no_format,
  no_processes,
  no_memory,
  no_volume,
  volume_busy,
  no_log
};

struct StartFaultRow {
  StartFault fault;
  std::string_view word;  // in timelines
  supervisor::SpawnFailure kind;
  std::string_view sentence;
};
std::span<const StartFaultRow> start_faults();
const StartFaultRow& start_fault_row(StartFault fault);

// How one process will behave; chosen when it is spawned.
struct Conduct {
  Nanos start_takes{1ms};
  std::optional<StartFault> fails;
  Nanos healthy_after{0};  // since its start: probes succeed, READY=1 is sent, the line is printed
  bool never_healthy = false;
  std::optional<Nanos> exits_after;  // by itself
  supervisor::ExitStatus exit{.code = 0, .signal = std::nullopt};
  bool ignores_signal = false;
  Nanos signal_takes{1ms};
  bool tree_outlives = false;  // children stay when the main process ends; KillTree ends them
  int kills_needed = 1;        // KillTree has to come so often
  Nanos kill_takes{1ms};
  Nanos stop_command_takes{1ms};
  std::optional<Nanos> in_flight{0ns};  // until idle, once it is out of rotation; none = never
};

struct ProbeConduct {
  Nanos takes{1ms};
  bool lost = false;  // nothing comes back: over after its `timeout`
};

}  // namespace muster::sim
