#include "supervisor/instances.h"

#include <unistd.h>
#include <uv.h>

#include <cerrno>
#include <iterator>
#include <set>
#include <utility>

#include "base/check.h"
#include "fmt/core.h"
#include "lb/proxy_header.h"
#include "supervisor/proc_scan.h"
#include "supervisor/process_facts.h"

namespace muster::supervisor {

namespace {
constexpr std::chrono::milliseconds look_elsewhere_after{
    500};  // an app that listens by then listens for good

bool uses_notify(const spec::App& app) {
  return app.health.notify || app.watchdog.has_value() || (app.live && app.live->notify);
}

const Tenant* find_tenant(const World& world, const ReplicaId& replica, InstanceId id) {
  const auto app = world.apps.find(replica.app);
  if (app == world.apps.end()) return nullptr;
  const auto slot = app->second.slots.find(replica.ordinal);
  if (slot == app->second.slots.end()) return nullptr;
  for (const Tenant& tenant : slot->second.tenants) {
    if (tenant.id == id) return &tenant;
  }
  return nullptr;
}

// An app that is told who its clients are expects the header from whoever connects; one that is not always told takes
// connections without it too.
std::string preface_of(const spec::Spec& spec, const std::string& app) {
  auto version = spec::ProxyProtocol::Version::none;
  for (const spec::Listener& listener : spec.listeners) {
    if (!listener.leads_to(app)) continue;
    version = listener.proxy_protocol.out;
    if (version == spec::ProxyProtocol::Version::none) break;
  }
  return version == spec::ProxyProtocol::Version::none ? "" : lb::own_proxy_header(version);
}

SpawnFailure volume_failure(const Error& error) {
  if (error.errno_value == EWOULDBLOCK) return SpawnFailure::volume_busy;
  return error.errno_value == ESTALE ? SpawnFailure::volume_lost : SpawnFailure::resources;
}

SpawnFailed failed(const Spawn& spawn, SpawnFailure kind, std::string sentence) {
  return SpawnFailed{.instance = spawn.instance, .kind = kind, .sentence = std::move(sentence)};
}
}  // namespace

Instances::Instances(uv_loop_s* loop, InstancesConfig config, Logs& logs, std::function<void(Event)> emit)
    : loop_(loop),
      config_(std::move(config)),
      logs_(logs),
      emit_(std::move(emit)),
      sockets_(config_.run_dir),
      notify_(loop, [this](Notified notified) { emit_(std::move(notified)); }),
      host_(loop,
            ProcessHostOptions{.end_with_daemon = config_.end_with_daemon,
                               .cgroup_parent = std::nullopt,
                               .shim = std::nullopt,
                               .files_soft = config_.files_soft,
                               .is_next_image = config_.is_next_image},
            ProcessHooks{
                .on_started =
                    [this](InstanceId id, int pid) {
                      const auto at = instances_.find(id);
                      if (at == instances_.end()) return;
                      const LaunchContext& context = at->second.context;
                      emit_(ProcessStarted{
                          .instance = id, .pid = pid, .ports = context.ports, .socket = context.socket});
                    },
                .on_spawn_failed =
                    [this](InstanceId id, SpawnFailure kind, std::string sentence) {
                      gone(id);
                      emit_(SpawnFailed{.instance = id, .kind = kind, .sentence = std::move(sentence)});
                    },
                .on_exited =
                    [this](InstanceId id, ExitStatus status) {
                      const Instant at = std::chrono::steady_clock::now();
                      if (config_.records != nullptr) config_.records->exited(id, status);
                      emit_(ProcessExited{.instance = id, .status = status, .at = at});
                    },
                .on_frozen = [this](InstanceId id,
                                    int number) { emit_(ProcessFrozen{.instance = id, .signal = number}); },
                .on_thawed = [this](InstanceId id) { emit_(ProcessThawed{.instance = id}); },
                .on_tree_gone =
                    [this](InstanceId id) {
                      gone(id);
                      emit_(TreeGone{.instance = id});
                    },
            }),
      probes_(loop, host_) {}

void Instances::end_left_output() {
  if (config_.output == nullptr) return logs_.end_others({});
  logs_.end_others(config_.output->open_left());
  config_.output->end_left();
}

// Everything that can be missing before there is a process: ports, folders, the account, a notify socket.
std::optional<SpawnFailed> Instances::prepare(const Spawn& spawn, Instance& instance) {
  const spec::App& app = *spawn.app;
  LaunchContext& context = instance.context;
  auto ports = ports_.take(app, spawn.replica.ordinal, spawn.instance);
  if (!ports) {
    const bool busy = ports.error().errno_value == EADDRINUSE;
    return failed(spawn, busy ? SpawnFailure::port_busy : SpawnFailure::resources, ports.error().message);
  }
  context.ports = std::move(ports.value());
  if (!app.volumes.empty()) {
    MUSTER_CHECK(config_.volumes != nullptr);
    auto volumes = config_.volumes->prepare(spawn.replica, app);
    if (!volumes) return failed(spawn, volume_failure(volumes.error()), volumes.error().message);
    context.volumes = std::move(volumes.value().paths);
    instance.locks = std::move(volumes.value().locks);
  }
  const auto account = accounts_.find(app.user, std::chrono::steady_clock::now());
  if (!account) return failed(spawn, SpawnFailure::exec, fmt::format("no such user: {}", app.user));
  context.account = account->info;
  context.other_user = account->uid != geteuid();
  context.own_user = is_own_user(app, spawn.replicas, *account);
  if (app.port.kind == spec::PortKind::local) {
    auto socket = sockets_.open(spawn.instance, spawn.replica, account->uid, account->gid);
    if (!socket) return failed(spawn, SpawnFailure::resources, socket.error().message);
    context.socket = std::move(socket.value());
  }
  if (uses_notify(app)) {
    auto socket = notify_.open(spawn.instance, account->uid);
    if (!socket) return failed(spawn, SpawnFailure::resources, socket.error().message);
    context.notify_socket = std::move(socket.value());
  }
  return std::nullopt;
}

void Instances::set_limits(const SetLimits& wanted) {
  const auto at = instances_.find(wanted.instance);
  if (at == instances_.end()) return;
  LaunchContext& context = at->second.context;
  const auto account = accounts_.find(wanted.app->user, std::chrono::steady_clock::now());
  context.own_user = account && is_own_user(*wanted.app, context.replicas, *account);
  host_.set_limits(wanted.instance, bounds_of(*wanted.app, context));
}

void Instances::use_users_of(const spec::Spec& spec) {
  users_.clear();
  for (const spec::App& app : spec.apps) users_.push_back(app.user);
  for (const spec::Job& job : spec.jobs) users_.push_back(job.task.user);
}

// RLIMIT_NPROC counts all processes of a user: it is a limit of one replica only where no other has that user, at no
// time.
bool Instances::is_own_user(const spec::App& app, int replicas, const Account& account) {
  const bool one_at_a_time = app.exclusive_slots() || app.update.strategy != spec::UpdateStrategy::rolling;
  if (!app.limits.pids || account.uid == 0 || account.uid == geteuid() || replicas != 1 || !one_at_a_time)
    return false;
  int users = 0;
  for (const std::string& user : users_) {
    const auto other = accounts_.find(user, std::chrono::steady_clock::now());
    if (other && other->uid == account.uid) ++users;
  }
  return users <= 1;
}

// A second replica of the app comes: what was the first one's alone is so no longer.
void Instances::share_user(const std::string& app) {
  for (auto& [id, instance] : instances_) {
    if (instance.replica.app != app || !std::exchange(instance.context.own_user, false)) continue;
    LimitOrder order = host_.limit_order(id);
    order.own_user = false;
    host_.set_limits(id, order);
  }
}

LaunchContext Instances::context_of(const ReplicaId& replica) const {
  LaunchContext context;
  context.replica = replica;
  context.folder = config_.folder;
  context.daemon_environment = config_.environment;
  context.unbuffered_python = config_.mode == RunMode::up;
  return context;
}

void Instances::write_down(const Spawn& spawn, const LaunchContext& context) {
  const bool moved = host_.regain_cgroups();
  if (config_.records == nullptr) return;
  if (moved) static_cast<void>(config_.records->begin(host_.life()));
  TreeName name = host_.name_of(spawn.instance, spawn.replica);
  ReplicaRecord record;
  record.process = LivingProcess{.instance = spawn.instance,
                                 .replica = spawn.replica,
                                 .revision = spawn.revision,
                                 .app = spawn.app,
                                 .run = spawn.run,
                                 .ports = context.ports,
                                 .socket = context.socket,
                                 .started = {},
                                 .starts = spawn.starts};
  record.boot_id = config_.records->boot_id();
  record.cgroup = std::move(name.cgroup);
  record.token = std::move(name.token);
  record.replicas = context.replicas;
  record.addresses = context.addresses;
  record.volumes = context.volumes;
  record.notify_socket = context.notify_socket;
  config_.records->add(record);
}

void Instances::mark(const MarkReplica& mark) {
  if (config_.records != nullptr) config_.records->mark(mark.instance, mark.mark);
}

void Instances::take_over(const std::vector<ReplicaRecord>& living, const DaemonLife& life) {
  for (const ReplicaRecord& record : living) take_over(record);
  host_.end_leftovers(life);
  end_left_output();
}

void Instances::take_over(const ReplicaRecord& record) {
  const LivingProcess& process = record.process;
  Instance& instance = instances_[process.instance];
  instance.replica = process.replica;
  instance.app = process.app;
  LaunchContext& context = instance.context;
  context = context_of(process.replica);
  context.replicas = record.replicas;
  context.addresses = record.addresses;
  context.volumes = record.volumes;
  context.ports = process.ports;
  context.socket = process.socket;
  context.notify_socket = record.notify_socket;
  ports_.keep(process.ports, process.instance);
  if (!process.socket.empty()) sockets_.keep(process.instance, process.socket);
  if (const auto account = accounts_.find(process.app->user, std::chrono::steady_clock::now())) {
    context.account = account->info;
    context.other_user = account->uid != geteuid();
    // Without it the replica is not heard any more; its probes, or its watchdog, will say so.
    if (!record.notify_socket.empty())
      static_cast<void>(notify_.reopen(process.instance, account->uid, record.notify_socket));
  }
  host_.adopt(process.instance, AdoptOrder{.replica = process.replica,
                                           .pid = process.pid,
                                           .start_ticks = record.start_ticks,
                                           .cgroup = record.cgroup,
                                           .token = record.token});
  if (auto environ = read_environ(process.pid); environ && host_.main_process(process.instance).first != 0)
    instance.environment = environ_lines(environ.value());
  if (config_.records != nullptr) config_.records->keep(record);
  if (config_.output == nullptr) return;
  LeftOutput output = config_.output->reopen(process.instance);
  logs_.attach(LogPipes{.instance = process.instance,
                        .replica = process.replica,
                        .out = std::move(output.out),
                        .err = std::move(output.err),
                        .ready_pattern = process.app->health.log,
                        .reopened = true},
               process.app->log);
}

void Instances::start(const Spawn& spawn) {
  Instance& instance = instances_[spawn.instance];
  instance.replica = spawn.replica;
  instance.app = spawn.app;
  instance.context = context_of(spawn.replica);
  instance.context.replicas = spawn.replicas;
  instance.context.addresses = spawn.addresses;
  if (auto failure = prepare(spawn, instance)) {
    gone(spawn.instance);
    return emit_(std::move(*failure));
  }
  if (!instance.context.own_user) share_user(spawn.replica.app);
  ProcessOrder order = main_order(*spawn.app, instance.context);
  for (const Fd& lock : instance.locks) order.kept.push_back(lock.get());
  order.not_before = spawn.not_before;
  write_down(spawn, instance.context);
  OutputPipes output = config_.output != nullptr ? config_.output->make(spawn.instance) : OutputPipes{};
  // Before it can write: from its first byte on it is known whose output that is, whenever muster may be killed.
  const bool by_fifo = output.out.write.valid();
  if (by_fifo) attach(spawn, std::move(output.out.read), std::move(output.err.read));
  ProcessPipes pipes = host_.start(spawn.instance, spawn.replica, order, std::move(output));
  if (config_.records != nullptr) {
    const auto [pid, start_ticks] = host_.main_process(spawn.instance);
    if (pid != 0) config_.records->began(spawn.instance, pid, start_ticks, std::chrono::system_clock::now());
  }
  if (!by_fifo) attach(spawn, std::move(pipes.out), std::move(pipes.err));
}

void Instances::attach(const Spawn& spawn, Fd out, Fd err) {
  logs_.attach(LogPipes{.instance = spawn.instance,
                        .replica = spawn.replica,
                        .out = std::move(out),
                        .err = std::move(err),
                        .ready_pattern = spawn.app->health.log},
               spawn.app->log);
}

std::vector<Drift> Instances::drift(const World& world) const {
  std::vector<Drift> found;
  for (const auto& [id, instance] : instances_) {
    const Tenant* tenant = find_tenant(world, instance.replica, id);
    if (tenant == nullptr || !tenant->started || tenant->exited || tenant->is_leaving()) continue;
    ProcessFacts facts = process_facts(tenant->pid, instance.context.volumes);
    facts.in_its_tree = !host_.has_lost(id, tenant->pid);
    auto here = drift_of(instance.replica, *tenant->app,
                         instance.environment ? *instance.environment
                                              : main_order(*instance.app, instance.context).environment,
                         facts);
    found.insert(found.end(), std::make_move_iterator(here.begin()), std::make_move_iterator(here.end()));
  }
  return found;
}

std::vector<std::string> Instances::files_of_drift(const World& world) const {
  std::set<std::string> files;
  for (const auto& [id, instance] : instances_) {
    const Tenant* tenant = find_tenant(world, instance.replica, id);
    if (tenant == nullptr || !tenant->started || tenant->exited) continue;
    for (const auto& [key, path] : instance.context.volumes) files.insert(path);
    if (auto program = program_of(tenant->pid)) files.insert(std::move(*program));
  }
  return {files.begin(), files.end()};
}

std::set<std::string> Instances::volumes_in_use() const {
  std::set<std::string> paths;
  for (const auto& [id, instance] : instances_) {
    for (const auto& [key, path] : instance.context.volumes) paths.insert(path);
  }
  return paths;
}

void Instances::use_ports_of(const spec::Spec& spec) {
  ports_.set_range(spec.daemon.port_range_first, spec.daemon.port_range_last);
  ports_.reserve_those_of(spec);
}

void Instances::gone(InstanceId id) {
  probes_.cancel(id);
  host_.cancel_commands(id);
  notify_.close(id);
  ports_.give_back(id);
  sockets_.close(id);
  logs_.finish(id);
  if (config_.records != nullptr) config_.records->retire(id);
  if (config_.output != nullptr) config_.output->forget(id);
  instances_.erase(id);
}

void Instances::run_stop_command(InstanceId id) {
  const auto at = instances_.find(id);
  if (at == instances_.end()) return;
  const spec::App& app = *at->second.app;
  host_.run_command(
      id, command_order(app, app.stop.exec, at->second.context), app.stop.timeout,
      [this, id](CommandResult result) {
        const bool fine = result.status && result.status->code == 0;
        emit_(StopCommandDone{.instance = id, .sentence = fine ? "" : "stop.exec: " + result.sentence});
      });
}

// Probes of a start come faster than such a look is worth. One that found it elsewhere is asked again by the eighth of its
// time, and then each time.
bool Instances::is_to_look_elsewhere(Instance& instance, const Tenant& tenant) const {
  const auto ms = [](auto time) {
    return static_cast<std::uint64_t>(std::chrono::duration_cast<Millis>(time).count());
  };
  const std::uint64_t now = uv_now(loop_);
  const std::uint64_t age = now - ms(tenant.started_at.time_since_epoch());
  if (age < ms(look_elsewhere_after)) return false;
  if (tenant.was_ready) return true;
  const std::uint64_t pause = std::min(age / 16, ms(tenant.app->health.every) / 2);
  if (now - instance.looked_elsewhere_ms < pause) return false;
  instance.looked_elsewhere_ms = now;
  return true;
}

void Instances::probe(const World& world, InstanceId id, health::ProbeKind kind) {
  const auto at = instances_.find(id);
  const Tenant* found = at == instances_.end() ? nullptr : find_tenant(world, at->second.replica, id);
  if (found == nullptr) return;
  const Tenant& tenant = *found;
  const LaunchContext& context = at->second.context;
  const bool live = kind == health::ProbeKind::liveness;
  MUSTER_CHECK(!live || tenant.app->live);
  const spec::HealthCheck& check = live ? *tenant.app->live : tenant.app->health;
  ReplicaProbe probe;
  probe.instance = tenant.id;
  probe.kind = kind;
  if (check.tcp || check.http) {
    probe.port = tenant.main_port().value_or(0);
    probe.socket = tenant.socket;
  }
  probe.first_address = tenant.address;
  if (check.http) {
    probe.http_path = check.http->expand(
        [&](const spec::TemplateVariable& variable) { return value_of(variable, context); });
    if (world.spec) probe.preface = preface_of(*world.spec, found->replica.app);
  }
  probe.expect = check.expect;
  probe.timeout = check.timeout;
  if (!check.cmd.empty()) probe.command = command_order(*tenant.app, check.cmd, context);
  probe.look_elsewhere = is_to_look_elsewhere(at->second, tenant);
  probes_.start(std::move(probe), [this, id = tenant.id, kind](health::Outcome outcome) {
    emit_(ProbeFinished{.instance = id, .kind = kind, .outcome = std::move(outcome)});
  });
}

void Instances::run_own_command(std::vector<std::string> argv, Millis limit,
                                std::function<void(CommandResult)> done) {
  ProcessOrder order;
  order.argv = std::move(argv);
  order.environment = config_.environment;
  order.dir = "/";
  host_.run_own_command(order, limit, std::move(done));
}

}  // namespace muster::supervisor
