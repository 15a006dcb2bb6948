#include "supervisor/job_json.h"

#include <cmath>

#include "fmt/core.h"
#include "supervisor/text.h"

namespace muster::supervisor {

namespace json = boost::json;

namespace {

constexpr std::size_t events_shown_max = 12;

json::value text_or_null(const std::string& sentence) {
  return sentence.empty() ? json::value(nullptr) : json::value(escape_for_terminal(sentence));
}

json::value time_or_null(const std::optional<WallTime>& at) {
  return at ? json::value(rfc3339_s(*at)) : json::value(nullptr);
}

json::value end_json(const std::optional<JobEnd>& end) {
  if (!end) return nullptr;
  const ExitStatus& status = end->exit.status;
  return json::object{
      {"code", status.code ? json::value(*status.code) : json::value(nullptr)},
      {"signal", status.signal ? json::value(signal_name(*status.signal)) : json::value(nullptr)},
      {"reason", escape_for_terminal(end->exit.reason)},
      {"at", rfc3339_s(end->exit.at)},
      {"ok", end->ok}};
}

json::object run_json(const Slot& slot, const JobRun& run, const StatusInput& input) {
  json::object row;
  row["id"] = to_string(slot.replica);
  row["ordinal"] = slot.replica.ordinal;
  row["why"] = escape_for_terminal(run.why);
  row["try"] = run.tries;
  const Tenant* tenant = slot.tenants.empty() ? nullptr : &slot.tenants.front();
  const bool runs = tenant != nullptr && tenant->started && !tenant->exited;
  row["pid"] = runs ? json::value(tenant->pid) : json::value(nullptr);
  row["reason"] = text_or_null(tenant != nullptr ? tenant->reason : slot.reason);
  row["since"] = rfc3339_s(tenant != nullptr ? tenant->since : slot.since);
  row["uptime_s"] = nullptr;
  if (runs) {
    const double exact = std::chrono::duration<double>(input.now.mono - tenant->started_at).count();
    row["uptime_s"] = std::round(exact * 1000.0) / 1000.0;
  }
  const auto usage = tenant == nullptr ? input.usage.end() : input.usage.find(tenant->id);
  const bool known = usage != input.usage.end();
  row["cpu_percent"] =
      known ? json::value(std::round(usage->second.cpu_percent * 10.0) / 10.0) : json::value(nullptr);
  row["memory_bytes"] = known ? json::value(usage->second.memory_bytes) : json::value(nullptr);
  row["limits"] = tenant == nullptr ? json::object() : limits_json(input.limits, tenant->id);
  return row;
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

// What starts it, in one sentence.
std::string trigger_text(const JobWorld& job) {
  const spec::Job& said = *job.job;
  std::string text;
  if (said.schedule)
    text = fmt::format("its schedule is {} by the clocks of {}", said.schedule->text,
                       said.timezone.empty() ? "this host" : said.timezone);
  if (!said.before.empty())
    text += fmt::format("{}it runs before each new revision of {}", text.empty() ? "" : "; ",
                        joined(said.before));
  return text.empty() ? "it runs once per start of the daemon" : text;
}

json::array chain_of(const JobWorld& job, const WhyInput& input) {
  json::array chain;
  const auto add = [&chain](const std::string& sentence) {
    chain.push_back(json::value(escape_for_terminal(sentence)));
  };
  const std::string reason = job_reason(job);
  add(fmt::format("{} is {}{}", job.name(), to_string(job_state(job)), reason.empty() ? "" : ": " + reason));
  add(trigger_text(job));
  for (const auto& [ordinal, run] : job.runs) {
    const Slot& slot = job.task.slots.at(ordinal);
    std::string line = fmt::format("{}: {}, try {} of {}", to_string(slot.replica), run.why, run.tries,
                                   job.job->retries + 1);
    if (!slot.tenants.empty() && slot.tenants.front().started)
      line += fmt::format(" (pid {})", slot.tenants.front().pid);
    if (slot.tenants.empty()) line += ": " + slot.reason;
    add(line);
    if (!slot.tenants.empty()) {
      const std::string limits = limits_line(input.limits, slot.tenants.front().id);
      if (!limits.empty()) add(limits);
    }
    if (slot.phase == Phase::backoff && slot.next_start)
      add(fmt::format(
          "next try in {:.1f} s",
          std::max(0.0, std::chrono::duration<double>(*slot.next_start - input.now.mono).count())));
  }
  if (job.asked && !job.runs.empty()) add("another run waits: " + job.asked->why);
  if (job.last) add(fmt::format("last end: {} at {}", job.last->exit.reason, rfc3339_s(job.last->exit.at)));
  if (!input.world->spec_error.empty()) add("the newest file is not used: " + input.world->spec_error);
  const std::size_t first =
      input.events.size() > events_shown_max ? input.events.size() - events_shown_max : 0;
  for (std::size_t i = first; i < input.events.size(); ++i) {
    const LoggedEvent& event = input.events[i];
    std::string who = event.note.app;
    if (event.note.ordinal) who += fmt::format("/{}", *event.note.ordinal);
    add(fmt::format("{} {} {}: {}", rfc3339_s(event.time), who, event.note.kind, event.note.text));
  }
  return chain;
}

}  // namespace

json::array jobs_json(const StatusInput& input) {
  json::array rows;
  for (const auto& [name, job] : input.world->jobs) {
    json::object row;
    row["name"] = name;
    row["state"] = to_string(job_state(job));
    row["reason"] = text_or_null(job_reason(job));
    row["schedule"] = job.job->schedule ? text_or_null(job.job->schedule->text) : json::value(nullptr);
    row["timezone"] = text_or_null(job.job->timezone);
    row["next"] = time_or_null(job.next);
    row["last"] = end_json(job.last);
    json::array runs;
    for (const auto& [ordinal, run] : job.runs)
      runs.push_back(run_json(job.task.slots.at(ordinal), run, input));
    row["runs"] = std::move(runs);
    rows.push_back(std::move(row));
  }
  return rows;
}

std::optional<std::string> job_why_json(const WhyInput& input) {
  const auto at = input.world->jobs.find(input.app);
  if (at == input.world->jobs.end()) return std::nullopt;
  const JobWorld& job = at->second;
  return why_body(input, to_string(job_state(job)), job_reason(job), chain_of(job, input));
}

}  // namespace muster::supervisor
