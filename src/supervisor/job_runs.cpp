// What becomes of a run of a job: its tries, its timeout, its end.
#include <algorithm>

#include "fmt/core.h"
#include "supervisor/planner.h"

namespace muster::supervisor {

namespace {
std::string seconds(Nanos length) {
  return fmt::format("{:.1f} s", std::chrono::duration<double>(length).count());
}
}  // namespace

void Planner::start_try(JobWorld& job, int ordinal) {
  JobRun& run = job.runs.at(ordinal);
  ++run.tries;
  spawn(job.task, job.task.slots.at(ordinal),
        run.tries == 1 ? run.why : fmt::format("try {} of {}", run.tries, job.job->retries + 1));
}

void Planner::follow_runs(JobWorld& job) {
  std::vector<int> ordinals;
  for (const auto& [ordinal, run] : job.runs) ordinals.push_back(ordinal);
  for (const int ordinal : ordinals) follow_run(job, ordinal);
}

void Planner::follow_run(JobWorld& job, int ordinal) {
  const JobRun& run = job.runs.at(ordinal);
  Slot& slot = job.task.slots.at(ordinal);
  if (slot.tenants.empty()) {
    if (run.over) return finish_run(job, ordinal);
    if (slot.phase == Phase::backoff && slot.next_start && now_.mono < *slot.next_start) return;
    return start_try(job, ordinal);
  }
  Tenant& tenant = slot.tenants.front();
  if (!job.job->timeout || !tenant.started || tenant.is_leaving()) return;
  if (now_.mono < tenant.started_at + *job.job->timeout) return;
  const std::string why = "longer than its timeout of " + seconds(*job.job->timeout);
  note(Severity::warning, "timeout", slot.replica, tenant.id, why);
  leave({&job.task, &slot, &tenant}, Leaving::unhealthy, why);
}

// The main process of a try has ended, or could not be started. `clean`: with an ok code.
void Planner::try_ended(Place place, const std::string& why, bool clean) {
  Slot& slot = *place.slot;
  JobWorld& job = world_.jobs.at(slot.replica.app);
  JobRun& run = job.runs.at(slot.replica.ordinal);
  const Leaving leaving = place.tenant->leaving;
  run.stopped = leaving != Leaving::no && leaving != Leaving::unhealthy;
  run.ok = clean && leaving == Leaving::no;
  run.outcome = why;
  if (slot.last_exit) job.last = JobEnd{.exit = *slot.last_exit, .ok = run.ok};
  changed();
  run.over = run.ok || run.stopped || run.tries > job.job->retries;
  if (run.over)
    return set_idle(slot, run.ok ? Phase::completed : run.stopped ? Phase::stopped : Phase::failed, why);
  ++slot.failures;
  const Nanos pause = pause_before_start(place.app->app->restart, slot.failures);
  set_idle(slot, Phase::backoff, why);
  slot.next_start = now_.mono + pause;
  note(Severity::warning, "backoff", slot.replica, std::nullopt,
       fmt::format("{}; try {} of {} {}", why, run.tries + 1, job.job->retries + 1,
                   pause == Nanos{0} ? "at once" : "in " + seconds(pause)));
}

void Planner::finish_run(JobWorld& job, int ordinal) {
  const ReplicaId replica = job.task.slots.at(ordinal).replica;
  JobRun run = std::move(job.runs.at(ordinal));
  job.runs.erase(ordinal);
  job.task.slots.erase(ordinal);
  if (!run.stopped) job.ended_ok = run.ok;
  const char* word = run.ok ? "completed" : run.stopped ? "stopped" : "failed";
  const std::string tries = run.tries > 1 ? fmt::format(", after {} tries", run.tries) : "";
  note(run.ok || run.stopped ? Severity::info : Severity::error, word, replica, std::nullopt,
       run.outcome + tries);
  for (const CommandId command : run.commands)
    act(CommandDone{.command = command,
                    .code = run.ok ? ExitCode::ok : ExitCode::failed,
                    .message = fmt::format("{} has {}: {}{}", job.name(), run.stopped ? "been stopped" : word,
                                           run.outcome, tries)});
  tell_gates(run, job.name());
}

void Planner::end_runs(JobWorld& job, Leaving leaving, const std::string& why) {
  for (auto& [ordinal, run] : job.runs) {
    Slot& slot = job.task.slots.at(ordinal);
    for (Tenant& tenant : slot.tenants) leave({&job.task, &slot, &tenant}, leaving, why);
    if (!slot.tenants.empty() || run.over) continue;
    run.over = run.stopped = true;
    run.outcome = why;
    set_idle(slot, Phase::stopped, why);
  }
}

void Planner::dismiss(JobRun& run, const std::string& why) {
  for (const CommandId command : run.commands)
    act(CommandDone{.command = command, .code = ExitCode::failed, .message = why});
  run.commands.clear();
}

bool Planner::jobs_busy() const {
  return std::ranges::any_of(world_.jobs, [](const auto& entry) { return !entry.second.runs.empty(); });
}

std::optional<Instant> Planner::job_wakeup(const JobWorld& job) const {
  std::optional<Instant> wakeup;
  const auto due = [&wakeup](Instant at) {
    if (!wakeup || at < *wakeup) wakeup = at;
  };
  if (job.next && !job.task.removed && !world_.shutting_down) due(now_.mono + (*job.next - now_.wall));
  for (const auto& [ordinal, slot] : job.task.slots) {
    if (slot.tenants.empty() && slot.phase == Phase::backoff && slot.next_start) due(*slot.next_start);
    for (const Tenant& tenant : slot.tenants) {
      if (job.job->timeout && tenant.started && !tenant.is_leaving())
        due(tenant.started_at + *job.job->timeout);
    }
  }
  return wakeup;
}

// What somebody who comes after the job waits for; empty: nothing.
std::string Planner::job_gate(const JobWorld& job, spec::AfterCondition condition) const {
  if (job.task.removed) return "";
  const std::string& name = job.name();
  switch (condition) {
    case spec::AfterCondition::ready:
    case spec::AfterCondition::started:
      return job.ran ? "" : fmt::format("waits for job {} to be started", name);
    case spec::AfterCondition::completed:
      return job.ended_ok ? "" : fmt::format("waits for job {} to be completed", name);
    case spec::AfterCondition::completed_ok:
      if (job.ended_ok && !*job.ended_ok)
        return fmt::format(
            "waits for job {0} to be completed with success: it failed; `muster run {0}` tries "
            "it again",
            name);
      return job.ended_ok ? "" : fmt::format("waits for job {} to be completed with success", name);
  }
  return "";
}

}  // namespace muster::supervisor
