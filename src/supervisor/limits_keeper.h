// Keeps the limits of one replica: writes them where the kernel takes them, and looks where it does not.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "supervisor/limit_rules.h"
#include "supervisor/process_tree.h"

namespace muster::supervisor {

class LimitsKeeper {
 public:
  // From now on. `fresh`: no process is in the tree yet, and its group, if it has one, is new. What the kernel refuses
  // is kept by the next best means, and is a problem().
  void keep(const LimitOrder& order, const ProcessTree& tree, const ControllerReport& report, bool fresh);
  [[nodiscard]] const LimitOrder& order() const { return order_; }
  [[nodiscard]] const LimitStates& states() const { return states_; }
  // What was refused since the last call, as sentences.
  std::vector<std::string> take_problems();
  // RLIMIT_NPROC for the main process; none: that of this process.
  [[nodiscard]] std::optional<std::uint64_t> processes_max() const;
  // Of what is watched, by a look at the tree's processes.
  [[nodiscard]] std::optional<Excess> look(const ProcessTree& tree) const;

 private:
  void write_files(const std::string& folder, const Controllers& active, bool fresh);
  void set_rlimit(const ProcessTree& tree, std::optional<std::uint64_t> before);

  LimitOrder order_;
  LimitStates states_;
  std::vector<std::string> problems_;
};

}  // namespace muster::supervisor
