#include "simulator/conduct.h"

#include <algorithm>
#include <array>

#include "base/check.h"

namespace muster::sim {

namespace {
using supervisor::SpawnFailure;

constexpr std::array rows{
    StartFaultRow{StartFault::no_program, "ENOENT", SpawnFailure::exec,
                  "exec ./app: No such file or directory"},
    StartFaultRow{StartFault::no_access, "EACCES", SpawnFailure::exec, "exec ./app: Permission denied"},
    StartFaultRow{StartFault::no_format, "ENOEXEC", SpawnFailure::exec, "exec ./app: Exec format error"},
    StartFaultRow{StartFault::no_processes, "EAGAIN", SpawnFailure::resources,
                  "clone: Resource temporarily unavailable"},
    StartFaultRow{StartFault::no_memory, "ENOMEM", SpawnFailure::resources, "clone: Cannot allocate memory"},
    StartFaultRow{StartFault::no_volume, "no-volume", SpawnFailure::resources,
                  "mkdir volumes: No space left on device"},
    StartFaultRow{StartFault::volume_busy, "volume-busy", SpawnFailure::volume_busy,
                  "volume data of db/0 is held by pid 812 (postgres)"},
    StartFaultRow{StartFault::no_log, "no-log", SpawnFailure::resources, "mkdir log: Read-only file system"},
};
}  // namespace

std::span<const StartFaultRow> start_faults() {
  return rows;
}

const StartFaultRow& start_fault_row(StartFault fault) {
  const auto* const at = std::ranges::find(rows, fault, &StartFaultRow::fault);
  MUSTER_CHECK(at != rows.end());
  return *at;
}

}  // namespace muster::sim
