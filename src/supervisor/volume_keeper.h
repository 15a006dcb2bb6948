// The volumes of this daemon: prepares them for starts, holds them to their sizes, lists, adopts and removes them. What
// may take long is done by threads of the pool. For the control thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "supervisor/action.h"
#include "supervisor/pool_work.h"
#include "supervisor/uv_handles.h"
#include "supervisor/volume_list.h"
#include "supervisor/volumes.h"

namespace muster::supervisor {

struct VolumeHooks {
  std::function<void(Note)> note;
  std::function<std::set<std::string>()> in_use;  // paths of those that this daemon's replicas have
};

struct VolumeFilter {
  std::string app = {};  // empty: all
  std::optional<int> ordinal = std::nullopt;
  bool with_use = true;
};

class VolumeKeeper {
 public:
  VolumeKeeper(uv_loop_s* loop, std::string state_dir, std::string boot_id, VolumeHooks hooks);

  // Once, before anything else; what is wrong with the list comes back.
  std::vector<std::string> load() { return registry_.load(); }

  // The spec that is in force: sizes count from now on, also for replicas that run.
  void use(std::shared_ptr<const spec::Spec> spec);

  // As prepare_volumes().
  Result<PreparedVolumes> prepare(const ReplicaId& replica, const spec::App& app);

  using Rows = std::function<void(const std::vector<VolumeRow>&)>;
  // False: too many lists are being made. `done` is called later.
  bool list(const VolumeFilter& filter, Rows done);

  // What was asked for has ended: a sentence for people, or why not.
  using Done = std::function<void(Result<std::string>)>;
  // The directory that is at the path now becomes the volume that has its place there.
  void adopt(const std::string& path, const Done& done);
  // Data and registration; refused while a process has it.
  void remove(const std::string& path, Done done);
  // An upgrade would cut it short.
  [[nodiscard]] bool is_removing() const { return removals_.busy(); }

 private:
  struct SizeSeen {
    bool enforced = false;
    std::string why_not;
  };
  struct Removal;
  void sync();
  [[nodiscard]] std::vector<VolumeCandidate> candidates(const VolumeFilter& filter) const;
  [[nodiscard]] bool has_size(const std::string& app, const std::string& key) const;
  [[nodiscard]] std::optional<VolumeCandidate> candidate_at(const std::string& path) const;
  void hold_to_size(const VolumeCandidate& candidate);
  void assign_files(const std::string& path, Fd folder, std::uint32_t project);
  void warn_of_size(const VolumeCandidate& candidate, const std::string& why_not);
  void look_at_sizes();
  bool look(std::vector<VolumeCandidate> at, bool with_use, Rows done);
  void compare_sizes(const std::vector<VolumeRow>& rows);
  void start_removal(VolumeRecord record, HeldVolume held, Done done);
  void removed(Removal& removal);

  VolumeRegistry registry_;
  VolumeHooks hooks_;
  std::shared_ptr<const spec::Spec> spec_;
  std::map<std::string, SizeSeen> sizes_;  // by path
  std::set<std::string> warned_;           // of sizes that nothing enforces
  std::set<std::string> over_;             // paths of those that have more in them than their size
  bool syncing_ = false;
  PoolWork syncs_;
  PoolWork looks_;
  PoolWork removals_;
  PoolWork assignments_;
  UvTimer look_timer_;
};

}  // namespace muster::supervisor
