// What survives a restart of the daemon: revision numbers, holds, backoff. Written by state_file.h.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "supervisor/world.h"

namespace muster::supervisor {

// A slot without a process that is not to get one, or what `ps` says of its last process. Only a daemon that takes over
// the processes of another goes on with it: after an orderly end everything begins anew.
struct PersistentSlot {
  int starts = 0;
  std::optional<LastExit> last_exit = {};
  bool completed = false;
  bool failed = false;
  std::string reason = {};  // of these two
};

struct PersistentApp {
  std::uint32_t revision = 1;
  std::uint64_t revision_hash = 0;  // fingerprint() of its text: the same text keeps the number
  bool held = false;
  bool paused = false;
  std::optional<ScaleHold> scale;
  std::set<int> held_ordinals;
  std::set<int> drained_ordinals;
  std::map<int, int> failures = {};  // ordinal -> unasked ends in a row
  std::uint32_t file_revision = 1;   // another one than `revision` after a rollback
  bool undone = false;
  std::vector<PastRevision> history = {};
  std::optional<int> autoscaled = {};
  bool gate_open = false;  // as PersistentSlot
  std::map<int, PersistentSlot> slots = {};
};

struct PersistentJob {
  std::string schedule;  // that `next` is by
  std::string timezone;
  std::optional<WallTime> next;
  std::optional<JobEnd> last;
  // As PersistentSlot: whether it was asked for since the daemon's start, has run, and how the newest run ended.
  bool met = false;
  bool ran = false;
  std::optional<bool> ended_ok = {};
};

struct PersistentState {
  std::map<std::string, PersistentApp> apps;
  std::map<std::string, PersistentJob> jobs = {};
};

// FNV-1a, 64 bit: stable over versions and machines.
std::uint64_t fingerprint(std::string_view text);

}  // namespace muster::supervisor
