// One process started through the exec shim, from its order to the end of its last descendant. Used for the main
// process of a replica and for the commands beside it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "base/time.h"
#include "supervisor/cgroup_controllers.h"
#include "supervisor/cgroup_tree.h"
#include "supervisor/credential_cache.h"
#include "supervisor/limits_keeper.h"
#include "supervisor/process_host.h"
#include "supervisor/process_tree.h"
#include "supervisor/shim_order.h"
#include "supervisor/token_tree.h"
#include "supervisor/uv_handles.h"

namespace muster::supervisor {

// What all children of one host share.
struct ChildWorld {
  uv_loop_t* loop = nullptr;
  std::uint64_t files_soft = 0;  // the soft RLIMIT_NOFILE that muster was started with
  int own_pid = 0;
  CredentialCache credentials;
  std::unique_ptr<CgroupBase> cgroups;                   // none: trees by token
  std::unique_ptr<TokenScanner> tokens;                  // none: trees by cgroup
  std::vector<std::unique_ptr<CgroupBase>> old_cgroups;  // those of adopted processes
  Controllers wanted{
      .memory = true, .cpu = false, .pids = true};  // for the groups of replicas, where they may be had
  ControllerReport controllers;                     // what became of that

  // The group below one of ours that the process is in.
  [[nodiscard]] std::optional<std::string> group_of(int pid) const;
};

// Of one child either `failed`, or `started`, `exited` and `gone` in this order are called, never inside of a call
// into Child. Nothing is left of the process when `failed` or `gone` is called.
struct ChildHooks {
  std::function<void(int pid)> started;
  std::function<void(SpawnFailure, std::string sentence)> failed;
  std::function<void(ExitStatus)> exited;
  std::function<void()> gone;
};

struct ChildName {
  std::string group;  // of its cgroup
  std::string token;  // in its environment
};

class Child {
 public:
  Child(ChildWorld& world, ChildHooks hooks);
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  // An error: nothing was started and no hook will be called.
  Status start(const ChildName& name, const ProcessOrder& order, int out_fd, int err_fd,
               bool end_with_daemon);

  // A process that was there before; `started` is not called for it.
  void adopt(const AdoptOrder& order);

  // Of one that runs; the first ones come with its order.
  void set_limits(const LimitOrder& order);
  [[nodiscard]] LimitsKeeper& limits() { return limits_; }
  // What is watched and exceeded.
  [[nodiscard]] std::optional<Excess> over_limit() const;

  void signal(int signal_number);
  void kill();  // the whole tree
  void reap();  // if it has ended

  [[nodiscard]] int pid() const { return pid_; }
  [[nodiscard]] bool reaped() const { return reaped_; }
  [[nodiscard]] const ProcessTree& tree() const { return *tree_; }  // after start()
  [[nodiscard]] const std::string& group() const { return group_; }

 private:
  Result<std::unique_ptr<ProcessTree>> make_tree(const ChildName& name);
  std::unique_ptr<ProcessTree> adopt_tree(const AdoptOrder& order);
  void find_adopted(int pid, std::uint64_t start_ticks);
  std::optional<ExitStatus> ended_status();
  std::optional<ExitStatus> status_of_stranger();
  void watch();
  void read_report();
  void finish_report();
  void ended();

  ChildWorld& world_;
  ChildHooks hooks_;
  ShimNames names_;
  std::string group_;
  int pid_ = 0;
  Fd pidfd_;
  UvPoll exit_poll_;
  Fd report_;
  UvPoll report_poll_;
  std::string report_bytes_;
  CredentialCache::Stamp stamp_{};  // when the shim was sent
  std::unique_ptr<ProcessTree> tree_;
  LimitsKeeper limits_;
  std::optional<ShimFailure> failure_;
  std::string failure_sentence_;
  bool by_small_shim_ = false;
  bool stranger_ = false;            // no child of ours: its parent hears of its end
  std::optional<Instant> end_seen_;  // of a stranger whose status is waited for
  UvTimer status_timer_;
  UvTimer find_timer_;
  bool started_ = false;
  bool reaped_ = false;
  bool over_ = false;
};

}  // namespace muster::supervisor
