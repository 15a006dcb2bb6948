#include "supervisor/token_tree.h"

#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <ctime>
#include <thread>

#include "supervisor/proc_scan.h"

namespace muster::supervisor {
namespace {

constexpr int rounds_per_turn = 3;
constexpr Millis delay_first{2};  // a killed process needs about that long to end
constexpr Millis delay_max{250};
constexpr Millis delay_watching{500};  // survivors that nobody has asked to kill yet
constexpr std::uint64_t recent_ms_max = 200;
constexpr unsigned clock_rounds_max =
    8;  // then everybody is looked at anew: a number may have got another process
constexpr std::size_t ancestors_max = 1000;
constexpr int leftover_rounds_max = 50;
constexpr Millis leftover_pause{20};

// `pid` and its parents, up to init.
std::vector<int> with_ancestors(int pid) {
  std::vector<int> line;
  for (auto process = read_process(pid); process && line.size() < ancestors_max;
       process = read_process(process->parent)) {
    line.push_back(process->pid);
  }
  return line;
}

bool is_leftover(int pid, std::uint64_t pid_namespace) {
  const Result<std::string> environ = read_environ(pid);
  if (!environ) return false;
  for (const std::string_view token : environ_items(environ.value(), instance_variable)) {
    const std::optional<TokenGiver> giver = decode_token_giver(token);
    if (!giver || !giver->end_with_daemon || giver->pid_namespace != pid_namespace) continue;
    const std::optional<ProcStat> living = read_process(giver->pid);
    if (living ? living->ended() || living->start_ticks != giver->start_ticks
               : ::kill(giver->pid, 0) != 0 && errno == ESRCH) {
      return true;
    }
  }
  return false;
}

// Their numbers alone.
std::optional<std::vector<int>> list_processes() {
  DIR* folder = opendir("/proc");
  if (!folder) return std::nullopt;
  std::vector<int> pids;
  while (const dirent* entry = readdir(folder)) {
    if (const auto pid = parse_number(entry->d_name)) pids.push_back(static_cast<int>(*pid));
  }
  closedir(folder);
  return pids;
}

// Of all threads that it has and had, at a tenth of the price of read_process(); none: it is gone.
std::optional<Nanos> processor_time(int pid) {
  // As clock_getcpuclockid(3) makes it, which would ask the kernel for each whether it is there.
  constexpr clockid_t all_threads = 2;
  const clockid_t clock = static_cast<clockid_t>(~static_cast<unsigned>(pid) << 3U) | all_threads;
  timespec time{};
  if (clock_gettime(clock, &time) != 0) return std::nullopt;
  return std::chrono::seconds(time.tv_sec) + Nanos(time.tv_nsec);
}

}  // namespace

void end_leftovers_by_token() {
  const std::uint64_t pid_namespace = own_pid_namespace();
  const std::vector<int> ours = with_ancestors(getpid());
  for (int i = 0; i < leftover_rounds_max; ++i) {
    std::vector<ProcStat> left = read_processes().value_or(std::vector<ProcStat>());
    std::erase_if(left, [&](const ProcStat& process) {
      return process.ended() || std::find(ours.begin(), ours.end(), process.pid) != ours.end() ||
             !is_leftover(process.pid, pid_namespace);
    });
    for (const ProcStat& process : left) signal_process(process, SIGSTOP);
    bool killed = false;
    for (const ProcStat& process : left) killed = signal_process(process, SIGKILL) || killed;
    if (!killed) return;
    std::this_thread::sleep_for(leftover_pause);
  }
}

void end_tokens(const std::string& giver, const std::set<std::string>& kept) {
  const std::vector<int> ours = with_ancestors(getpid());
  const std::string prefix = giver + "-";
  const auto is_of = [&](const ProcStat& process) {
    const Result<std::string> environ = read_environ(process.pid);
    if (!environ) return false;
    const auto tokens = environ_items(environ.value(), instance_variable);
    return std::ranges::any_of(tokens,
                               [&](std::string_view token) {
                                 return token.starts_with(prefix) && !kept.contains(std::string(token));
                               }) &&
           std::ranges::none_of(tokens,
                                [&](std::string_view token) { return kept.contains(std::string(token)); });
  };
  for (const ProcStat& process : read_processes().value_or(std::vector<ProcStat>())) {
    if (!process.ended() && std::ranges::find(ours, process.pid) == ours.end() && is_of(process))
      static_cast<void>(signal_process(process, SIGKILL));
  }
}

class TokenTree final : public ProcessTree {
 public:
  TokenTree(TokenScanner& scanner, std::string token, std::function<void()> on_empty)
      : scanner_(scanner), on_empty_(std::move(on_empty)) {
    mark_.token = std::move(token);
  }
  ~TokenTree() override { scanner_.remove(this); }

  [[nodiscard]] std::string cgroup_folder() const override { return {}; }

  void began(int pid) override {
    mark_.main_pid = pid;
    // Not reaped yet, so it is there.
    if (const auto process = read_process(pid)) mark_.main_start_ticks = process->start_ticks;
  }

  void adopted(int pid, std::uint64_t start_ticks) {
    mark_.main_pid = pid;
    mark_.main_start_ticks = start_ticks;
  }

  void kill() override {
    killing_ = true;
    scanner_.soon();
  }

  bool main_ended() override {
    main_ended_ = true;
    scanner_.soon();
    return false;
  }

  [[nodiscard]] bool contains(int pid) const override {
    const std::vector<int> all = pids();
    return std::find(all.begin(), all.end(), pid) != all.end();
  }

  [[nodiscard]] bool has_lost(int pid) const override {
    const std::optional<ProcStat> process = read_process(pid);
    return process && !process->ended() && read_environ(pid).ok() && !contains(pid);
  }

  [[nodiscard]] std::vector<int> pids() const override {
    std::vector<int> pids;
    for (const ProcStat& process : scanner_.members(scanner_.look(), this)) pids.push_back(process.pid);
    return pids;
  }

  [[nodiscard]] Usage usage() const override {
    Usage usage;
    usage.memory_over_counts = true;
    const auto tick = Nanos(std::chrono::seconds(1)) / std::max(1L, sysconf(_SC_CLK_TCK));
    const auto page = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
    const TokenScanner::Sums sums = scanner_.recent_sums(this);
    usage.cpu = tick * static_cast<std::int64_t>(sums.cpu_ticks);
    usage.memory_bytes = page * sums.resident_pages;
    return usage;
  }

  [[nodiscard]] Nanos cpu_used() const override { return scanner_.recent_cpu(this); }

  [[nodiscard]] std::uint64_t tasks() const override { return scanner_.recent_sums(this).threads; }

  [[nodiscard]] Controllers controllers() const override { return {}; }
  [[nodiscard]] Oom oom() const override { return {}; }

 private:
  friend class TokenScanner;
  TokenScanner& scanner_;
  std::function<void()> on_empty_;
  TreeMark mark_;
  bool killing_ = false;
  bool main_ended_ = false;
  bool gone_ = false;
};

TokenScanner::TokenScanner(uv_loop_t* loop) : loop_(loop), timer_(loop, [this] { run(); }) {
  world_.host_pid = getpid();
  if (const auto self = read_process(world_.host_pid)) world_.host_start_ticks = self->start_ticks;
  world_.environ_of = [this](int pid) {
    Result<std::string> environ = read_environ(pid);
    if (environ && environ.value().empty()) blank_.insert(pid);
    if (environ) return std::move(environ).value();
    if (is_shortage(environ.error().errno_value)) environs_complete_ = false;
    return std::string();  // not ours to read, or it has just ended
  };
}

std::unique_ptr<ProcessTree> TokenScanner::make_tree(const std::string& token,
                                                     std::function<void()> on_empty) {
  auto tree = std::make_unique<TokenTree>(*this, token, std::move(on_empty));
  trees_.push_back(tree.get());
  return tree;
}

std::unique_ptr<ProcessTree> TokenScanner::adopt_tree(const std::string& token, int pid,
                                                      std::uint64_t start_ticks,
                                                      std::function<void()> on_empty) {
  world_.host_start_ticks = 0;  // its processes are older than we are
  auto tree = std::make_unique<TokenTree>(*this, token, std::move(on_empty));
  tree->adopted(pid, start_ticks);
  trees_.push_back(tree.get());
  return tree;
}

const ProcessTree* TokenScanner::tree_of(int pid) const {
  const Snapshot snapshot = look();
  for (std::size_t i = 0; i < snapshot.processes.size(); ++i) {
    const ProcStat& process = snapshot.processes[i];
    if (process.pid != pid || process.ended() || snapshot.trees[i] < 0) continue;
    return trees_[static_cast<std::size_t>(snapshot.trees[i])];
  }
  return nullptr;
}

void TokenScanner::remove(TokenTree* tree) {
  std::erase(trees_, tree);
  recent_.erase(tree);
  cpu_.erase(tree);
  std::erase_if(known_, [tree](const auto& entry) { return entry.second.tree == tree; });
}

std::vector<TreeMark> TokenScanner::marks() const {
  std::vector<TreeMark> marks;
  marks.reserve(trees_.size());
  for (const TokenTree* tree : trees_) marks.push_back(tree->mark_);
  return marks;
}

TokenScanner::Snapshot TokenScanner::look() const {
  Snapshot snapshot;
  auto processes = read_processes();
  environs_complete_ = processes.has_value();
  blank_.clear();
  if (processes) snapshot.processes = std::move(*processes);
  snapshot.trees = assign_to_trees(snapshot.processes, marks(), world_);
  const bool undecided = undecided_.any(snapshot.processes, snapshot.trees, blank_, world_, uv_now(loop_));
  snapshot.complete = environs_complete_ && !undecided;
  return snapshot;
}

TokenScanner::Sums TokenScanner::recent_sums(const TokenTree* tree) const {
  const std::uint64_t now = uv_now(loop_);
  if (!recent_at_ms_ || now - *recent_at_ms_ > recent_ms_max) {
    recent_.clear();
    recent_at_ms_ = now;
    const Snapshot snapshot = look();
    for (std::size_t i = 0; i < snapshot.processes.size(); ++i) {
      const ProcStat& process = snapshot.processes[i];
      if (snapshot.trees[i] < 0 || process.ended()) continue;
      Sums& sums = recent_[trees_[static_cast<std::size_t>(snapshot.trees[i])]];
      sums.cpu_ticks += process.cpu_ticks;
      sums.resident_pages += process.resident_pages;
      sums.threads += process.threads;
    }
  }
  const auto found = recent_.find(tree);
  return found == recent_.end() ? Sums{} : found->second;
}

Nanos TokenScanner::recent_cpu(const TokenTree* tree) const {
  const std::uint64_t now = uv_now(loop_);
  if (!cpu_at_ms_ || now - *cpu_at_ms_ > recent_ms_max) {
    cpu_at_ms_ = now;
    read_clocks();
  }
  const auto found = cpu_.find(tree);
  return found == cpu_.end() ? Nanos{0} : found->second;
}

// Only who is new since the last time is looked at: nobody changes the tree.
void TokenScanner::read_clocks() const {
  cpu_.clear();
  if (++clock_rounds_ % clock_rounds_max == 0) known_.clear();
  std::vector<ProcStat> processes;
  for (const int pid : list_processes().value_or(std::vector<int>())) {
    const auto known = known_.find(pid);
    const auto process = known == known_.end() ? read_process(pid) : std::optional(known->second.process);
    if (process && !process->ended()) processes.push_back(*process);
  }
  MarkedWorld world = world_;
  world.environ_of = [this](int pid) {
    const auto known = known_.find(pid);
    if (known == known_.end()) return world_.environ_of(pid);
    return known->second.tree == nullptr
               ? std::string()
               : std::string(instance_variable) + "=" + known->second.tree->mark_.token;
  };
  blank_.clear();
  const std::vector<int> trees = assign_to_trees(processes, marks(), world);
  std::unordered_map<int, Known> now_known;
  for (std::size_t i = 0; i < processes.size(); ++i) {
    const int pid = processes[i].pid;
    Known one{.process = processes[i],
              .tree = trees[i] < 0 ? nullptr : trees_[static_cast<std::size_t>(trees[i])],
              .cpu = Nanos{0}};
    if (one.tree != nullptr) {
      const auto before = known_.find(pid);
      const auto cpu = processor_time(pid);
      if (!cpu || (before != known_.end() && *cpu < before->second.cpu)) continue;  // another one by now
      one.cpu = *cpu;
      cpu_[one.tree] += *cpu;
    }
    if (!blank_.contains(pid)) now_known.emplace(pid, one);
  }
  known_ = std::move(now_known);
}

std::vector<ProcStat> TokenScanner::members(const Snapshot& snapshot, const TokenTree* tree) const {
  std::vector<ProcStat> members;
  const auto index = static_cast<int>(std::find(trees_.begin(), trees_.end(), tree) - trees_.begin());
  for (std::size_t i = 0; i < snapshot.processes.size(); ++i) {
    if (snapshot.trees[i] == index && !snapshot.processes[i].ended())
      members.push_back(snapshot.processes[i]);
  }
  return members;
}

// Exits of one turn share the next walk.
void TokenScanner::soon() {
  delay_ = Millis(0);
  timer_.start(delay_);
}

bool TokenScanner::round(std::vector<TokenTree*>& emptied) {
  const Snapshot snapshot = look();
  sure_ = snapshot.complete;
  bool killed = false;
  for (TokenTree* tree : trees_) {
    if (tree->gone_ || !(tree->killing_ || tree->main_ended_)) continue;
    const std::vector<ProcStat> left = members(snapshot, tree);
    if (left.empty() && tree->main_ended_ && snapshot.complete) {
      tree->gone_ = true;
      emptied.push_back(tree);
    }
    if (!tree->killing_) continue;
    // Stopped ones fork no more while their kin are being killed.
    for (const ProcStat& process : left) signal_process(process, SIGSTOP);
    for (const ProcStat& process : left) killed = signal_process(process, SIGKILL) || killed;
  }
  return killed;
}

void TokenScanner::run() {
  std::vector<TokenTree*> emptied;
  for (int i = 0; i < rounds_per_turn; ++i) {
    if (!round(emptied)) break;
  }
  const auto waits = [](const TokenTree* tree) {
    return !tree->gone_ && (tree->killing_ || tree->main_ended_);
  };
  const auto kills = [](const TokenTree* tree) { return !tree->gone_ && tree->killing_; };
  const bool looks_again = !sure_ && std::any_of(trees_.begin(), trees_.end(), waits);
  if (looks_again || std::any_of(trees_.begin(), trees_.end(), kills)) {
    delay_ = std::clamp(delay_ * 2, delay_first, delay_max);
    timer_.start(delay_);
  } else if (std::any_of(trees_.begin(), trees_.end(), waits)) {
    timer_.start(delay_watching);
  }
  for (TokenTree* tree : emptied) tree->on_empty_();
}

}  // namespace muster::supervisor
