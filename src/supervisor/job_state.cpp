// What a job is doing, and why.
#include <algorithm>

#include "fmt/core.h"
#include "supervisor/text.h"
#include "supervisor/world.h"

namespace muster::supervisor {

std::string_view to_string(JobState state) {
  switch (state) {
    case JobState::waiting:
      return "waiting";
    case JobState::starting:
      return "starting";
    case JobState::running:
      return "running";
    case JobState::stopping:
      return "stopping";
    case JobState::backoff:
      return "backoff";
    case JobState::completed:
      return "completed";
    case JobState::failed:
      return "failed";
  }
  return "";
}

bool JobEnd::operator==(const JobEnd& other) const {
  return ok == other.ok && exit.reason == other.exit.reason && exit.at == other.exit.at &&
         exit.status.code == other.exit.status.code && exit.status.signal == other.exit.status.signal;
}

namespace {
JobState state_of(const Slot& slot) {
  if (slot.tenants.empty()) return JobState::backoff;
  const Tenant& tenant = slot.tenants.front();
  if (tenant.is_leaving()) return JobState::stopping;
  return tenant.started ? JobState::running : JobState::starting;
}

std::string text_of(const std::vector<std::string>& apps) {
  std::string text;
  for (const std::string& app : apps) text += (text.empty() ? "" : ", ") + app;
  return text;
}
}  // namespace

JobState job_state(const JobWorld& job) {
  // Of several runs the one that is best off.
  std::optional<JobState> best;
  for (const auto& [ordinal, slot] : job.task.slots) {
    const JobState state = state_of(slot);
    if (!best || state == JobState::running) best = state;
  }
  if (best) return *best;
  if (job.asked || job.job->schedule || !job.ended_ok) return JobState::waiting;
  return *job.ended_ok ? JobState::completed : JobState::failed;
}

std::string job_reason(const JobWorld& job) {
  const JobState state = job_state(job);
  for (const auto& [ordinal, slot] : job.task.slots) {
    if (state != JobState::running && state == state_of(slot))
      return slot.tenants.empty() ? slot.reason : slot.tenants.front().reason;
  }
  if (state == JobState::failed) return job.last ? job.last->exit.reason : "failed";
  if (state != JobState::waiting) return "";
  if (job.asked) {
    if (!job.task.gate_open && !job.task.gate_reason.empty()) return job.task.gate_reason;
    return job.runs.empty() ? "is about to begin" : "waits for the end of the run under way";
  }
  std::string text;
  if (job.next) text = "due at " + rfc3339_s(*job.next);
  if (!job.next && !job.job->before.empty())
    text = "runs before each new revision of " + text_of(job.job->before);
  if (text.empty())
    text = fmt::format("runs at the next start of the daemon, or by `muster run {}`", job.name());
  if (job.last && !job.last->ok) text += fmt::format("; the last run failed: {}", job.last->exit.reason);
  return text;
}

}  // namespace muster::supervisor
