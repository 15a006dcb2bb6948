// New revisions that wait for jobs: each job with the app in its `before` has to succeed first. Meanwhile the revision
// before runs on; when a job fails, it stays. The first revision of an app has nothing to fall back to: its replicas
// wait until a run succeeds.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "fmt/core.h"
#include "spec/load.h"
#include "supervisor/planner.h"
#include "supervisor/revision_codec.h"

namespace muster::supervisor {

namespace {
PastRevision& revision_of(AppWorld& app, Revision number) {
  const auto at = std::ranges::find(app.history, number, &PastRevision::number);
  MUSTER_CHECK(at != app.history.end());
  return *at;
}
}  // namespace

std::vector<std::string> Planner::jobs_before(const AppWorld& app) const {
  std::vector<std::string> names;
  for (const auto& [name, job] : world_.jobs) {
    const auto& before = job.job->before;
    if (!job.task.removed && std::ranges::find(before, app.file->name) != before.end()) names.push_back(name);
  }
  return names;
}

// Those that no run under way is for.
std::map<std::string, Revision> Planner::gates_of(const JobWorld& job) const {
  std::map<std::string, Revision> gates;
  for (const std::string& name : job.job->before) {
    const auto at = world_.apps.find(name);
    if (at == world_.apps.end() || at->second.removed || !at->second.before) continue;
    const BeforeGate& gate = *at->second.before;
    const bool covered = std::ranges::any_of(job.runs, [&](const auto& entry) {
      const JobRun& run = entry.second;
      const auto mine = run.before.find(name);
      return !run.stopped && mine != run.before.end() && mine->second == gate.number;
    });
    if (!covered && !gate.passed.contains(job.name())) gates.emplace(name, gate.number);
  }
  return gates;
}

// The file's revision waits; what needs no new processes holds for those that run.
void Planner::hold_back(AppWorld& app) {
  PastRevision& said = revision_of(app, app.file_revision);
  said.app = app.file;
  said.admitted = false;
  const bool known = app.before && app.before->number == app.file_revision;
  BeforeGate gate = known ? std::move(*app.before) : BeforeGate{.number = app.file_revision};
  if (!in_force(app).admitted) {
    put_in_force(app, app.file_revision, app.file, false);
    app.gate_open = false;
  } else {
    app.app = std::make_shared<const spec::App>(with_settings_of(*app.file, *app.app));
    change_live(app);
  }
  app.before = std::move(gate);
  changed();
}

void Planner::bring_in_file(AppWorld& app) {
  if (!revision_of(app, app.file_revision).admitted && !jobs_before(app).empty()) return hold_back(app);
  put_in_force(app, app.file_revision, app.file, false);
}

// An app that the daemon meets; `is_new`: with a revision that was not there before.
void Planner::await_jobs_of_first(AppWorld& app, bool is_new) {
  PastRevision& said = revision_of(app, app.file_revision);
  const bool none = jobs_before(app).empty();
  if (is_new || none) said.admitted = none;
  const bool given_up = !said.failure.empty() && app.revision != app.file_revision;
  if (said.admitted || given_up || app.undone) return;
  app.before = BeforeGate{.number = app.file_revision};
}

void Planner::admit(AppWorld& app) {
  const bool comes = waits_for_jobs(app);
  const Revision number = app.before->number;
  revision_of(app, number).admitted = true;
  app.before.reset();
  changed();
  note_app(Severity::info, "revision", app.file->name,
           fmt::format("the jobs before revision {} have succeeded", raw(number)));
  if (comes) put_in_force(app, number, app.file, false);
}

void Planner::follow_gate(AppWorld& app) {
  BeforeGate& gate = *app.before;
  std::string reason;
  for (const std::string& name : jobs_before(app)) {
    if (gate.passed.contains(name)) continue;
    const JobWorld& job = world_.jobs.at(name);
    const std::string its = job_state(job) == JobState::waiting && job.asked ? job_reason(job) : "";
    reason += fmt::format("{}job {}{}", reason.empty() ? "waits for " : ", ", name,
                          its.empty() ? "" : ", which " + its);
  }
  if (reason.empty()) return admit(app);
  gate.reason = gate.failure.empty() ? reason : gate.failure + "; `apply --retry` tries it again";
}

void Planner::gate_failed(AppWorld& app, const std::string& why) {
  const std::string& name = app.file->name;
  const Revision number = app.before->number;
  if (!waits_for_jobs(app)) {
    const PastRevision* good = fallback(app);
    if (good != nullptr && app.app->update.rollback && ports_lost(app, *good).empty()) {
      app.before.reset();
      return fail_rollout(app, why);
    }
    app.before->failure = fmt::format("revision {} waits: {}", raw(number), why);
    return note_app(Severity::error, "rollout", name, app.before->failure);
  }
  revision_of(app, number).failure = why;
  app.before.reset();
  changed();
  const std::string whole =
      fmt::format("revision {} failed: {}; revision {} runs on", raw(number), why, raw(app.revision));
  note_app(Severity::error, "rollout", name, whole);
  for (Waiter& waiter : waiters_) {
    if (waiter.apps.contains(name) && waiter.verdict.empty())
      waiter.verdict = fmt::format("{}: {}", name, whole);
  }
}

void Planner::tell_gates(const JobRun& run, const std::string& job) {
  if (run.stopped) return;
  for (const auto& [name, revision] : run.before) {
    const auto at = world_.apps.find(name);
    if (at == world_.apps.end() || !at->second.before || at->second.before->number != revision) continue;
    if (run.ok) {
      at->second.before->passed.insert(job);
    } else {
      gate_failed(at->second, fmt::format("job {} before it failed: {}", job, run.outcome));
    }
  }
}

}  // namespace muster::supervisor
