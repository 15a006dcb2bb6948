// Trees by marks on their processes, where no cgroup can be made. Each question is a walk over /proc; all trees that
// have one share it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "supervisor/process_tree.h"
#include "supervisor/tree_marks.h"
#include "supervisor/uv_handles.h"

namespace muster::supervisor {

class TokenTree;

// Ends what a dead muster left running that was meant to end with it, as the tokens say. Waits for it, a second at
// most. To be called before anything is started.
void end_leftovers_by_token();

// SIGKILL to what carries a token of that giver and none of `kept`. Once: what forks meanwhile is not seen.
void end_tokens(const std::string& giver, const std::set<std::string>& kept);

class TokenScanner {
 public:
  explicit TokenScanner(uv_loop_t* loop);
  TokenScanner(const TokenScanner&) = delete;
  TokenScanner& operator=(const TokenScanner&) = delete;

  std::unique_ptr<ProcessTree> make_tree(const std::string& token, std::function<void()> on_empty);
  // Of a main process that was there before us.
  std::unique_ptr<ProcessTree> adopt_tree(const std::string& token, int pid, std::uint64_t start_ticks,
                                          std::function<void()> on_empty);
  // Whose process it is; null for nobody's. One walk, however many trees there are.
  [[nodiscard]] const ProcessTree* tree_of(int pid) const;

 private:
  friend class TokenTree;

  struct Snapshot {
    std::vector<ProcStat> processes;
    std::vector<int> trees;  // indexes of trees_
    bool complete = false;   // false: who is missing may live all the same
  };
  struct Sums {  // over the living processes of one tree
    std::uint64_t cpu_ticks = 0;
    std::uint64_t resident_pages = 0;
    std::uint64_t threads = 0;
  };
  Snapshot look() const;
  // For readings, not for decisions.
  Sums recent_sums(const TokenTree* tree) const;
  Nanos recent_cpu(const TokenTree* tree) const;
  void read_clocks() const;
  [[nodiscard]] std::vector<TreeMark> marks() const;
  void soon();
  void run();
  bool round(std::vector<TokenTree*>& emptied);  // whether somebody was killed
  void remove(TokenTree* tree);
  [[nodiscard]] std::vector<ProcStat> members(const Snapshot& snapshot, const TokenTree* tree) const;

  uv_loop_t* loop_;
  MarkedWorld world_;
  std::vector<TokenTree*> trees_;
  UvTimer timer_;
  Millis delay_{0};
  mutable std::map<const TokenTree*, Sums> recent_;
  mutable std::optional<std::uint64_t> recent_at_ms_;
  // What read_clocks() has found out of a process, which no process changes.
  struct Known {
    ProcStat process;
    const TokenTree* tree = nullptr;  // null: nobody's
    Nanos cpu{0};
  };
  mutable std::unordered_map<int, Known> known_;  // by pid
  mutable std::map<const TokenTree*, Nanos> cpu_;
  mutable std::optional<std::uint64_t> cpu_at_ms_;
  mutable unsigned clock_rounds_ = 0;
  mutable bool environs_complete_ = true;
  mutable std::set<int> blank_;  // of the last look: living processes whose environment was empty
  mutable Undecided undecided_;
  bool sure_ = true;  // the last round knew where everybody belongs
};

}  // namespace muster::supervisor
