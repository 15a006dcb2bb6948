#include "supervisor/log_pipes.h"

#include "supervisor/log_intake.h"

namespace muster::supervisor {

Logs::Logs(uv_loop_s* loop, LogsConfig config, LogsHooks hooks)
    : impl_(std::make_unique<Impl>(loop, std::move(config), std::move(hooks))) {}
Logs::~Logs() = default;

void Logs::attach(LogPipes pipes, const spec::LogOptions& options) {
  impl_->slot_of(pipes.replica).options = options;
  if (!pipes.reopened) impl_->regain_journal();
  const auto matcher = impl_->matcher_of(pipes);
  impl_->open_pipe(std::move(pipes.out), Stream::out, pipes, matcher);
  impl_->open_pipe(std::move(pipes.err), Stream::err, pipes, matcher);
}

void Logs::finish(InstanceId instance) {
  const Now now = Impl::clock_now();
  for (auto found = impl_->pipes.find(instance); found != impl_->pipes.end();
       found = impl_->pipes.find(instance)) {
    Impl::Pipe& pipe = *found->second;
    std::size_t left = log_finish_bytes_max;
    long got = 1;
    while (left > 0 && got > 0) {
      got = impl_->read_once(pipe, std::min(left, log_read_bytes), now);
      if (got > 0) left -= static_cast<std::size_t>(got);
    }
    if (got >= 0) impl_->close_pipe(pipe, now);
  }
}

void Logs::end_others(std::vector<LeftOutput> left) {
  impl_->end_others(std::move(left));
}

bool Logs::attached(InstanceId instance) const {
  return impl_->pipes.contains(instance);
}

void Logs::leave() {
  impl_->leaving = true;
}

void Logs::forget(const ReplicaId& replica) {
  const auto found = impl_->slots.find(replica);
  if (found == impl_->slots.end() || found->second->pipes > 0) return;
  impl_->dropped_of_forgotten += found->second->writer.dropped_lines();
  impl_->slots.erase(found);
}

void Logs::set_options(const std::string& app, const spec::LogOptions& options) {
  for (auto& [replica, slot] : impl_->slots) {
    if (replica.app == app) slot->options = options;
  }
  for (const auto& [instance, pipe] : impl_->pipes) {
    if (pipe->journaled && pipe->slot->replica.app == app)
      impl_->journal->set_options(*pipe->journaled, options);
  }
}

void Logs::set_budget(std::uint64_t bytes) {
  if (impl_->config.budget_bytes == bytes) return;
  impl_->config.budget_bytes = bytes;
  impl_->check_budget();
}

void Logs::reopen() {
  for (auto& [replica, slot] : impl_->slots) slot->writer.reopen();
}

void Logs::set_access_logs(const std::map<std::string, spec::LogOptions>& listeners) {
  impl_->access.set(listeners);
}

void Logs::write_access_log(const std::string& listener, std::string_view lines, std::uint64_t lost) {
  const Now now = Impl::clock_now();
  impl_->access.write(listener, lines, lost, now);
  impl_->known_bytes += lines.size();
  impl_->check_budget_when_over(now.mono);
}

void Logs::reopen_access_logs() {
  impl_->access.reopen();
}

std::set<std::string> Logs::access_logs() const {
  return impl_->access.stems();
}

std::vector<StoredLine> Logs::tail(const ReplicaId& replica) const {
  const auto found = impl_->slots.find(replica);
  return found == impl_->slots.end() ? std::vector<StoredLine>{} : found->second->tail.lines(replica);
}

std::uint64_t Logs::dropped_lines() const {
  std::uint64_t sum = impl_->dropped_of_forgotten + impl_->access.dropped_lines();
  for (const auto& [replica, slot] : impl_->slots) sum += slot->writer.dropped_lines();
  return sum;
}

const std::string& Logs::folder() const {
  return impl_->config.folder;
}

FollowId Logs::follow(std::function<void(const LogLine&)> on_line) {
  const FollowId id{impl_->next_follower++};
  impl_->followers.emplace(id, std::make_shared<const Impl::OnLogLine>(std::move(on_line)));
  return id;
}

void Logs::unfollow(FollowId id) {
  impl_->followers.erase(id);
}

}  // namespace muster::supervisor
