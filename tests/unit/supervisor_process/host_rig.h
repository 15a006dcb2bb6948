// A process host on a loop of its own, driven until something named has happened or a deadline is over.
#pragma once

#include <uv.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "supervisor/process_host.h"

namespace muster::supervisor {

struct Seen {  // of one instance, in order: "started", "failed", "exited", "gone"
  std::vector<std::string> order;
  int pid = 0;
  ExitStatus status;
  SpawnFailure failure{};
  std::string sentence;
  std::string out;  // what its pipes gave so far
  std::string err;
  Fd out_pipe;
  Fd err_pipe;
  [[nodiscard]] bool has(const std::string& what) const;
};

class HostRig {
 public:
  explicit HostRig(ProcessHostOptions options = {});
  static inline std::string shim;  // of hosts whose options name none: "" = this program itself
  ~HostRig();
  HostRig(const HostRig&) = delete;
  HostRig& operator=(const HostRig&) = delete;

  ProcessHost& host() { return *host_; }
  InstanceId start(const ProcessOrder& order);
  Seen& seen(InstanceId id) { return seen_[id]; }
  // Runs the loop until it is so. False: not within 20 s.
  bool until(const std::function<bool()>& so);
  bool until(InstanceId id, const std::string& what);
  // Starts it and waits for its end; its output is complete then.
  Seen& run(const ProcessOrder& order);
  // Runs `program` by /bin/sh to its end and returns what it wrote to stdout.
  std::string shell(const std::string& program);
  CommandResult command(InstanceId id, const ProcessOrder& order, Millis timeout = Millis(20000));
  void read_pipes();
  // Called inside of each hook, after it was noted.
  std::function<void(InstanceId, const std::string& what)> on_hook;
  void close_host();  // and lets libuv close what it held
  uv_loop_t* loop() { return &loop_; }

 private:
  void note(InstanceId id, const std::string& what);
  uv_loop_t loop_{};
  std::unique_ptr<ProcessHost> host_;
  std::map<InstanceId, Seen> seen_;
  std::uint64_t next_ = 1;
};

// The small shim of this build; "" where there is none.
std::string built_small_shim();

ProcessOrder order_of(std::vector<std::string> argv);
ProcessOrder shell_order(const std::string& script);  // /bin/sh -c, a clean environment with a PATH
bool alive(int pid);                                  // exists and is no zombie
std::string text_of(const std::string& path);
ProcessHostOptions by_token();  // no cgroup
ProcessHostOptions by_shim(std::string path);
bool cgroups_possible();
std::vector<int> own_zombies();
std::size_t open_descriptors();

// A process that hosts one replica until it is killed: `--victim cgroup|token SCRIPT [USER [FOLDER]]`. Prints what the script prints; holds the volume
// FOLDER/data.
inline constexpr char victim_flag[] = "--victim";
int victim_main(const std::string& kind, const std::string& script, const std::string& user,
                const std::string& folder);

// A process without that capability(7), also for what it starts, that starts `id` as the user and group:
// `--without NUMBER USER GROUP`. Prints the failure and what `id` said.
inline constexpr char without_flag[] = "--without";
int without_main(int capability, const std::string& user, const std::string& group);

// A victim, and the numbers that its replica printed.
struct Victim {
  Victim(const std::string& kind, const std::string& script, std::size_t numbers, const char* user = "",
         const std::string& folder = "");
  void kill_it() const;
  pid_t pid = 0;
  std::vector<int> printed;
};
bool dies(int pid);  // within 20 s

}  // namespace muster::supervisor
