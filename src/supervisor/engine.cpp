#include "supervisor/engine.h"

#include <uv.h>

#include <algorithm>

#include "base/check.h"
#include "base/late.h"
#include "fmt/core.h"
#include "supervisor/proc_scan.h"

namespace muster::supervisor {

namespace {
constexpr int rounds_max = 64;  // steps per loop turn: actions that answer at once must not starve the loop
constexpr std::chrono::milliseconds usage_window{500};
constexpr std::chrono::milliseconds load_tick_every{1000};
constexpr std::chrono::milliseconds limit_look_every{1000};
constexpr int replicas_weighed = 4;
constexpr std::size_t told_limits_max = 4096;
constexpr std::chrono::milliseconds drift_look_after{
    700};                                              // a start; a shell script has become the app by then
constexpr std::chrono::milliseconds count_every{250};  // answers, while a rollout is judged by them

template <typename Handle>
void close_handle(Handle*& handle) {
  if (handle == nullptr) return;
  handle->data = nullptr;
  uv_close(reinterpret_cast<uv_handle_t*>(handle),
           [](uv_handle_t* closed) { delete reinterpret_cast<Handle*>(closed); });
  handle = nullptr;
}
}  // namespace

Now clock_now() {
  return Now{.mono = std::chrono::steady_clock::now(), .wall = std::chrono::system_clock::now()};
}

Engine::Engine(uv_loop_s* loop, EngineConfig config, EngineHooks hooks)
    : loop_(loop),
      config_(std::move(config)),
      hooks_(std::move(hooks)),
      planner_(config_.planner),
      started_(config_.started.value_or(clock_now().mono)),
      drift_look_(loop,
                  [this] {
                    if (!finished_) look_for_drift();
                  }),
      load_tick_(loop,
                 [this] {
                   if (!finished_) meter();
                 }),
      limit_look_(loop, [this] {
        if (!finished_) look_at_limits();
      }) {}

Result<std::unique_ptr<Engine>> Engine::create(uv_loop_s* loop, EngineConfig config,
                                               std::unique_ptr<Traffic> traffic, EngineHooks hooks) {
  std::unique_ptr<Engine> engine(new Engine(loop, std::move(config), std::move(hooks)));
  Engine* self = engine.get();
  self->traffic_ = std::move(traffic);
  self->open_output();
  self->logs_ = std::make_unique<Logs>(
      loop, self->config_.logs,
      LogsHooks{.on_match =
                    [self](InstanceId id) {
                      self->emit(LogMatched{.instance = id, .kind = health::ProbeKind::readiness});
                    },
                .on_note = [self](Note note) { self->note(std::move(note)); }});
  self->config_.instances.records = self->config_.records.get();
  self->config_.instances.volumes = self->config_.volumes.get();
  self->instances_ = std::make_unique<Instances>(loop, self->config_.instances, *self->logs_,
                                                 [self](Event event) { self->emit(std::move(event)); });
  self->take_over();
  self->saver_ =
      std::make_unique<StateSaver>(loop, self->config_.state_path, [self](const std::string& problem) {
        self->note(problem.empty() ? Severity::info : Severity::error, "state",
                   problem.empty() ? "the state file is written again" : problem);
      });
  if (Status opened = self->wakeup_.open(loop); !opened) return std::move(opened).error();
  if (Status opened = self->clock_.open(loop, [self] { self->emit(ClockSet{}); }); !opened)
    return std::move(opened).error();
  self->open_handles();
  return engine;
}

void Engine::take_over() {
  instances_->take_over(std::exchange(config_.living, {}), config_.life);
  if (!config_.records) return;
  if (const Status begun = config_.records->begin(instances_->host().life()); !begun)
    note(Severity::error, "state",
         "the replicas cannot be written down; while that is so, they stay as orphans when this daemon is "
         "killed: " +
             begun.error().message);
}

void Engine::open_output() {
  const auto warn = [this](const std::string& problem) { note(Severity::warning, "log", problem); };
  output_ = std::make_unique<ReplicaOutput>(config_.instances.run_dir, warn);
  config_.logs.journal = output_->journal_path();
  if (config_.make_keeper && !config_.logs.journal.empty())
    output_->set_keeper(config_.make_keeper(output_->fifos(), warn));
  config_.instances.output = output_.get();
}

void Engine::open_handles() {
  prepare_ = new uv_prepare_t{};
  idle_ = new uv_idle_t{};
  MUSTER_CHECK(uv_prepare_init(loop_, prepare_) == 0 && uv_idle_init(loop_, idle_) == 0);
  prepare_->data = idle_->data = this;
  uv_prepare_start(prepare_, [](uv_prepare_t* handle) { static_cast<Engine*>(handle->data)->turn(); });
}

Engine::~Engine() {
  close_handle(prepare_);
  close_handle(idle_);
}

void Engine::emit(Event event) {
  if (!finished_) inbox_.push_back(std::move(event));
}

bool Engine::due() const {
  const auto wakeup = planner_.next_wakeup();
  return wakeup && std::chrono::steady_clock::now() >= *wakeup;
}

// The daemon was stopped: what has come meanwhile is read before any deadline is judged.
bool Engine::must_listen_first() {
  const auto wakeup = planner_.next_wakeup();
  const bool late = wakeup && std::chrono::steady_clock::now() > *wakeup + late_look;
  if (!late || std::exchange(listened_, true)) return listened_ = false;
  uv_idle_start(idle_, [](uv_idle_t*) {});
  return true;
}

void Engine::turn() {
  if (in_turn_ || finished_ || must_listen_first()) return;
  in_turn_ = true;
  count_answers();
  for (int round = 0; round < rounds_max && (!inbox_.empty() || due()); ++round) {
    const std::vector<Event> events = std::exchange(inbox_, {});
    for (const Action& action : planner_.step(events, clock_now())) {
      std::visit([this](const auto& wanted) { carry_out(wanted); }, action);
    }
    tell();
  }
  forget_retired();
  in_turn_ = false;
  if (finished_) return;
  arm();
  if ((planner_.wants_load() || planner_.wants_traffic()) && !load_tick_.armed())
    load_tick_.start(load_tick_every);
}

// What a process' end led to is in the state now, which is on disk soon.
void Engine::forget_retired() {
  if (!config_.records) return;
  config_.records->remove_outlived();
  if (forgetting_) return;  // what has ended since then is told by a later state
  auto retired = config_.records->take_retired();
  if (retired.empty()) return;
  forgetting_ = true;
  saver_->after_next_save([this, retired = std::move(retired)] {
    for (const InstanceId instance : retired) config_.records->remove(instance);
    forgetting_ = false;
    forget_retired();
  });
}

// When its time has come.
void Engine::count_answers() {
  if (!planner_.wants_answers()) return next_count_.reset();
  const Instant now = std::chrono::steady_clock::now();
  if (next_count_ && now < *next_count_) return;
  next_count_ = now + count_every;
  AnswersCounted counted;
  for (const lb::InstanceStats& stats : traffic_->stats().instances) {
    Answers& answers = counted.by_instance[stats.instance];
    for (const std::uint64_t responses : stats.responses) answers.all += responses;
    answers.errors = stats.responses.back();
  }
  inbox_.emplace_back(std::move(counted));
}

// A tick each second; nothing where nobody is scaled.
void Engine::meter() {
  const bool traffic = planner_.wants_traffic();
  const bool load = planner_.wants_load();
  if (traffic || load) load_tick_.start(load_tick_every);
  if (!load) next_load_.reset();
  if (load) meter_load();
  if (traffic) meter_traffic();
}

void Engine::meter_traffic() {
  std::map<InstanceId, LoadMeter::Requests> requests;
  for (const lb::InstanceStats& stats : traffic_->stats().instances)
    requests[stats.instance] = {.all = stats.requests, .in_flight = stats.in_flight};
  emit(load_meter_.see_requests(requests, std::chrono::steady_clock::now()));
}

// Memory is a metric of few; what one more replica would take is known from some of them.
void Engine::measure_app(const AppWorld& app, Instant now, bool due,
                         std::map<InstanceId, LoadMeter::Use>& uses) {
  int weighed = 0;
  for (const auto& [ordinal, slot] : app.slots) {
    for (const Tenant& tenant : slot.tenants) {
      if (!tenant.started || (!due && load_meter_.knows(tenant.id))) continue;
      LoadMeter::Use use;
      if (due && (app.app->scale->memory || (tenant.was_ready && weighed < replicas_weighed))) {
        const auto usage = instances_->host().usage(tenant.id);
        if (!usage) continue;
        use = {.cpu = usage->cpu, .memory_bytes = usage->memory_bytes};
        ++weighed;
      } else {
        const auto cpu = instances_->host().cpu_used(tenant.id);
        if (!cpu) continue;
        use.cpu = *cpu;
      }
      load_meter_.meet(tenant.id, use.cpu, now);
      uses[tenant.id] = use;
    }
  }
}

// A look at it all each autoscale_every.
void Engine::meter_load() {
  const Instant now = std::chrono::steady_clock::now();
  if (!next_load_) next_load_ = now + autoscale_every;
  const bool due = now >= *next_load_;
  std::map<InstanceId, LoadMeter::Use> uses;
  for (const auto& [name, app] : world().apps) {
    if (app.app->scale) measure_app(app, now, due, uses);
  }
  std::map<InstanceId, std::uint64_t> in_flight;
  for (const lb::InstanceStats& stats : traffic_->stats().instances)
    in_flight[stats.instance] = stats.in_flight;
  load_meter_.count_in_flight(in_flight);
  if (!due) return;
  next_load_ = now + autoscale_every;
  const auto meminfo = read_small_file("/proc/meminfo");
  const auto pressure = read_small_file("/proc/pressure/memory");
  emit(load_meter_.measure(uses, host_load(meminfo ? meminfo.value() : "", pressure ? pressure.value() : ""),
                           now));
}

// The loop sleeps until something happens or the planner's next deadline; what was left over keeps it awake.
void Engine::arm() {
  const bool busy = !inbox_.empty();
  if (busy) {
    uv_idle_start(idle_, [](uv_idle_t*) {});
  } else {
    uv_idle_stop(idle_);
  }
  std::optional<Instant> wakeup = planner_.next_wakeup();
  if (planner_.wants_answers()) {
    const Instant count = next_count_.value_or(Instant{});  // none yet: at once
    if (!wakeup || count < *wakeup) wakeup = count;
  }
  wakeup_.set(wakeup);
}

void Engine::note(Note note) {
  const LoggedEvent& logged = events_.add(std::move(note), std::chrono::system_clock::now());
  if (hooks_.on_event) hooks_.on_event(logged);
}

void Engine::note(Severity severity, std::string kind, std::string text) {
  note(Note{.severity = severity,
            .kind = std::move(kind),
            .app = {},
            .ordinal = {},
            .instance = {},
            .text = std::move(text)});
}

void Engine::carry_out(const Spawn& action) {
  instances_->start(action);
  if (action.app->limits.bounds_whole()) tell_limits(action.instance, action.replica.app);
  if (!drift_look_.armed()) drift_look_.start(drift_look_after);
}
void Engine::carry_out(const SetLimits& action) {
  instances_->set_limits(action);
  tell_limits(action.instance, action.app->name);
}

// What the kernel does not see to is told once for each app; what it refuses, each time. Then somebody looks.
void Engine::tell_limits(InstanceId id, const std::string& app) {
  const auto tell = [&](Severity severity, std::string text) {
    to_tell_.push_back(Note{.severity = severity,
                            .kind = "limits",
                            .app = app,
                            .ordinal = std::nullopt,
                            .instance = id,
                            .text = std::move(text)});
  };
  const std::vector<std::string> problems = instances_->take_limit_problems(id);
  for (const std::string& problem : problems) tell(Severity::warning, problem);
  for (const LimitState& state : instances_->host().limits(id)) {
    const bool is_watched = state.by == Enforcer::watched;
    if (!problems.empty() || (!is_watched && state.by != Enforcer::nobody)) continue;
    std::string text =
        fmt::format("limits.{} = {} is {}: {}", to_string(state.kind), value_text(state),
                    is_watched ? "looked after once a second only" : "not enforced", state.why);
    if (told_limits_.size() >= told_limits_max) told_limits_.clear();
    if (!told_limits_.insert(fmt::format("{} {}", app, text)).second) continue;
    tell(is_watched ? Severity::info : Severity::warning, std::move(text));
  }
  if (instances_->host().watches_limits() && !limit_look_.armed()) limit_look_.start(limit_look_every);
}

void Engine::look_at_limits() {
  for (const auto& [id, excess] : instances_->host().over_limits())
    emit(LimitExceeded{.instance = id, .kind = excess.kind, .used = excess.used, .limit = excess.limit});
  if (instances_->host().watches_limits()) limit_look_.start(limit_look_every);
}

std::map<InstanceId, LimitStates> Engine::limits() const {
  std::map<InstanceId, LimitStates> all;
  const auto add = [&](const AppWorld& app) {
    for (const auto& [ordinal, slot] : app.slots) {
      for (const Tenant& tenant : slot.tenants) {
        LimitStates states = instances_->host().limits(tenant.id);
        if (!states.empty()) all.emplace(tenant.id, std::move(states));
      }
    }
  };
  for (const auto& [name, app] : world().apps) add(app);
  for (const auto& [name, job] : world().jobs) add(job.task);
  return all;
}

void Engine::carry_out(const Signal& action) {
  instances_->signal(action);
}
void Engine::carry_out(const KillTree& action) {
  instances_->kill_tree(action.instance);
}
void Engine::carry_out(const RunStopCommand& action) {
  instances_->run_stop_command(action.instance);
}
void Engine::carry_out(const RunProbe& action) {
  instances_->probe(planner_.world(), action.instance, action.kind);
}
void Engine::carry_out(const Publish& action) {
  traffic_->publish(action, planner_.world().shutting_down);
}
void Engine::carry_out(const WatchIdle& action) {
  traffic_->watch_idle(action.instance);
}
void Engine::carry_out(const Note& action) {
  to_tell_.push_back(action);
}
void Engine::tell() {
  for (Note& told : std::exchange(to_tell_, {})) note(std::move(told));
}
void Engine::carry_out(const CommandDone& action) {
  hooks_.on_command_done(action);
}
void Engine::carry_out(const SaveState& action) {
  static_cast<void>(action);
  saver_->save(planner_.persistent());
}
void Engine::carry_out(const ExitDaemon& action) {
  tell();
  hooks_.on_exit(action);
}

std::optional<UsageView> Engine::usage_of(const Tenant& tenant, Instant now) {
  const auto usage = instances_->host().usage(tenant.id);
  if (!usage) return std::nullopt;
  const auto [at, fresh] = cpu_samples_.try_emplace(
      tenant.id, CpuSample{.at = tenant.started_at, .cpu = Nanos{0}, .percent = 0, .seen = now});
  CpuSample& sample = at->second;
  sample.seen = now;
  if (fresh || now - sample.at >= usage_window) {
    const Nanos window = std::max<Nanos>(now - sample.at, Millis{1});
    sample.percent = 100.0 * std::chrono::duration<double>(usage->cpu - sample.cpu) / window;
    sample.at = now;
    sample.cpu = usage->cpu;
  }
  return UsageView{.cpu_percent = std::max(0.0, sample.percent),
                   .memory_bytes = usage->memory_bytes,
                   .memory_over_counts = usage->memory_over_counts};
}

void Engine::add_usage(const AppWorld& app, Instant now, std::map<InstanceId, UsageView>& views) {
  for (const auto& [ordinal, slot] : app.slots) {
    for (const Tenant& tenant : slot.tenants) {
      if (!tenant.started) continue;
      if (const auto view = usage_of(tenant, now)) views[tenant.id] = *view;
    }
  }
}

std::map<InstanceId, UsageView> Engine::usage() {
  std::map<InstanceId, UsageView> views;
  const Instant now = std::chrono::steady_clock::now();
  for (const auto& [name, app] : world().apps) add_usage(app, now, views);
  for (const auto& [name, job] : world().jobs) add_usage(job.task, now, views);
  std::erase_if(cpu_samples_, [now](const auto& entry) { return entry.second.seen != now; });
  return views;
}

const std::vector<Drift>& Engine::look_for_drift() {
  std::vector<Drift> found = instances_->drift(world());
  for (const Drift& drift : found) {
    if (std::ranges::find(drift_, drift) != drift_.end()) continue;
    note(Note{.severity = Severity::warning,
              .kind = "drift",
              .app = drift.app,
              .ordinal = drift.ordinal,
              .instance = std::nullopt,
              .text = drift.text});
  }
  drift_ = std::move(found);
  if (hooks_.on_drift_files) hooks_.on_drift_files(instances_->files_of_drift(world()));
  return drift_;
}

void Engine::reopen_logs() {
  logs_->reopen();
  traffic_->flush_access_logs();  // then theirs are reopened: what was asked for before goes to the old file
}

Status Engine::flush_state() {
  return saver_->flush();
}

void Engine::finish(Millis grace) {
  if (finished_) return;
  finished_ = true;
  // A daemon that has never had a spec knows less than the file does.
  if (world().spec) {
    saver_->save(planner_.persistent());
    if (const Status saved = saver_->flush(); !saved) note(Severity::error, "state", saved.error().message);
  }
  traffic_->stop(grace);
  if (instances_->host().running() > 0) return logs_->leave();
  if (config_.records) config_.records->end();
}

}  // namespace muster::supervisor
