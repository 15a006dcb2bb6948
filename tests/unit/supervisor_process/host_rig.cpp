#include "host_rig.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "supervisor/proc_files.h"
#include "supervisor/proc_scan.h"
#include "supervisor/volume_lock.h"

namespace muster::supervisor {
namespace {

constexpr std::chrono::seconds deadline{20};

void drain(Fd& pipe, std::string& into) {
  char piece[4096];
  while (pipe.valid()) {
    const ssize_t got = read(pipe.get(), piece, sizeof piece);
    if (got == 0) pipe.reset();
    if (got <= 0) return;
    into.append(piece, static_cast<std::size_t>(got));
  }
}

}  // namespace

std::string built_small_shim() {
#ifdef MUSTER_SMALL_SHIM
  return MUSTER_SMALL_SHIM;
#else
  return {};
#endif
}

bool Seen::has(const std::string& what) const {
  return std::find(order.begin(), order.end(), what) != order.end();
}

HostRig::HostRig(ProcessHostOptions options) {
  uv_loop_init(&loop_);
  if (!options.shim) options.shim = shim;
  ProcessHooks hooks;
  hooks.on_started = [this](InstanceId id, int pid) {
    seen_[id].pid = pid;
    note(id, "started");
  };
  hooks.on_spawn_failed = [this](InstanceId id, SpawnFailure kind, std::string sentence) {
    seen_[id].failure = kind;
    seen_[id].sentence = std::move(sentence);
    note(id, "failed");
  };
  hooks.on_exited = [this](InstanceId id, ExitStatus status) {
    seen_[id].status = status;
    note(id, "exited");
  };
  hooks.on_frozen = [this](InstanceId id, int number) { note(id, "frozen by " + std::to_string(number)); };
  hooks.on_thawed = [this](InstanceId id) { note(id, "thawed"); };
  hooks.on_tree_gone = [this](InstanceId id) { note(id, "gone"); };
  host_ = std::make_unique<ProcessHost>(&loop_, std::move(options), std::move(hooks));
}

void HostRig::note(InstanceId id, const std::string& what) {
  seen_[id].order.push_back(what);
  if (on_hook) on_hook(id, what);
}

void HostRig::close_host() {
  host_.reset();
  uv_run(&loop_, UV_RUN_DEFAULT);
}

HostRig::~HostRig() {
  on_hook = nullptr;
  for (const auto& [id, seen] : seen_) host_ ? host_->kill_tree(id) : void();
  if (host_) until([this] { return host_->running() == 0; });
  close_host();
  if (uv_loop_close(&loop_) != 0) std::abort();
}

InstanceId HostRig::start(const ProcessOrder& order) {
  const InstanceId id{next_++};
  ProcessPipes pipes = host_->start(id, ReplicaId{"app", 0}, order);
  seen_[id].out_pipe = std::move(pipes.out);
  seen_[id].err_pipe = std::move(pipes.err);
  return id;
}

void HostRig::read_pipes() {
  for (auto& [id, seen] : seen_) {
    drain(seen.out_pipe, seen.out);
    drain(seen.err_pipe, seen.err);
  }
}

bool HostRig::until(const std::function<bool()>& so) {
  // The tick bounds a turn of the loop; it is no wait for anything.
  uv_timer_t tick;
  uv_timer_init(&loop_, &tick);
  uv_timer_start(
      &tick, [](uv_timer_t*) {}, 20, 20);
  const auto end = std::chrono::steady_clock::now() + deadline;
  bool reached = false;
  while (!(reached = so()) && std::chrono::steady_clock::now() < end) {
    uv_run(&loop_, UV_RUN_ONCE);
    read_pipes();
  }
  uv_close(reinterpret_cast<uv_handle_t*>(&tick), nullptr);
  uv_run(&loop_, UV_RUN_NOWAIT);
  return reached;
}

bool HostRig::until(InstanceId id, const std::string& what) {
  return until([&] { return seen_[id].has(what); });
}

Seen& HostRig::run(const ProcessOrder& order) {
  const InstanceId id = start(order);
  until([&] { return seen_[id].has("gone") || seen_[id].has("failed"); });
  read_pipes();
  return seen_[id];
}

std::string HostRig::shell(const std::string& program) {
  return run(shell_order(program)).out;
}

CommandResult HostRig::command(InstanceId id, const ProcessOrder& order, Millis timeout) {
  std::optional<CommandResult> result;
  host_->run_command(id, order, timeout, [&](CommandResult got) { result = std::move(got); });
  until([&] { return result.has_value(); });
  if (!result) {
    host_->cancel_commands(id);
    return {};
  }
  return *result;
}

ProcessOrder order_of(std::vector<std::string> argv) {
  ProcessOrder order;
  order.argv = std::move(argv);
  order.environment = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"};
  order.dir = "/";
  return order;
}

ProcessOrder shell_order(const std::string& script) {
  return order_of({"/bin/sh", "-c", script});
}

bool alive(int pid) {
  const auto process = read_process(pid);
  return process && !process->ended();
}

std::string text_of(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

ProcessHostOptions by_shim(std::string path) {
  ProcessHostOptions options;
  options.shim = std::move(path);
  return options;
}

ProcessHostOptions by_token() {
  ProcessHostOptions options;
  options.cgroup_parent = "";
  return options;
}

bool cgroups_possible() {
  const HostRig rig;
  return const_cast<HostRig&>(rig).host().containment() == "cgroup";
}

std::vector<int> own_zombies() {
  std::vector<int> zombies;
  for (const ProcStat& process : read_processes().value_or(std::vector<ProcStat>())) {
    if (process.parent == getpid() && process.ended()) zombies.push_back(process.pid);
  }
  return zombies;
}

std::size_t open_descriptors() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++count;
  return count;
}

Victim::Victim(const std::string& kind, const std::string& script, std::size_t numbers, const char* user,
               const std::string& folder) {
  std::array<int, 2> ends{};
  if (pipe(ends.data()) != 0) std::abort();
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  pid = fork();
  if (pid == 0) {
    dup2(ends[1], STDOUT_FILENO);
    execl(self.c_str(), self.c_str(), victim_flag, kind.c_str(), script.c_str(), user, folder.c_str(),
          nullptr);
    _exit(127);
  }
  close(ends[1]);
  const Fd out(ends[0]);
  std::string text;
  std::array<char, 256> piece{};
  while (parse_pids(text).size() < numbers || !text.ends_with('\n')) {
    const ssize_t got = read(out.get(), piece.data(), piece.size());
    if (got <= 0) break;
    text.append(piece.data(), static_cast<std::size_t>(got));
  }
  printed = parse_pids(text);
}

void Victim::kill_it() const {
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
}

bool dies(int pid) {
  const auto end = std::chrono::steady_clock::now() + deadline;
  while (alive(pid) && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(Millis(5));
  return !alive(pid);
}

int victim_main(const std::string& kind, const std::string& script, const std::string& user,
                const std::string& folder) {
  HostRig rig(kind == "token" ? by_token() : ProcessHostOptions{});
  ProcessOrder order = shell_order(script);
  order.user = user;
  Fd lock;
  if (!folder.empty()) {
    const Fd opened(open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    lock = lock_volume(opened.get(), "data").value();
    order.kept = {lock.get()};
  }
  const InstanceId id = rig.start(order);
  std::size_t printed = 0;
  for (;;) {
    rig.until([&] { return rig.seen(id).out.size() > printed; });
    const std::string& out = rig.seen(id).out;
    if (write(STDOUT_FILENO, out.data() + printed, out.size() - printed) < 0) return 1;
    printed = out.size();
  }
}

int without_main(int capability, const std::string& user, const std::string& group) {
  if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) return 1;
  HostRig rig(by_token());
  ProcessOrder order = order_of({"id"});
  order.user = user;
  order.group = group;
  const Seen& seen = rig.run(order);
  const std::string text = seen.sentence + "\n" + seen.out;
  return write(STDOUT_FILENO, text.data(), text.size()) < 0 ? 1 : 0;
}

}  // namespace muster::supervisor
