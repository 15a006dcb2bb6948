// The control loop's heart: events in, one Planner step per loop turn, actions carried out. Everything that happens to
// replicas goes through here; nothing else decides. For the control thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "supervisor/clock_watch.h"
#include "supervisor/drift.h"
#include "supervisor/event_log.h"
#include "supervisor/instances.h"
#include "supervisor/load_meter.h"
#include "supervisor/log_pipes.h"
#include "supervisor/planner.h"
#include "supervisor/state_file.h"
#include "supervisor/status_json.h"
#include "supervisor/traffic.h"
#include "supervisor/uv_handles.h"

struct uv_loop_s;
struct uv_prepare_s;
struct uv_idle_s;

namespace muster::supervisor {

struct EngineConfig {
  PlannerOptions planner;
  InstancesConfig instances;
  LogsConfig logs;
  std::string state_path;
  std::optional<Instant> started = std::nullopt;  // of an earlier image
  // What processes are written down in for another daemon; null: nobody takes over.
  std::unique_ptr<ReplicaRecords> records = {};
  std::unique_ptr<VolumeKeeper> volumes = {};
  std::vector<ReplicaRecord> living = {};  // to be taken over, as the planner is told
  DaemonLife life = {};                    // of the daemon that they are of
  // Who holds the replicas' output when the daemon is killed; empty: nobody.
  std::function<std::unique_ptr<OutputKeeper>(OutputFifos&, std::function<void(std::string)> warn)>
      make_keeper = {};
};

struct EngineHooks {
  std::function<void(const LoggedEvent&)> on_event;
  std::function<void(const CommandDone&)> on_command_done;
  std::function<void(const ExitDaemon&)> on_exit;
  // Changes of these files are a reason to look_for_drift().
  std::function<void(std::vector<std::string>)> on_drift_files;
};

Now clock_now();

class Engine {
 public:
  // The loop must run once more after the destructor.
  static Result<std::unique_ptr<Engine>> create(uv_loop_s* loop, EngineConfig config,
                                                std::unique_ptr<Traffic> traffic, EngineHooks hooks);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Taken in the next step; there is one before the loop sleeps.
  void emit(Event event);
  // Steps now, until nothing is left to take; not inside an action.
  void turn();
  void note(Note note);
  void note(Severity severity, std::string kind, std::string text);  // about the daemon

  CommandId next_command() { return CommandId{next_command_++}; }
  [[nodiscard]] const World& world() const { return planner_.world(); }
  [[nodiscard]] const Planner& planner() const { return planner_; }
  [[nodiscard]] uv_loop_s* loop() const { return loop_; }
  [[nodiscard]] Instant started() const { return started_; }
  [[nodiscard]] const std::map<InstanceId, std::string>& upstream_failures() const {
    return upstream_failures_;
  }
  void upstream_failed(InstanceId instance, std::string text) {
    upstream_failures_[instance] = std::move(text);
  }
  // CPU since the last call (at least usage_window apart, else since the one before), memory now.
  std::map<InstanceId, UsageView> usage();
  // Who enforces the limits of each living process that has some.
  [[nodiscard]] std::map<InstanceId, LimitStates> limits() const;
  Traffic& traffic() { return *traffic_; }
  Instances& instances() { return *instances_; }
  VolumeKeeper& volumes() { return *config_.volumes; }
  Logs& logs() { return *logs_; }
  [[nodiscard]] const ReplicaOutput& output() const { return *output_; }
  EventLog& events() { return events_; }
  // What has changed under the living replicas; each finding is an event once.
  const std::vector<Drift>& look_for_drift();
  // Saves now: the file was taken away.
  void save_state() { saver_->save(planner_.persistent()); }
  // As StateSaver::when_written(): what was asked for and answered survives the daemon.
  void when_saved(std::function<void()> done) { saver_->when_written(std::move(done)); }
  void reopen_logs();
  // What is not on disk yet is written now.
  Status flush_state();
  // Writes the state file and stops the traffic threads: nothing happens after it.
  void finish(Millis grace);

 private:
  Engine(uv_loop_s* loop, EngineConfig config, EngineHooks hooks);
  void take_over();
  void open_output();
  void open_handles();
  bool due() const;
  void count_answers();
  void forget_retired();
  void meter();
  void meter_load();
  void measure_app(const AppWorld& app, Instant now, bool due, std::map<InstanceId, LoadMeter::Use>& uses);
  void meter_traffic();
  bool must_listen_first();
  void arm();
  void tell();
  void carry_out(const Spawn& action);
  void carry_out(const MarkReplica& action) { instances_->mark(action); }
  void carry_out(const SetLimits& action);
  void tell_limits(InstanceId id, const std::string& app);
  void look_at_limits();
  void carry_out(const Signal& action);
  void carry_out(const KillTree& action);
  void carry_out(const RunStopCommand& action);
  void carry_out(const RunProbe& action);
  void carry_out(const Publish& action);
  void carry_out(const WatchIdle& action);
  void carry_out(const Note& action);
  void carry_out(const CommandDone& action);
  void carry_out(const SaveState& action);
  void carry_out(const ExitDaemon& action);

  uv_loop_s* loop_;
  EngineConfig config_;
  EngineHooks hooks_;
  Planner planner_;
  EventLog events_;
  std::unique_ptr<ReplicaOutput> output_;
  std::unique_ptr<Logs> logs_;
  std::unique_ptr<Traffic> traffic_;
  std::unique_ptr<Instances> instances_;
  std::unique_ptr<StateSaver> saver_;
  std::vector<Event> inbox_;
  std::vector<Note>
      to_tell_;  // written once the actions beside them are done: a start does not wait for a log
  const Instant started_;
  bool listened_ = false;  // since the last turn
  bool in_turn_ = false;
  bool forgetting_ = false;  // records wait for the state to be on disk
  bool finished_ = false;
  std::uint64_t next_command_ = 1;
  std::map<InstanceId, std::string> upstream_failures_;
  struct CpuSample {
    Instant at;
    Nanos cpu{0};
    double percent = 0;
    Instant seen;
  };
  std::optional<UsageView> usage_of(const Tenant& tenant, Instant now);
  void add_usage(const AppWorld& app, Instant now, std::map<InstanceId, UsageView>& views);
  std::map<InstanceId, CpuSample> cpu_samples_;
  uv_prepare_s* prepare_ = nullptr;
  uv_idle_s* idle_ = nullptr;
  UvDeadline wakeup_;
  ClockWatch clock_;
  std::vector<Drift> drift_;
  UvTimer drift_look_;  // once those that have started are what they will be
  LoadMeter load_meter_;
  UvTimer load_tick_;                  // each second while an app is scaled by its load
  UvTimer limit_look_;                 // each second while limits are watched
  std::set<std::string> told_limits_;  // that the kernel does not enforce
  std::optional<Instant> next_load_;
  std::optional<Instant> next_count_;  // of answers, while a rollout is judged by them
};

}  // namespace muster::supervisor
