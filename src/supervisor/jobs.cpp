// When jobs run: by their schedule, at the start of the daemon, before revisions, by hand. What is due is asked for, and
// what is asked for begins when `after` and `overlap` let it.
#include <algorithm>
#include <utility>

#include "base/limits.h"
#include "fmt/core.h"
#include "supervisor/planner.h"
#include "supervisor/text.h"

namespace muster::supervisor {

namespace {
constexpr Nanos clock_step_min = std::chrono::seconds(60);  // back by less: as cron, nothing is done anew
constexpr std::chrono::seconds late_min{60};

bool same_schedule(const spec::Job& a, const spec::Job& b) {
  const bool same_zone = a.zone == b.zone || (a.zone && b.zone && *a.zone == *b.zone);
  return a.schedule == b.schedule && same_zone;
}

std::optional<WallTime> due_after(const spec::Job& job, WallTime now) {
  return job.schedule ? spec::next_due(*job.schedule, *job.zone, now) : std::nullopt;
}
}  // namespace

// A clock that was set forward, or has gone on while the host slept, makes what is due late, once. One that was set back
// shows times again: schedules that go by the clock run again, the others only after a correction.
void Planner::follow_clock() {
  const Nanos offset = now_.wall.time_since_epoch() - now_.mono.time_since_epoch();
  const Nanos jump = clock_offset_ ? offset - *clock_offset_ : Nanos{0};
  clock_offset_ = offset;
  if (jump > -clock_step_min) return;
  for (auto& [name, job] : world_.jobs) {
    if (!job.next || (!job.job->schedule->follows_clock && jump > -spec::clock_correction_min)) continue;
    job.next = due_after(*job.job, now_.wall);
    changed();
  }
}

void Planner::on(const ClockSet& event) {
  static_cast<void>(event);  // a step looks at both clocks anyway
}

void Planner::adopt_jobs(const spec::Spec& spec) {
  for (const spec::Job& job : spec.jobs) adopt_job(job);
  for (auto& [name, job] : world_.jobs) {
    if (job.task.removed || spec.find_job(name) != nullptr) continue;
    job.task.removed = true;
    job.next.reset();
    note_app(Severity::info, "removed", name, "no longer in the file");
    changed();
  }
}

void Planner::adopt_job(const spec::Job& job) {
  const auto fresh = std::make_shared<const spec::Job>(job);
  const auto [at, added] = world_.jobs.try_emplace(job.name());
  JobWorld& mine = at->second;
  const bool anew = added || mine.task.removed;
  const bool rescheduled = anew || !same_schedule(*mine.job, job);
  mine.job = fresh;
  mine.task.app = mine.task.file = std::shared_ptr<const spec::App>(fresh, &fresh->task);
  mine.task.of_job = true;
  bound_runs(mine);
  if (anew) {
    mine.task.removed = mine.task.gate_open = mine.met = mine.ran = false;
    mine.ended_ok.reset();
  }
  if (!rescheduled) return;
  mine.next = due_after(job, now_.wall);
  const auto saved = restored_.jobs.find(job.name());
  if (added && saved != restored_.jobs.end()) restore_job(mine, saved->second);
  changed();
}

// Nothing else of an edit reaches runs that are under way.
void Planner::bound_runs(JobWorld& job) {
  const spec::Limits& limits = job.job->task.limits;
  for (auto& [ordinal, slot] : job.task.slots) {
    for (Tenant& tenant : slot.tenants) {
      if (tenant.exited || tenant.app->limits.same_whole(limits)) continue;
      auto bounded = std::make_shared<spec::App>(*tenant.app);
      bounded->limits.memory = limits.memory;
      bounded->limits.cpu = limits.cpu;
      bounded->limits.pids = limits.pids;
      tenant.app = std::move(bounded);
      act(SetLimits{.instance = tenant.id, .app = tenant.app, .why = "its limits were edited"});
    }
  }
}

// What was due while no daemon ran is due now. A time that is still to come is reckoned anew: the clock may have been
// wrong.
void Planner::restore_job(JobWorld& job, const PersistentJob& saved) {
  job.last = saved.last;
  if (options_.living) {
    job.met = saved.met;
    job.ran = saved.ran;
    job.ended_ok = saved.ended_ok;
  }
  const bool same =
      job.job->schedule && job.job->schedule->text == saved.schedule && job.job->timezone == saved.timezone;
  if (same && saved.next && *saved.next <= now_.wall) job.next = saved.next;
}

void Planner::on(const RunCommand& event) {
  const auto refuse = [&](std::string why) {
    act(CommandDone{.command = event.command, .code = ExitCode::failed, .message = std::move(why)});
  };
  if (world_.shutting_down) return refuse("the daemon is stopping");
  const auto at = world_.jobs.find(event.job);
  if (at == world_.jobs.end() || at->second.task.removed) {
    if (world_.apps.contains(event.job))
      return refuse(
          fmt::format("'{0}' is an app; `muster start {0}` and `restart {0}` are for apps", event.job));
    std::string names;
    for (const auto& [name, job] : world_.jobs) {
      if (!job.task.removed) names += (names.empty() ? "" : ", ") + name;
    }
    return refuse(fmt::format("no job '{}'; there are: {}", event.job, names.empty() ? "none" : names));
  }
  JobWorld& job = at->second;
  if (job.job->overlap == spec::Overlap::forbid && !job.runs.empty())
    return refuse(fmt::format("{} is under way ({}), and its `overlap` forbids a second run", event.job,
                              job.runs.begin()->second.why));
  ask(job, JobRun{.why = "run by hand", .commands = {event.command}});
}

void Planner::ask(JobWorld& job, JobRun run) {
  if (!job.asked) {
    job.asked = std::move(run);
    return;
  }
  job.asked->commands.merge(run.commands);
}

void Planner::ask_when_due(JobWorld& job) {
  if (job.next && now_.wall >= *job.next) {
    const WallTime due = *job.next;
    std::string why = "due at " + rfc3339_s(due);
    if (now_.wall - due >= late_min) why += ", missed then";
    job.next = due_after(*job.job, now_.wall);
    changed();
    if (job.job->overlap == spec::Overlap::forbid && !job.runs.empty()) {
      note_app(Severity::warning, "skipped", job.name(),
               fmt::format("the run {} is left out: the one before is still under way", why));
    } else {
      ask(job, JobRun{.why = std::move(why)});
    }
  }
  if (!std::exchange(job.met, true) && job.job->runs_at_start())
    ask(job, JobRun{.why = "runs once per start of the daemon"});
  if (job.asked) return;
  for (const auto& [app, revision] : gates_of(job)) {
    if (!world_.apps.at(app).before->failure.empty()) continue;  // tried again by hand only
    return ask(job, JobRun{.why = fmt::format("before revision {} of {}", raw(revision), app)});
  }
}

// None: what is under way has to end first.
std::optional<int> Planner::free_place(JobWorld& job) {
  if (job.runs.empty()) return 0;
  switch (job.job->overlap) {
    case spec::Overlap::forbid:
      return std::nullopt;
    case spec::Overlap::replace:
      end_runs(job, Leaving::unwanted, "replaced by a new run");
      follow_runs(job);  // one between two tries is over at once
      return job.runs.empty() ? std::optional(0) : std::nullopt;
    case spec::Overlap::allow:
      break;
  }
  int place = 0;
  while (job.runs.contains(place)) ++place;
  return place < static_cast<int>(limits::job_runs_max) ? std::optional(place) : std::nullopt;
}

void Planner::begin_run(JobWorld& job) {
  if (!job.asked || !job.task.gate_open) return;
  if (world_.apps.contains(job.name())) return;  // an app of this name has not ended yet
  const auto place = free_place(job);
  if (!place) return;
  JobRun run = std::move(*job.asked);
  job.asked.reset();
  run.before = gates_of(job);
  job.runs.emplace(*place, std::move(run));
  static_cast<void>(slot_of(job.task, *place));
  start_try(job, *place);
}

// All that has ended is seen before anything begins: a run may be what another one, or a revision, waits for.
void Planner::follow_jobs() {
  for (auto& [name, job] : world_.jobs) {
    if (world_.shutting_down || job.task.removed) {
      const std::string why = world_.shutting_down ? "the daemon is stopping" : "removed from the file";
      if (job.asked) dismiss(*job.asked, why);
      job.asked.reset();
      end_runs(job, world_.shutting_down ? Leaving::shutdown : Leaving::unwanted, why);
    } else {
      ask_when_due(job);
    }
    follow_runs(job);
  }
  for (auto& [name, app] : world_.apps) {
    if (app.before && !app.removed && !world_.shutting_down) follow_gate(app);
  }
  for (auto& [name, job] : world_.jobs) {
    if (world_.shutting_down || job.task.removed) continue;
    open_gate(job.task);
    begin_run(job);
  }
  std::erase_if(world_.jobs,
                [](const auto& entry) { return entry.second.task.removed && entry.second.runs.empty(); });
}

}  // namespace muster::supervisor
