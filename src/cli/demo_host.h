// The daemon of `muster demo`: its folder, its ports, the child process, and what its status says.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "base/time.h"
#include "cli/demo_stack.h"

namespace muster::cli {

struct DemoReplica {
  std::string app;
  std::string id;
  std::string state;
  int pid = 0;  // 0: no process
  std::string reason;
};

struct DemoApp {
  std::string name;
  std::string state;
  std::int64_t revision = 0;
};

struct DemoStatus {
  std::int64_t spec_revision = 0;
  std::string spec_error;
  std::vector<DemoApp> apps;
  std::vector<DemoReplica> replicas;

  [[nodiscard]] const DemoReplica* find(const std::string& id) const;
  [[nodiscard]] const DemoApp* find_app(const std::string& name) const;
  [[nodiscard]] std::vector<std::pair<std::string, int>> pids_of(const std::string& app) const;  // id, pid
  // Every app is ready with as many replicas as the stack has, and no more.
  [[nodiscard]] bool all_ready() const;
  // A replica waits for a port that somebody else took after it was found free.
  [[nodiscard]] bool port_taken() const;
};

// Reads the body of GET /v1/status. Pure.
Result<DemoStatus> parse_demo_status(const std::string& body);

class DemoHost {
 public:
  // A fresh folder with the stack in it, ports that nobody uses; nothing runs yet.
  static Result<std::unique_ptr<DemoHost>> create(const std::vector<std::string>& environment);
  // Ends what still runs and removes the folder.
  ~DemoHost();
  DemoHost(const DemoHost&) = delete;
  DemoHost& operator=(const DemoHost&) = delete;

  Status start();  // `muster up` as a child
  // An error when the child has ended, or when the daemon does not answer (yet).
  Result<DemoStatus> status() const;
  [[nodiscard]] bool running() const;
  Status write_spec(const std::string& greeting) const;
  Status ask_to_stop() const;                 // POST /v1/down, not waited for
  std::optional<int> wait_end(Millis limit);  // exit code of the child; 128 + N for a signal
  [[nodiscard]] std::string log_tail() const;

  [[nodiscard]] const std::string& folder() const { return folder_; }
  [[nodiscard]] const DemoPorts& ports() const { return ports_; }
  [[nodiscard]] std::string volume(int ordinal) const;

 private:
  DemoHost() = default;
  void end_child();
  std::vector<std::string> environment_;
  std::string folder_;
  DemoPorts ports_;
  Fd claim_;  // a port of the block: another demo takes another block
  Fd pidfd_;
  int pid_ = 0;
  std::optional<int> exit_code_;
};

}  // namespace muster::cli
