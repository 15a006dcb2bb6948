// The jobs of random specs.
#include <algorithm>

#include "sim/random_spec.h"
#include "spec/cron_text.h"

namespace muster::sim {

std::shared_ptr<const spec::Spec> RandomSpec::current() const {
  spec::Spec made = *spec_of(apps_, listeners_);
  made.jobs = jobs_;
  std::ranges::sort(made.jobs, {}, &spec::Job::name);
  return std::make_shared<const spec::Spec>(std::move(made));
}

spec::Job RandomSpec::new_job() {
  spec::Job job;
  job.task =
      app(std::string(1, static_cast<char>('a' + random_.below(26))) + "job" + std::to_string(names_++));
  job.task.health.always = true;
  job.task.restart.backoff = random_.millis(500, 1500);
  job.task.stop.timeout = random_.millis(200, 3000);
  if (random_.percent(15)) set_volume(job.task, "data");
  job.overlap = static_cast<spec::Overlap>(random_.below(3));
  job.retries = random_.percent(50) ? 0 : random_.between(1, 3);
  if (random_.percent(40)) job.timeout = random_.millis(500, 5000);
  if (random_.percent(40)) {
    job.schedule = spec::parse_cron(random_.percent(50) ? "* * * * *" : "*/7 * * * *").value();
    job.zone = std::make_shared<const spec::TimeZone>();
  }
  const auto count = static_cast<int>(apps_.size());
  if (count == 0) return job;
  const int border = random_.below(count);
  for (int index = 0; index < count; ++index) {
    spec::App& app = apps_[static_cast<std::size_t>(index)];
    if (index < border && random_.percent(20)) set_after(job.task, app.name);
    if (index >= border && random_.percent(40)) job.before.push_back(app.name);
  }
  const bool needs_nobody = job.task.after.empty();
  spec::App& last = apps_.back();
  if (needs_nobody && !job.schedule && random_.percent(30))
    set_after(last, job.name(), static_cast<spec::AfterCondition>(random_.between(1, 3)));
  return job;
}

void RandomSpec::remove_job(std::size_t index) {
  const std::string name = jobs_[index].name();
  jobs_.erase(jobs_.begin() + static_cast<std::ptrdiff_t>(index));
  for (spec::App& app : apps_) {
    std::erase_if(app.after, [&](const spec::Dependency& dependency) { return dependency.app == name; });
  }
}

// An app that goes is nobody's business any more.
void RandomSpec::forget_app(const std::string& name) {
  for (spec::Job& job : jobs_) {
    std::erase(job.before, name);
    std::erase_if(job.task.after, [&](const spec::Dependency& dependency) { return dependency.app == name; });
  }
}

void RandomSpec::edit_jobs() {
  constexpr std::size_t jobs_max = 3;
  if (jobs_.empty() || (jobs_.size() < jobs_max && random_.percent(30))) return jobs_.push_back(new_job());
  const auto index = static_cast<std::size_t>(random_.below(static_cast<int>(jobs_.size())));
  spec::Job& job = jobs_[index];
  switch (random_.below(5)) {
    case 0:
      return remove_job(index);
    case 1:
      return set_run(job.task, "./run " + std::to_string(revisions_++));
    case 2:
      job.retries = random_.between(0, 3);
      return;
    case 3:
      return job.before.clear();
    default:
      job.timeout = random_.millis(500, 5000);
  }
}

}  // namespace muster::sim
