// What must hold for jobs after every step.
#include <algorithm>
#include <set>

#include "fmt/core.h"
#include "sim/invariants.h"
#include "sim/sim_host.h"

namespace muster::sim {

void Invariants::check_jobs() {
  const World& world = host_.world();
  std::map<std::string, int> living;
  std::set<ReplicaId> places;
  for (const auto& [id, process] : host_.all()) {
    if (process.state == Process::State::gone || !world.jobs.contains(process.replica.app)) continue;
    ++living[process.replica.app];
    if (!places.insert(process.replica).second)
      return host_.violate("two processes are in the place of " + to_string(process.replica));
  }
  for (const auto& [name, job] : world.jobs) {
    if (job.job->overlap != spec::Overlap::allow && living[name] > 1)
      return host_.violate(
          fmt::format("{} has {} processes, and its runs may not overlap", name, living[name]));
    if (job.runs.size() != job.task.slots.size())
      return host_.violate(
          fmt::format("{} has {} runs in {} places", name, job.runs.size(), job.task.slots.size()));
    for (const auto& [ordinal, run] : job.runs) {
      if (run.over && job.task.slots.at(ordinal).tenants.empty())
        return host_.violate(fmt::format("a run of {} is over and still there", name));
      if (run.tries > job.job->retries + 1 && job.job->retries >= most_retries_[name])
        return host_.violate(fmt::format("a run of {} has {} tries", name, run.tries));
    }
    most_retries_[name] = std::max(most_retries_[name], job.job->retries);
    if (job_state(job) != JobState::running && job_state(job) != JobState::completed &&
        job_reason(job).empty())
      return host_.violate(fmt::format("job {} is {} without a reason", name, to_string(job_state(job))));
  }
  // No process of a revision whose jobs have not succeeded.
  for (const auto& [name, app] : world.apps) {
    for (const auto& [ordinal, slot] : app.slots) {
      for (const Tenant& tenant : slot.tenants) {
        const PastRevision* mine = past_revision(app, tenant.revision);
        if (mine != nullptr && !mine->admitted)
          return host_.violate(fmt::format("{} runs revision {}, which the jobs before it have not let in",
                                           to_string(tenant.replica), raw(tenant.revision)));
      }
    }
  }
}

std::string Invariants::unfinished_jobs() const {
  const World& world = host_.world();
  for (const spec::Job& job : world.spec->jobs) {
    const auto at = world.jobs.find(job.name());
    if (at == world.jobs.end() || at->second.task.removed) return "job " + job.name() + " is missing";
  }
  for (const auto& [name, job] : world.jobs) {
    if (job.task.removed) return "job " + name + " was removed and is still there";
    if (!job.runs.empty()) return "a run of " + name + " is under way";
    if (job.asked && job.task.gate_open) return "a run of " + name + " is due";
  }
  return "";
}

}  // namespace muster::sim
