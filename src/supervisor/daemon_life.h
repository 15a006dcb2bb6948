// One running daemon: what is around the engine. Built step by step in start(), which is daemon.cpp; run() blocks until the
// end; daemon_upgrade.cpp makes it the next image.
#pragma once

#include <uv.h>

#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "supervisor/control_api.h"
#include "supervisor/control_server.h"
#include "supervisor/daemon.h"
#include "supervisor/daemon_watches.h"
#include "supervisor/engine.h"
#include "supervisor/replica_output.h"
#include "supervisor/sd_notify.h"
#include "supervisor/spec_source.h"
#include "supervisor/upgrade.h"

namespace muster::supervisor {

class Daemon {
 public:
  explicit Daemon(DaemonOptions options)
      : options_(std::move(options)),
        sd_(SdNotify::from_environment()),
        source_(options_.spec_path, options_.mode, options_.environment, options_.only_apps,
                options_.run_dir) {}
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;
  ~Daemon();

  Status start();
  int run();

 private:
  Status read_first(bool certificates);
  Status open_spec();
  Result<std::vector<std::string>> open_records(EngineConfig& config);
  void open_volumes(EngineConfig& config, std::vector<std::string>& warnings);
  Status open_as_first_image();
  Status open_as_next_image();
  Result<std::unique_ptr<Traffic>> open_traffic(std::optional<lb::Handover> handover);
  Status open_engine(std::unique_ptr<Traffic> traffic, std::set<InstanceId> served);
  std::unique_ptr<OutputKeeper> make_keeper(OutputFifos& fifos, std::function<void(std::string)> warn);
  Status open_control();
  void open_signals();
  void open_watches();
  void on_signal(int number);
  Status reload(const ReloadRequest& request = {});
  Status use(const std::shared_ptr<const spec::Spec>& spec, std::optional<CommandId> command,
             bool retry = false);
  [[nodiscard]] std::string state_path() const { return options_.state_dir + "/state.json"; }
  void hang_up();
  void shut_down(const std::string& why, bool at_once);
  void on_event(const LoggedEvent& event);
  void on_exit(const ExitDaemon& exit);
  void start_watchdog();
  void check_socket();
  void check_own_file(const std::string& path);
  void close_all();
  void open_upgrade();
  [[nodiscard]] DaemonHandover own_handover(const UpgradeRequest& request) const;
  [[nodiscard]] Result<HandoverQuestion> write_question() const;
  Status open_listeners_of_file();
  [[nodiscard]] Status may_upgrade() const;
  void upgrade(UpgradeRequest request, const std::function<void(const Error&)>& failed);
  Error become_next(const UpgradeRequest& request, Instant paused_since, const lb::Handover& traffic);
  void tell_upgraded();
  static void allow_signals();

  DaemonOptions options_;
  SdNotify sd_;
  SpecSource source_;
  std::vector<std::pair<std::string, Fd>> systemd_fds_;
  std::set<InstanceId> stored_output_;  // what the service manager kept of it
  Fd lock_;
  std::optional<std::uint64_t> files_soft_;  // the limit of descriptors that muster was started with
  std::vector<Fd> group_locks_;              // that the image before held: of groups whose processes live on
  ReadSpec first_;
  std::shared_ptr<const spec::Spec> spec_;
  uv_loop_t loop_{};
  bool loop_open_ = false;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<ControlApi> api_;
  std::unique_ptr<ControlServer> control_;
  std::unique_ptr<DaemonWatches> watches_;
  std::vector<uv_signal_t*> signals_;
  uv_timer_t* extend_timer_ = nullptr;
  uv_timer_t* watchdog_timer_ = nullptr;
  FollowId follower_{};
  int end_signal_ = 0;  // `up`: the exit code says which
  bool shutting_down_ = false;
  std::unique_ptr<Upgrade> upgrade_;
  std::string handed_;               // what the image before has kept and closed
  std::string last_upgrade_ = "{}";  // the body of GET /v1/upgrade
  std::optional<int> exit_code_;
};

}  // namespace muster::supervisor
