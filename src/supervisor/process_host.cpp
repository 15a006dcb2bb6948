#include "supervisor/process_host.h"

#include <fcntl.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <deque>
#include <map>
#include <set>
#include <unordered_map>

#include "base/check.h"
#include "fmt/core.h"
#include "supervisor/child.h"
#include "supervisor/command_run.h"
#include "supervisor/proc_scan.h"
#include "supervisor/spawner.h"

namespace muster::supervisor {
namespace {

constexpr rlim_t usual_files_soft = 1024;  // INR_OPEN_CUR of the kernel
constexpr int reaps_per_turn = 256;
constexpr std::size_t commands_per_instance_max = 16;  // that have not ended, killed ones included

constexpr InstanceId own_commands{~std::uint64_t{0}};  // stands for no replica

std::string random_text() {
  std::array<unsigned char, 8> bytes{};
  if (getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    // The kernel gave this process some at its start.
    const auto* given = reinterpret_cast<const unsigned char*>(getauxval(AT_RANDOM));
    if (given != nullptr) std::copy_n(given, bytes.size(), bytes.begin());
  }
  std::string text;
  for (const unsigned char byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
}

}  // namespace

struct ProcessHost::Impl {
  struct Instance {
    std::unique_ptr<Child> child;
    ReplicaId replica;
    std::map<std::uint64_t, std::unique_ptr<CommandRun>> commands;
    bool gone = false;  // only its commands are left
  };

  Impl(uv_loop_s* loop, ProcessHostOptions the_options, ProcessHooks the_hooks);
  ~Impl();
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void choose_containment();
  Status make_cgroups();
  bool regain_cgroups();
  void provide(const std::string& parent);
  void want_controllers(const spec::Limits& limits);
  ProcessPipes start(InstanceId id, const ReplicaId& replica, const ProcessOrder& order, OutputPipes output);
  void adopt(InstanceId id, const AdoptOrder& order);
  void end_leftovers(const DaemonLife& life);
  ChildHooks hooks_for(InstanceId id);
  [[nodiscard]] ChildName child_name(InstanceId id, const ReplicaId& replica) const;
  void fail_start(InstanceId id, std::string sentence);
  void on_over(InstanceId id);
  void run_command(InstanceId id, const ProcessOrder& order, Millis timeout,
                   std::function<void(CommandResult)> done);
  void run_own_command(const ProcessOrder& order, Millis timeout, std::function<void(CommandResult)> done);
  void command_over(InstanceId id, std::uint64_t number);
  void forget_if_over(InstanceId id);
  void reap_children();
  void hear_job_control();
  void later(std::function<void()> task);
  void run_tasks();
  Child* child_of(InstanceId id) const;
  void retire(std::unique_ptr<Child> child);

  ProcessHostOptions options;
  ProcessHooks hooks;
  ChildWorld world;
  std::string containment_text;
  bool cgroups_were_short = false;  // they may be had later
  std::string token;                // of all that this host starts; an instance adds its number
  std::set<std::string> adopted_tokens;
  std::uint64_t commands_started = 0;
  std::map<InstanceId, Instance> instances;
  std::unordered_map<int, Child*> by_pid;
  // Ended ones, whose own functions may still be on the stack.
  std::vector<std::unique_ptr<Child>> ended_children;
  std::vector<std::unique_ptr<CommandRun>> ended_commands;
  std::deque<std::function<void()>> tasks;
  UvTimer task_timer;
  UvSignal child_signal;
};

ProcessHost::Impl::Impl(uv_loop_s* loop, ProcessHostOptions the_options, ProcessHooks the_hooks)
    : options(std::move(the_options)),
      hooks(std::move(the_hooks)),
      task_timer(loop, [this] { run_tasks(); }) {
  world.loop = loop;
  world.own_pid = getpid();
  const std::optional<ProcStat> self = read_process(world.own_pid);
  token = encode(TokenGiver{.end_with_daemon = options.end_with_daemon && self.has_value(),
                            .pid = world.own_pid,
                            .start_ticks = self ? self->start_ticks : 0,
                            .pid_namespace = own_pid_namespace(),
                            .random = random_text()});
  rlimit files{.rlim_cur = usual_files_soft, .rlim_max = usual_files_soft};  // when nobody says
  getrlimit(RLIMIT_NOFILE, &files);
  world.files_soft = options.files_soft.value_or(files.rlim_cur);
  // Without it orphans would go to init and out of our sight; kernels since 3.4 have it.
  prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  choose_containment();
  use_small_shim(options.shim ? *options.shim : small_shim_path());
  // A hint, nothing more: exits of main processes come by pidfd. Adopted orphans have no pidfd, and nothing else
  // tells an idle loop of their end. A lost one only leaves zombies until the next. Nobody else in this process
  // listens to SIGCHLD.
  static_cast<void>(child_signal.start(loop, SIGCHLD, [this] {
    hear_job_control();
    reap_children();
  }));
}

Status ProcessHost::Impl::make_cgroups() {
  std::vector<std::string> parents;
  if (!options.cgroup_parent) {
    auto own = own_cgroup_folders();
    if (!own) return std::move(own).error();
    parents = std::move(own).value();
  } else if (!options.cgroup_parent->empty()) {
    parents.push_back(*options.cgroup_parent);
  }
  auto base = CgroupBase::make(parents, options.end_with_daemon);
  if (!base) return std::move(base).error();
  world.cgroups = std::move(base).value();
  containment_text = "cgroup";
  provide(world.cgroups->parent());
  return Unit{};
}

bool ProcessHost::Impl::regain_cgroups() {
  if (!cgroups_were_short) return false;
  const Status made = make_cgroups();
  cgroups_were_short = !made && is_shortage(made.error().errno_value);
  return made.ok();
}

void ProcessHost::Impl::choose_containment() {
  const Status made = make_cgroups();
  if (made) return;
  cgroups_were_short = is_shortage(made.error().errno_value);
  if (!options.is_next_image) end_leftovers_by_token();
  world.tokens = std::make_unique<TokenScanner>(world.loop);
  const bool unwanted = options.cgroup_parent && options.cgroup_parent->empty();
  containment_text = fmt::format("session+subreaper+token ({})",
                                 unwanted ? "cgroups were not wanted" : made.error().message);
  for (const LimitKind kind : limit_kinds)
    world.controllers.refuse(kind,
                             unwanted ? "control groups were not wanted" : "no control groups can be made");
}

void ProcessHost::Impl::provide(const std::string& parent) {
  world.controllers = provide_controllers(parent, world.wanted);
  world.cgroups->use_controllers(world.controllers.usable);
  for (const auto& base : world.old_cgroups) base->use_controllers(world.controllers.usable);
}

// Groups that share the processors have a share each, whatever their processes' nice values: so that controller is
// switched on only when somebody needs it, and then each group gets the nice value of its replica.
void ProcessHost::Impl::want_controllers(const spec::Limits& limits) {
  if (!limits.cpu || world.wanted.cpu) return;
  world.wanted.cpu = true;
  if (!world.cgroups) return;
  provide(world.cgroups->parent());
  if (!world.controllers.usable.cpu) return;
  for (const auto& [id, instance] : instances) {
    if (!instance.gone) instance.child->set_limits(LimitOrder(instance.child->limits().order()));
  }
}

ProcessHost::Impl::~Impl() {
  instances.clear();
  ended_children.clear();
  ended_commands.clear();
  if (!world.cgroups) return;
  const std::string parent = world.cgroups->parent();
  world.old_cgroups.clear();
  world.cgroups.reset();
  give_back(parent);
}

void ProcessHost::Impl::later(std::function<void()> task) {
  tasks.push_back(std::move(task));
  task_timer.start(Millis(0));
}

void ProcessHost::Impl::run_tasks() {
  ended_children.clear();
  ended_commands.clear();
  std::deque<std::function<void()>> now;
  now.swap(tasks);
  for (const auto& task : now) task();
}

Child* ProcessHost::Impl::child_of(InstanceId id) const {
  const auto found = instances.find(id);
  return found == instances.end() || found->second.gone ? nullptr : found->second.child.get();
}

void ProcessHost::Impl::fail_start(InstanceId id, std::string sentence) {
  later([this, id, sentence = std::move(sentence)] {
    hooks.on_spawn_failed(id, SpawnFailure::resources, sentence);
  });
}

ChildHooks ProcessHost::Impl::hooks_for(InstanceId id) {
  return ChildHooks{
      .started = [this, id](int pid) { hooks.on_started(id, pid); },
      .failed =
          [this, id](SpawnFailure kind, const std::string& sentence) {
            on_over(id);
            hooks.on_spawn_failed(id, kind, sentence);
          },
      .exited = [this, id](const ExitStatus& status) { hooks.on_exited(id, status); },
      .gone =
          [this, id] {
            on_over(id);
            hooks.on_tree_gone(id);
          },
  };
}

ChildName ProcessHost::Impl::child_name(InstanceId id, const ReplicaId& replica) const {
  const std::string number = std::to_string(raw(id));
  return {fmt::format("{}-{}-{}", replica.app, replica.ordinal, number), token + "-" + number};
}

void ProcessHost::Impl::adopt(InstanceId id, const AdoptOrder& order) {
  MUSTER_CHECK(!instances.contains(id));
  auto child = std::make_unique<Child>(world, hooks_for(id));
  child->adopt(order);
  if (child->pid() != 0) by_pid[child->pid()] = child.get();
  adopted_tokens.insert(order.token);
  instances.emplace(id, Instance{std::move(child), order.replica, {}, false});
}

void ProcessHost::Impl::end_leftovers(const DaemonLife& life) {
  std::set<std::string> groups;
  for (const auto& [id, instance] : instances) groups.insert(instance.child->group());
  for (const std::string& folder : life.cgroups) {
    const auto known =
        std::ranges::find_if(world.old_cgroups, [&](const auto& base) { return base->folder() == folder; });
    if (known != world.old_cgroups.end()) {
      (*known)->end_others(groups);
    } else if (!world.cgroups || world.cgroups->folder() != folder) {
      CgroupBase::take(folder, false)->end_others(groups);
    }
  }
  // In a group of its own each was found by that, also one whose start was under way.
  const bool all_found = options.is_next_image && world.cgroups != nullptr;
  if (!life.token.empty() && !all_found) end_tokens(life.token, adopted_tokens);
}

ProcessPipes ProcessHost::Impl::start(InstanceId id, const ReplicaId& replica, const ProcessOrder& order,
                                      OutputPipes output) {
  MUSTER_CHECK(!instances.contains(id));
  if (!output.out.write || !output.err.write) {
    auto plain = make_plain_pipes();
    if (!plain) {
      fail_start(id, plain.error().message);
      return {};
    }
    output = std::move(plain).value();
  }
  want_controllers(order.bounds.limits);
  auto child = std::make_unique<Child>(world, hooks_for(id));
  const ChildName name = child_name(id, replica);
  const Status started =
      child->start(name, order, output.out.write.get(), output.err.write.get(), options.end_with_daemon);
  if (!started) {
    fail_start(id, started.error().message);
    return {};
  }
  by_pid[child->pid()] = child.get();
  instances.emplace(id, Instance{std::move(child), replica, {}, false});
  return {std::move(output.out.read), std::move(output.err.read)};
}

void ProcessHost::Impl::retire(std::unique_ptr<Child> child) {
  const auto known = by_pid.find(child->pid());
  if (known != by_pid.end() && known->second == child.get()) by_pid.erase(known);
  ended_children.push_back(std::move(child));
  task_timer.start(Millis(0));
}

// Nothing is left of the instance: its commands go with it.
void ProcessHost::Impl::on_over(InstanceId id) {
  Instance& instance = instances.at(id);
  instance.gone = true;
  retire(std::move(instance.child));
  for (const auto& [number, command] : instance.commands) command->kill();
  forget_if_over(id);
}

void ProcessHost::Impl::forget_if_over(InstanceId id) {
  const auto found = instances.find(id);
  if (found != instances.end() && found->second.gone && found->second.commands.empty())
    instances.erase(found);
}

void ProcessHost::Impl::run_command(InstanceId id, const ProcessOrder& order, Millis timeout,
                                    std::function<void(CommandResult)> done) {
  const auto refuse = [&](std::string sentence) {
    later([done = std::move(done), sentence = std::move(sentence)] {
      CommandResult result;
      result.sentence = sentence;
      done(std::move(result));
    });
  };
  const bool is_own = id == own_commands;
  if (!is_own && !child_of(id)) return refuse("the replica has no process");
  Instance& instance = instances.at(id);
  if (instance.commands.size() >= commands_per_instance_max) {
    return refuse(fmt::format("{} earlier commands have not ended", commands_per_instance_max));
  }
  const std::uint64_t number = ++commands_started;
  auto run = std::make_unique<CommandRun>(world, done, [this, id, number] { command_over(id, number); });
  const std::string suffix = fmt::format("{}-c{}", raw(id), number);
  const ChildName name{fmt::format("{}-{}-{}", instance.replica.app, instance.replica.ordinal, suffix),
                       token + "-" + suffix};
  if (const Status started = run->start(name, order, timeout); !started)
    return refuse(started.error().message);
  by_pid[run->child().pid()] = &run->child();
  instance.commands.emplace(number, std::move(run));
}

void ProcessHost::Impl::run_own_command(const ProcessOrder& order, Millis timeout,
                                        std::function<void(CommandResult)> done) {
  Instance& own = instances[own_commands];
  own.gone = true;
  own.replica = ReplicaId{.app = "muster", .ordinal = 0};
  run_command(own_commands, order, timeout, std::move(done));
  forget_if_over(own_commands);
}

void ProcessHost::Impl::command_over(InstanceId id, std::uint64_t number) {
  const auto instance = instances.find(id);
  if (instance == instances.end()) return;
  const auto run = instance->second.commands.find(number);
  if (run == instance->second.commands.end()) return;
  Child& child = run->second->child();
  const auto known = by_pid.find(child.pid());
  if (known != by_pid.end() && known->second == &child) by_pid.erase(known);
  ended_commands.push_back(std::move(run->second));
  task_timer.start(Millis(0));
  instance->second.commands.erase(run);
  forget_if_over(id);
}

// Every zombie among our children: those we started by their own way, adopted ones for nothing. WNOWAIT shows whose
// turn it is before it is taken.
void ProcessHost::Impl::reap_children() {
  for (int i = 0; i < reaps_per_turn; ++i) {
    siginfo_t info{};
    const int result = waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT);
    if (result != 0 && errno == EINTR) continue;
    if (result != 0 || info.si_pid == 0) return;
    const auto known = by_pid.find(info.si_pid);
    if (known != by_pid.end() && !known->second->reaped()) {
      known->second->reap();
    } else {
      waitid(P_PID, static_cast<id_t>(info.si_pid), &info, WEXITED | WNOHANG);
    }
  }
  later([this] { reap_children(); });
}

// Those that were stopped and continued since the last look; the kernel tells of each once.
void ProcessHost::Impl::hear_job_control() {
  for (int i = 0; i < reaps_per_turn; ++i) {
    siginfo_t info{};
    const int result = waitid(P_ALL, 0, &info, WSTOPPED | WCONTINUED | WNOHANG);
    if (result != 0 && errno == EINTR) continue;
    if (result != 0 || info.si_pid == 0) return;
    for (const auto& [id, instance] : instances) {
      if (instance.gone || instance.child->pid() != info.si_pid) continue;
      if (info.si_code == CLD_STOPPED) hooks.on_frozen(id, info.si_status);
      if (info.si_code == CLD_CONTINUED) hooks.on_thawed(id);
      break;
    }
  }
}

ProcessHost::ProcessHost(uv_loop_s* loop, ProcessHostOptions options, ProcessHooks hooks)
    : impl_(std::make_unique<Impl>(loop, std::move(options), std::move(hooks))) {}

ProcessHost::~ProcessHost() = default;

ProcessPipes ProcessHost::start(InstanceId instance, const ReplicaId& replica, const ProcessOrder& order,
                                OutputPipes output) {
  return impl_->start(instance, replica, order, std::move(output));
}

void ProcessHost::adopt(InstanceId instance, const AdoptOrder& order) {
  impl_->adopt(instance, order);
}

void ProcessHost::end_leftovers(const DaemonLife& life) {
  impl_->end_leftovers(life);
}

bool ProcessHost::regain_cgroups() {
  return impl_->regain_cgroups();
}

DaemonLife ProcessHost::life() const {
  DaemonLife life;
  life.token = impl_->token;
  if (impl_->world.cgroups) life.cgroups.push_back(impl_->world.cgroups->folder());
  for (const auto& base : impl_->world.old_cgroups) life.cgroups.push_back(base->folder());
  return life;
}

TreeName ProcessHost::name_of(InstanceId instance, const ReplicaId& replica) const {
  const ChildName name = impl_->child_name(instance, replica);
  const auto& base = impl_->world.cgroups;
  return {.cgroup = base ? base->folder() + "/" + name.group : "", .token = name.token};
}

std::pair<int, std::uint64_t> ProcessHost::main_process(InstanceId instance) const {
  const Child* child = impl_->child_of(instance);
  const auto process = child && child->pid() != 0 ? read_process(child->pid()) : std::nullopt;
  return process ? std::pair(process->pid, process->start_ticks) : std::pair(0, std::uint64_t{0});
}

void ProcessHost::signal(InstanceId instance, int signal_number) {
  if (Child* child = impl_->child_of(instance)) child->signal(signal_number);
}

void ProcessHost::kill_tree(InstanceId instance) {
  if (Child* child = impl_->child_of(instance)) child->kill();
}

void ProcessHost::run_command(InstanceId instance, const ProcessOrder& order, Millis timeout,
                              std::function<void(CommandResult)> done) {
  impl_->run_command(instance, order, timeout, std::move(done));
}

void ProcessHost::run_own_command(const ProcessOrder& order, Millis timeout,
                                  std::function<void(CommandResult)> done) {
  impl_->run_own_command(order, timeout, std::move(done));
}

std::vector<int> ProcessHost::locks() const {
  std::vector<int> locks;
  const auto add = [&locks](const CgroupBase& base) {
    if (base.lock() >= 0) locks.push_back(base.lock());
  };
  if (impl_->world.cgroups) add(*impl_->world.cgroups);
  for (const auto& base : impl_->world.old_cgroups) add(*base);
  return locks;
}

std::uint64_t ProcessHost::files_soft() const {
  return impl_->world.files_soft;
}

void ProcessHost::cancel_commands(InstanceId instance) {
  const auto found = impl_->instances.find(instance);
  if (found == impl_->instances.end()) return;
  for (const auto& [number, command] : found->second.commands) command->cancel();
}

void ProcessHost::set_limits(InstanceId instance, const LimitOrder& order) {
  Child* child = impl_->child_of(instance);
  if (!child) return;
  impl_->want_controllers(order.limits);
  child->set_limits(order);
}

LimitOrder ProcessHost::limit_order(InstanceId instance) const {
  Child* child = impl_->child_of(instance);
  return child ? child->limits().order() : LimitOrder();
}

LimitStates ProcessHost::limits(InstanceId instance) const {
  Child* child = impl_->child_of(instance);
  return child ? child->limits().states() : LimitStates();
}

std::vector<std::string> ProcessHost::take_limit_problems(InstanceId instance) {
  Child* child = impl_->child_of(instance);
  return child ? child->limits().take_problems() : std::vector<std::string>();
}

const ControllerReport& ProcessHost::controllers() const {
  return impl_->world.controllers;
}

bool ProcessHost::watches_limits() const {
  return std::ranges::any_of(impl_->instances, [](const auto& entry) {
    return !entry.second.gone && watches(entry.second.child->limits().states());
  });
}

std::map<InstanceId, Excess> ProcessHost::over_limits() const {
  std::map<InstanceId, Excess> over;
  for (const auto& [id, instance] : impl_->instances) {
    const auto excess = instance.gone ? std::nullopt : instance.child->over_limit();
    if (excess) over.emplace(id, *excess);
  }
  return over;
}

bool ProcessHost::owns(InstanceId instance, int pid) const {
  const Child* child = impl_->child_of(instance);
  return child && pid > 0 && child->tree().contains(pid);
}

bool ProcessHost::has_lost(InstanceId instance, int pid) const {
  const Child* child = impl_->child_of(instance);
  return child && pid > 0 && child->tree().has_lost(pid);
}

std::optional<InstanceId> ProcessHost::instance_of(int pid) const {
  if (pid <= 0) return std::nullopt;
  const ChildWorld& world = impl_->world;
  const auto group = world.group_of(pid);
  const ProcessTree* tree = !group && world.tokens ? world.tokens->tree_of(pid) : nullptr;
  if (!group && !tree) return std::nullopt;
  for (const auto& [id, instance] : impl_->instances) {
    if (instance.gone) continue;
    if (tree ? &instance.child->tree() == tree : instance.child->group() == *group) return id;
  }
  return std::nullopt;  // one of a command, say
}

std::vector<int> ProcessHost::pids_of(InstanceId instance) const {
  const Child* child = impl_->child_of(instance);
  return child ? child->tree().pids() : std::vector<int>();
}

std::optional<Nanos> ProcessHost::cpu_used(InstanceId instance) const {
  const Child* child = impl_->child_of(instance);
  return child ? std::optional(child->tree().cpu_used()) : std::nullopt;
}

std::optional<Usage> ProcessHost::usage(InstanceId instance) const {
  const Child* child = impl_->child_of(instance);
  return child ? std::optional(child->tree().usage()) : std::nullopt;
}

std::string ProcessHost::containment() const {
  return impl_->containment_text;
}

std::size_t ProcessHost::running() const {
  std::size_t count = 0;
  for (const auto& [id, instance] : impl_->instances) count += instance.gone ? 0 : 1;
  return count;
}

}  // namespace muster::supervisor
