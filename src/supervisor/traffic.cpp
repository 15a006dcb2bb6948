#include "supervisor/traffic.h"

#include <uv.h>

#include <algorithm>
#include <cerrno>
#include <iterator>

#include "base/check.h"
#include "fmt/core.h"
#include "supervisor/socket_owner.h"

namespace muster::supervisor {

namespace {
constexpr SnapshotVersion handed_version{};  // the planner's begin behind it
}

Traffic::Traffic(uv_loop_s* loop, TrafficHooks hooks) : hooks_(std::move(hooks)), wake_(new uv_async_t{}) {
  MUSTER_CHECK(uv_async_init(loop, wake_, [](uv_async_t* handle) {
                 if (handle->data != nullptr) static_cast<Traffic*>(handle->data)->deliver();
               }) == 0);
  wake_->data = this;
  // The mailbox is the threads' while they run; they are joined before it goes.
  mailbox_ =
      std::make_unique<Mailbox<Letter>>(limits::mailbox_letters_max, [wake = wake_] { uv_async_send(wake); });
  failures_ = std::make_unique<Mailbox<UpstreamFailed>>(limits::upstream_failures_max,
                                                        [wake = wake_] { uv_async_send(wake); });
  open_access_queue();
}

void Traffic::open_access_queue() {
  access_lines_ =
      std::make_unique<AccessQueue>(limits::access_lines_bytes_max, [wake = wake_] { uv_async_send(wake); });
}

Result<std::unique_ptr<Traffic>> Traffic::start(uv_loop_s* loop, int threads,
                                                std::vector<std::pair<std::string, int>> systemd_fds,
                                                TrafficHooks hooks, std::optional<lb::Handover> handover) {
  std::unique_ptr<Traffic> traffic(new Traffic(loop, std::move(hooks)));
  traffic->threads_ = threads;
  traffic->systemd_fds_ = std::move(systemd_fds);
  if (handover) traffic->handed_pools_ = std::move(handover->pools);
  if (Status started = traffic->start_balancer(std::move(handover)); !started)
    return std::move(started).error();
  return traffic;
}

Status Traffic::start_balancer(std::optional<lb::Handover> handover) {
  Mailbox<Letter>* mailbox = mailbox_.get();
  Mailbox<UpstreamFailed>* failures = failures_.get();
  AccessQueue* access_lines = access_lines_.get();
  lb::Callbacks callbacks;
  callbacks.on_snapshot_in_use = [mailbox, gone_on = &gone_on_](SnapshotVersion version) {
    if (version == handed_version) {
      const Nanos now = std::chrono::steady_clock::now().time_since_epoch();
      return gone_on->store(now.count(), std::memory_order_release);
    }
    // An acknowledgement that is lost would hold up a drain for ever; the mailbox is drained each loop turn.
    MUSTER_CHECK(mailbox->send(SnapshotInUse{.version = version}));
  };
  callbacks.on_idle = [mailbox](InstanceId instance) {
    MUSTER_CHECK(mailbox->send(EndpointIdle{.instance = instance}));
  };
  callbacks.on_upstream_failed = [failures](InstanceId instance, std::string text) {
    static_cast<void>(failures->send(UpstreamFailed{.instance = instance, .text = std::move(text)}));
  };
  callbacks.on_demand = [mailbox](std::string app) {
    static_cast<void>(mailbox->send(Demanded{.app = std::move(app)}));
  };
  callbacks.on_pong = [mailbox](std::uint64_t token) {
    static_cast<void>(mailbox->send(Pong{.token = token}));
  };
  callbacks.on_access_lines = [access_lines](lb::AccessLines& lines) { return access_lines->put(lines); };
  callbacks.on_access_logs_flushed = [mailbox] { static_cast<void>(mailbox->send(AccessLogsFlushed{})); };
  auto balancer = lb::Balancer::start(lb::Options{.threads = threads_,
                                                  .systemd_fds = systemd_fds_,
                                                  .callbacks = std::move(callbacks),
                                                  .handover = std::move(handover)});
  if (!balancer) return std::move(balancer.error());
  balancer_ = std::move(balancer.value());
  return Unit{};
}

void Traffic::quiesce(Millis patience, std::function<void(std::uint64_t)> done) {
  on_quiesced_ = std::move(done);
  balancer_->quiesce(patience, [mailbox = mailbox_.get()](std::uint64_t in_flight) {
    MUSTER_CHECK(mailbox->send(Quiesced{.in_flight = in_flight}));
  });
}

lb::Handover Traffic::give_up() {
  access_lines_->take_all_that_comes();
  lb::Handover handover = balancer_->give_up();
  while (!access_lines_->empty()) deliver_access_lines(limits::log_turn_bytes);
  return handover;
}

Status Traffic::take_back(lb::Handover handover) {
  balancer_.reset();
  open_access_queue();
  if (Status started = start_balancer(std::move(handover)); !started) return started;
  if (!published_) return Unit{};
  auto prepared = balancer_->prepare(published_->listeners);
  if (!prepared) return std::move(prepared).error();
  forget_prepared();  // of a spec that is not published yet: it is prepared anew
  balancer_->publish(published_, std::move(prepared).value());
  for (auto& [instance, questions] : idle_asked_) {
    questions = 1;
    balancer_->watch_idle(instance);
  }
  return Unit{};
}

Traffic::~Traffic() {
  prepared_ = lb::PreparedListeners{};
  balancer_.reset();
  wake_->data = nullptr;
  uv_close(reinterpret_cast<uv_handle_t*>(wake_),
           [](uv_handle_t* handle) { delete reinterpret_cast<uv_async_t*>(handle); });
}

// It may have been back in rotation since an earlier question; the balancer answers them in the order of the asking.
void Traffic::hear_idle(const EndpointIdle& idle) {
  const auto asked = idle_asked_.find(idle.instance);
  if (asked == idle_asked_.end() || --asked->second > 0) return;
  idle_asked_.erase(asked);
  hooks_.emit(idle);
}

void Traffic::deliver() {
  const std::vector<Letter> letters = mailbox_->take_all();
  const bool flushed = std::ranges::any_of(
      letters, [](const Letter& letter) { return std::holds_alternative<AccessLogsFlushed>(letter); });
  // What was handed over before that letter is there by now.
  deliver_access_lines(flushed ? limits::access_lines_bytes_max : limits::log_turn_bytes);
  for (const Letter& letter : letters) {
    if (const auto* pong = std::get_if<Pong>(&letter)) hooks_.on_pong(pong->token);
    if (const auto* in_use = std::get_if<SnapshotInUse>(&letter)) hooks_.emit(*in_use);
    if (const auto* idle = std::get_if<EndpointIdle>(&letter)) hear_idle(*idle);
    if (const auto* demanded = std::get_if<Demanded>(&letter)) hooks_.emit(*demanded);
    if (std::holds_alternative<AccessLogsFlushed>(letter)) hooks_.on_access_logs_flushed();
  }
  // Last: it may be the end of this image, or of the balancer that the letters came from.
  for (const Letter& letter : letters) {
    const auto* quiesced = std::get_if<Quiesced>(&letter);
    if (quiesced == nullptr || !on_quiesced_) continue;
    const auto done = std::exchange(on_quiesced_, nullptr);
    done(quiesced->in_flight);
  }
  for (UpstreamFailed& failed : failures_->take_all())
    hooks_.on_upstream_failed(failed.instance, std::move(failed.text));
}

// The loop has its turn between two pieces of them.
void Traffic::deliver_access_lines(std::size_t bytes) {
  for (lb::AccessLines& lines : access_lines_->take(bytes)) {
    hooks_.on_access_lines(lines);
    access_lines_->give_back(std::move(lines.bytes));
  }
  if (!access_lines_->empty()) uv_async_send(wake_);
}

namespace {
// An address in use, with who has it.
Error with_holder(Error error, const spec::Spec& spec) {
  if (error.errno_value != EADDRINUSE) return error;
  for (const spec::Listener& listener : spec.listeners) {
    for (const spec::BindAddress& bind : listener.bind) {
      if (bind.kind != spec::BindAddress::Kind::inet || error.message.find(bind.text) != 0) continue;
      if (const auto holder = port_busy_sentence(bind.port))
        error.message = fmt::format("{} (listener {}): {}", error.message, listener.name, *holder);
      return error;
    }
  }
  return error;
}
}  // namespace

Status Traffic::prepare(const std::shared_ptr<const spec::Spec>& spec) {
  auto prepared = balancer_->prepare(spec->listeners);
  if (!prepared) return with_holder(std::move(prepared.error()), *spec);
  prepared_for_ = spec;
  prepared_ = std::move(prepared.value());
  return Unit{};
}

void Traffic::forget_prepared() {
  prepared_ = lb::PreparedListeners{};
  prepared_for_.reset();
}

Status Traffic::go_on(const std::shared_ptr<const spec::Spec>& spec) {
  auto snapshot = std::make_shared<lb::Snapshot>();
  snapshot->version = handed_version;
  std::ranges::copy_if(spec->listeners, std::back_inserter(snapshot->listeners),
                       [](const spec::Listener& listener) { return listener.tls == nullptr; });
  snapshot->pools = std::exchange(handed_pools_, {});
  auto prepared = balancer_->prepare(snapshot->listeners);
  if (!prepared) return with_holder(std::move(prepared.error()), *spec);
  published_ = snapshot;
  balancer_->publish(std::move(snapshot), std::move(prepared.value()), lb::HandedSockets::keep);
  return Unit{};
}

std::optional<Instant> Traffic::gone_on() const {
  const Nanos at{gone_on_.load(std::memory_order_acquire)};
  return at == Nanos{0} ? std::nullopt : std::optional(Instant(at));
}

void Traffic::publish(const Publish& publish, bool leaving) {
  auto snapshot = std::make_shared<lb::Snapshot>();
  snapshot->version = publish.version;
  for (const PoolState& pool : publish.pools) {
    lb::Pool made{.app = pool.app, .endpoints = {}, .paused = pool.paused, .on_demand = pool.on_demand};
    for (const EndpointState& endpoint : pool.endpoints) {
      made.endpoints.push_back(lb::Endpoint{.instance = endpoint.instance,
                                            .label = to_string(endpoint.replica),
                                            .address = endpoint.address,
                                            .port = endpoint.port,
                                            .ordinal = endpoint.replica.ordinal});
    }
    snapshot->pools.push_back(std::move(made));
  }
  const auto is_empty = [&](const spec::Listener& listener) {
    return std::ranges::none_of(snapshot->pools, [&](const lb::Pool& pool) {
      return listener.leads_to(pool.app) && !pool.endpoints.empty();
    });
  };
  for (const spec::Listener& listener : publish.spec->listeners) {
    if (!leaving || !is_empty(listener)) snapshot->listeners.push_back(listener);
  }
  lb::PreparedListeners taken;
  if (prepared_for_ == publish.spec) {
    taken = std::move(prepared_);
    forget_prepared();
  }
  published_ = snapshot;
  balancer_->publish(std::move(snapshot), std::move(taken));
}

void Traffic::stop(Millis grace) {
  access_lines_->take_all_that_comes();
  balancer_->stop(grace);
  while (!access_lines_->empty()) deliver_access_lines(limits::log_turn_bytes);
}

}  // namespace muster::supervisor
