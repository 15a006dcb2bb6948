// What a look at the usage of many replicas costs the control thread, in processor time: once with a control group for each,
// once by marks in /proc. Prints the lowest and the median of all rounds.
//
//   usage [REPLICAS [PROCESSES_OF_EACH [ROUNDS]]]      200 5 20
#include <uv.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "fmt/core.h"
#include "supervisor/exec_shim.h"
#include "supervisor/process_host.h"

namespace {

using namespace muster;
using namespace muster::supervisor;

constexpr std::chrono::seconds start_max{120};
constexpr Millis between_rounds{250};  // what is younger is told again, without a look

double used_ms() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_nsec) / 1e6;
}

class Bench {
 public:
  Bench(bool by_group, int replicas, int processes) : replicas_(replicas), processes_(processes) {
    uv_loop_init(&loop_);
    ProcessHostOptions options;
    options.shim = "";
    if (!by_group) options.cgroup_parent = "";
    ProcessHooks hooks;
    hooks.on_started = [this](InstanceId, int) { ++started_; };
    hooks.on_spawn_failed = [](InstanceId, SpawnFailure, const std::string& sentence) {
      fmt::print(stderr, "usage: {}\n", sentence);
      std::exit(1);
    };
    hooks.on_exited = [](InstanceId, ExitStatus) {};
    hooks.on_frozen = [](InstanceId, int) {};
    hooks.on_thawed = [](InstanceId) {};
    hooks.on_tree_gone = [](InstanceId) {};
    host_ = std::make_unique<ProcessHost>(&loop_, std::move(options), std::move(hooks));
  }
  ~Bench() {
    for (const InstanceId id : ids_) host_->kill_tree(id);
    until([this] { return host_->running() == 0; });
    host_.reset();
    uv_run(&loop_, UV_RUN_DEFAULT);
    uv_loop_close(&loop_);
  }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  [[nodiscard]] std::string containment() const { return host_->containment(); }

  bool start() {
    std::string script;
    for (int i = 1; i < processes_; ++i) script += "sleep 1000 & ";
    script += "exec sleep 1000";
    ProcessOrder order;
    order.argv = {"/bin/sh", "-c", script};
    order.environment = {"PATH=/usr/bin:/bin"};
    order.dir = "/";
    for (int i = 0; i < replicas_; ++i) {
      ids_.push_back(InstanceId{static_cast<std::uint64_t>(i) + 1});
      pipes_.push_back(host_->start(ids_.back(), ReplicaId{"app", i}, order));
    }
    return until([this] { return started_ == replicas_; }) && until([this] {
             return std::ranges::all_of(ids_, [this](InstanceId id) {
               return host_->pids_of(id).size() == static_cast<std::size_t>(processes_);
             });
           });
  }

  void measure(const char* what, int rounds, const std::function<void(InstanceId)>& look) {
    std::vector<double> all;
    for (int round = 0; round < rounds; ++round) {
      std::this_thread::sleep_for(between_rounds);
      uv_update_time(&loop_);
      const double begin = used_ms();
      for (const InstanceId id : ids_) look(id);
      all.push_back(used_ms() - begin);
    }
    std::ranges::sort(all);
    fmt::print("{:<28} {:7.2f} ms lowest {:7.2f} ms median\n", what, all.front(), all[all.size() / 2]);
    std::fflush(stdout);
  }

  ProcessHost& host() { return *host_; }

 private:
  bool until(const std::function<bool()>& so) {
    const auto deadline = std::chrono::steady_clock::now() + start_max;
    while (!so()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      uv_run(&loop_, UV_RUN_NOWAIT);
      std::this_thread::sleep_for(Millis{10});
    }
    return true;
  }

  uv_loop_t loop_{};
  std::unique_ptr<ProcessHost> host_;
  std::vector<InstanceId> ids_;
  std::vector<ProcessPipes> pipes_;
  int replicas_;
  int processes_;
  int started_ = 0;
};

bool run(bool by_group, int replicas, int processes, int rounds) {
  Bench bench(by_group, replicas, processes);
  fmt::print("-- {} replicas of {} processes, {}\n", replicas, processes, bench.containment());
  if (!bench.start()) {
    fmt::print(stderr, "usage: not all have started\n");
    return false;
  }
  double sum = 0;  // so that nothing is left out
  bench.measure("processor time of all", rounds, [&](InstanceId id) {
    sum += std::chrono::duration<double>(bench.host().cpu_used(id).value_or(Nanos{0})).count();
  });
  bench.measure("processor time and memory", rounds, [&](InstanceId id) {
    sum += static_cast<double>(bench.host().usage(id).value_or(Usage{}).memory_bytes);
  });
  if (sum <= 0) fmt::print(stderr, "usage: nothing was measured\n");
  return sum > 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], exec_shim_flag) == 0) return exec_shim_main(argc, argv);
  const auto number = [&](int at, int otherwise) {
    return argc > at ? std::max(1, std::atoi(argv[at])) : otherwise;
  };
  const int replicas = number(1, 200);
  const int processes = number(2, 5);
  const int rounds = number(3, 20);
  const bool by_group = run(true, replicas, processes, rounds);
  return run(false, replicas, processes, rounds) && by_group ? 0 : 1;
}
