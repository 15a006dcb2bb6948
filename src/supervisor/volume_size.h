// `size` of a volume: held by a project quota where the file system has that on. Decides; the kernel's part comes in.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "base/result.h"
#include "supervisor/project_quota.h"

namespace muster::supervisor {

struct SizeQuestion {
  int folder = -1;                                // of the volume, open for reading
  std::uint32_t project = 0;                      // of its record; 0: none yet
  std::optional<std::uint64_t> size;              // none: it may fill what there is
  std::uint32_t uid = 0;                          // of who writes into it
  std::function<bool(std::uint32_t)> taken = {};  // by another volume of ours
};

struct SizeAnswer {
  bool enforced = false;
  std::string why_not = {};   // "" where it is, and where there is no size
  std::uint32_t project = 0;  // to be remembered
  bool assign_files = false;  // what is in the volume has to be told which project it is of (assign_project)
};

// Limits what the volume may hold, now. Only what the volume is named by is touched: a folder that is of a project that
// the record does not know is somebody else's to limit.
SizeAnswer hold_to_size(ProjectQuota& quota, const SizeQuestion& question);

// A number that nobody uses: not one of `reserved`, not `taken`, and nothing on the file system is of it or limited
// by it. None: the first of them were all in use.
std::optional<std::uint32_t> free_project(ProjectQuota& quota, int folder,
                                          const std::function<bool(std::uint32_t)>& taken);

inline constexpr std::uint32_t project_first = 0x4d550000;  // "MU": far from what people count up from
inline constexpr int project_tries_max = 4096;

}  // namespace muster::supervisor
