// The way from one revision to the next: how far it is, when it has failed, and what it goes back to.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/limits.h"
#include "fmt/core.h"
#include "spec/load.h"
#include "supervisor/planner.h"
#include "supervisor/revision_codec.h"

namespace muster::supervisor {

namespace {
constexpr std::uint64_t answers_min = 50;  // of each revision, before they are compared
constexpr double points_max = 5.0;         // by which the share of errors may be above the old one's

double percent(const Answers& answers) {
  return 100.0 * static_cast<double>(answers.errors) / static_cast<double>(answers.all);
}

bool enough(const Rollout& rollout) {
  return rollout.old_answers.all >= answers_min && rollout.new_answers.all >= answers_min;
}

// Empty: it answers no worse, or too few requests tell.
std::string worse_answers(const Rollout& rollout) {
  if (!enough(rollout)) return "";
  const double before = percent(rollout.old_answers);
  const double now = percent(rollout.new_answers);
  if (now <= before + points_max) return "";
  return fmt::format("it answers worse: {} of {} with 5xx ({:.1f} %), the old one {} of {} ({:.1f} %)",
                     rollout.new_answers.errors, rollout.new_answers.all, now, rollout.old_answers.errors,
                     rollout.old_answers.all, before);
}

std::string seconds(Nanos length) {
  return fmt::format("{:.1f} s", std::chrono::duration<double>(length).count());
}

// What the first replica that does not count is up to.
std::string what_it_waits_for(const AppWorld& app) {
  for (const ReplicaView& view : replica_views(app)) {
    const bool is_new = view.tenant == nullptr || view.tenant->revision == app.revision;
    const bool fine = view.phase == Phase::ready || view.phase == Phase::completed;
    if (is_new && !fine && !view.reason.empty())
      return fmt::format("; {} is {}: {}", to_string(view.replica), to_string(view.phase), view.reason);
  }
  return "";
}
}  // namespace

namespace {
// The first and the last numbered port of each kind; none: 0 to -1.
std::vector<std::pair<int, int>> port_ranges(const spec::App& app, int replicas) {
  std::vector<std::pair<int, int>> ranges;
  const auto add = [&](const spec::Port& port) {
    if (port.kind == spec::PortKind::numbered) ranges.emplace_back(port.base, port.base + replicas - 1);
  };
  add(app.port);
  for (const spec::NamedPort& named : app.ports) add(named.port);
  return ranges;
}

bool overlap(const spec::App& one, int replicas, const spec::App& other, int other_replicas) {
  return std::ranges::any_of(port_ranges(one, replicas), [&](const auto& mine) {
    return std::ranges::any_of(port_ranges(other, other_replicas), [&](const auto& theirs) {
      return mine.first <= theirs.second && theirs.first <= mine.second;
    });
  });
}
}  // namespace

// The file gave its ports to another app meanwhile: it cannot run again. Empty: it can.
std::string Planner::ports_lost(const AppWorld& app, const PastRevision& past) const {
  // As many as may come back: an app that is scaled to 0 keeps its ports.
  const auto replicas = [](const AppWorld& of) {
    return std::max({1, of.desired(), of.file->replicas_max()});
  };
  for (const auto& [name, other] : world_.apps) {
    if (&other == &app || other.removed) continue;
    if (overlap(*past.app, replicas(app), *other.app, replicas(other)) ||
        overlap(*past.app, replicas(app), *other.file, replicas(other)))
      return fmt::format("the ports of revision {} are now those of {}", raw(past.number), name);
  }
  return "";
}

PastRevision& Planner::in_force(AppWorld& app) {
  const auto at = std::ranges::find(app.history, app.revision, &PastRevision::number);
  MUSTER_CHECK(at != app.history.end());
  return *at;
}

// What an edit brought back under a new number is no other revision to go back to.
const PastRevision* Planner::fallback(const AppWorld& app) {
  for (auto at = app.history.rbegin(); at != app.history.rend(); ++at) {
    const bool good = at->number != app.revision && at->was_ready && at->failure.empty();
    if (good && spec::revision_text(*at->app) != app.revision_text) return &*at;
  }
  return nullptr;
}

// The oldest go, but never what is in force, what the file says, or what there is to go back to.
void Planner::remember(AppWorld& app, Revision number, std::shared_ptr<const spec::App> settings) {
  app.history.push_back({.number = number, .app = std::move(settings), .since = now_.wall, .failure = {}});
  while (app.history.size() > limits::revisions_kept_max) {
    const PastRevision* good = fallback(app);
    const auto oldest = std::ranges::find_if(app.history, [&](const PastRevision& past) {
      return past.number != app.revision && past.number != app.file_revision && &past != good;
    });
    if (oldest == app.history.end()) return;
    app.history.erase(oldest);
  }
}

// What the file says is a revision that was not there before.
void Planner::new_revision(AppWorld& app) {
  Revision newest = app.revision;
  for (const PastRevision& past : app.history) newest = std::max(newest, past.number);
  app.file_revision = Revision{raw(newest) + 1};
  remember(app, app.file_revision, app.file);
  if (!jobs_before(app).empty()) return hold_back(app);
  put_in_force(app, app.file_revision, app.file, false);
}

// `back`: to something that ran before, or by hand; from there it goes back no further.
void Planner::put_in_force(AppWorld& app, Revision number, std::shared_ptr<const spec::App> settings,
                           bool back) {
  // A newer one that waits for jobs goes on waiting when the one in force has failed.
  const bool newer_waits = back && !app.undone && waits_for_jobs(app);
  if (!newer_waits) app.before.reset();
  app.app = std::move(settings);
  app.revision = number;
  app.revision_text = spec::revision_text(*app.app);
  note_app(Severity::info, "revision", app.app->name, fmt::format("revision {}", raw(number)));
  begin_rollout(app, back);
  for (auto& [ordinal, slot] : app.slots) {
    slot.starts = slot.failures = slot.failures_unready = 0;
    slot.failure_times.clear();
    if (slot.phase == Phase::backoff || slot.phase == Phase::failed || slot.phase == Phase::completed)
      set_idle(slot, Phase::waiting, fmt::format("revision {} is to be started", raw(number)));
  }
  change_live(app);
  changed();
}

void Planner::begin_rollout(AppWorld& app, bool back) {
  const bool judged = !back && !in_force(app).was_ready && fallback(app) != nullptr;
  app.rollout = Rollout{.began = now_.mono, .progress = now_.mono, .due = std::nullopt, .judged = judged};
  for (auto& [ordinal, slot] : app.slots) {
    for (Tenant& tenant : slot.tenants) tenant.counted.reset();
  }
}

void Planner::on(const AnswersCounted& event) {
  for (const auto& [id, answers] : event.by_instance) {
    const Place place = find(id);
    if (!place || !place.app->rollout) continue;
    Tenant& tenant = *place.tenant;
    Rollout& rollout = *place.app->rollout;
    // One that is older than the rollout has answered before it.
    if (!tenant.counted) tenant.counted = tenant.spawned_at < rollout.began ? answers : Answers{};
    Answers& sum = tenant.revision == place.app->revision ? rollout.new_answers : rollout.old_answers;
    sum.all += answers.all - std::min(answers.all, tenant.counted->all);
    sum.errors += answers.errors - std::min(answers.errors, tenant.counted->errors);
    tenant.counted = answers;
  }
}

bool Planner::wants_answers() const {
  return std::ranges::any_of(
      world_.apps, [](const auto& entry) { return entry.second.rollout && entry.second.rollout->judged; });
}

Planner::Tally Planner::tally(const AppWorld& app) const {
  Tally tally;
  for (int ordinal = 0; ordinal < app.desired(); ++ordinal) {
    const auto at = app.slots.find(ordinal);
    if (at != app.slots.end() && !wanted(app, at->second)) continue;
    ++tally.wanted;
    if (at == app.slots.end()) continue;
    const Slot& slot = at->second;
    const bool counts = std::ranges::any_of(
        slot.tenants, [&](const Tenant& tenant) { return current(app, tenant) && available(app, tenant); });
    if (counts || (slot.tenants.empty() && slot.phase == Phase::completed)) ++tally.available;
  }
  return tally;
}

void Planner::follow_rollout(AppWorld& app) {
  Rollout& rollout = *app.rollout;
  const Tally now = tally(app);
  rollout.due.reset();
  if (now.wanted == 0 || !app.gate_open) {  // nothing of it can run: its time does not pass
    rollout.progress = now_.mono;
    if (app.desired() == 0) app.rollout.reset();
    return;
  }
  if (rollout.judged) {
    if (const std::string worse = worse_answers(rollout); !worse.empty()) return fail_rollout(app, worse);
    const Instant due = rollout.progress + app.app->update.deadline;
    if (rollout.done && (enough(rollout) || now_.mono >= due)) return app.rollout.reset();
    rollout.due = due;
  }
  if (rollout.done) return;
  if (now.available > rollout.available) {
    rollout.available = now.available;
    rollout.progress = now_.mono;
    if (rollout.judged) rollout.due = rollout.progress + app.app->update.deadline;
  }
  if (now.available == now.wanted && !is_rolling(app)) return finish_rollout(app);
  if (!rollout.due || now_.mono < *rollout.due) return;
  fail_rollout(
      app, fmt::format("no further replica became ready within {}, {} of {} are{}",
                       seconds(app.app->update.deadline), now.available, now.wanted, what_it_waits_for(app)));
}

// Its answers are watched on where the old one gave enough to compare them with.
void Planner::finish_rollout(AppWorld& app) {
  PastRevision& mine = in_force(app);
  mine.was_ready = true;
  mine.failure.clear();
  changed();
  Rollout& rollout = *app.rollout;
  rollout.done = true;
  rollout.progress = now_.mono;
  const bool watched = rollout.judged && rollout.old_answers.all >= answers_min && !enough(rollout);
  if (!watched) return app.rollout.reset();
  rollout.due = rollout.progress + app.app->update.deadline;
}

void Planner::fail_rollout(AppWorld& app, const std::string& why) {
  PastRevision& mine = in_force(app);
  mine.failure = why;
  mine.was_ready = false;
  changed();
  const std::string& name = app.app->name;
  const std::string sentence = fmt::format("revision {} failed: {}", raw(app.revision), why);
  const PastRevision* good = fallback(app);
  const std::string lost = good == nullptr ? "" : ports_lost(app, *good);
  if (!app.app->update.rollback || good == nullptr || !lost.empty()) {
    if (!lost.empty()) mine.failure += "; " + lost;
    note_app(Severity::error, "rollout", name,
             fmt::format("{}{}{}; it stays as it is", sentence, lost.empty() ? "" : "; ", lost));
    app.rollout.reset();
    // It takes no further step; what was asked for at once must not come with a later edit.
    for (auto& [ordinal, slot] : app.slots) {
      for (Tenant& tenant : slot.tenants) tenant.at_once = false;
    }
    return;
  }
  const std::string whole = fmt::format("{}; back to revision {}", sentence, raw(good->number));
  note_app(Severity::error, "rollout", name, whole);
  for (Waiter& waiter : waiters_) {
    if (waiter.apps.contains(name) && waiter.verdict.empty())
      waiter.verdict = fmt::format("{}: {}", name, whole);
  }
  put_in_force(app, good->number, std::make_shared<const spec::App>(with_settings_of(*app.file, *good->app)),
               true);
}

// By hand: to the revision before the one in force, until the file is edited or the hold is ended.
void Planner::on(const UndoCommand& event) {
  AppWorld* app = command_app(event.command, Target{.app = event.app, .ordinal = std::nullopt});
  if (app == nullptr) return;
  const PastRevision* before = nullptr;
  for (const PastRevision& past : app->history) {
    const bool runs = past.number == app->revision && waits_for_jobs(*app);
    // The same text under an older number is nothing to go back to, and what the file says is no hold.
    const std::string text = spec::revision_text(*past.app);
    const bool other = text != app->revision_text && text != spec::revision_text(*app->file);
    if (((past.number < app->revision && other) || runs) && past.failure.empty() && past.admitted)
      before = &past;
  }
  if (before == nullptr) {
    act(CommandDone{
        .command = event.command,
        .code = ExitCode::failed,
        .message = fmt::format("{} has no revision before {} to go back to", event.app, raw(app->revision))});
    return;
  }
  if (const std::string lost = ports_lost(*app, *before); !lost.empty())
    return act(CommandDone{.command = event.command, .code = ExitCode::failed, .message = lost});
  app->undone = true;
  note_app(Severity::info, "undo", event.app,
           fmt::format("rolled back by hand to revision {}", raw(before->number)));
  put_in_force(*app, before->number,
               std::make_shared<const spec::App>(with_settings_of(*app->file, *before->app)), true);
  wait_for(event.command, {event.app}, std::nullopt, fmt::format("back to revision {}", raw(before->number)));
}

// The end of that hold: what the file says is tried again.
void Planner::redo(AppWorld& app) {
  if (!std::exchange(app.undone, false)) return;
  note_app(Severity::info, "hold", app.app->name, "the file's revision is in force again");
  const auto at = std::ranges::find(app.history, app.file_revision, &PastRevision::number);
  MUSTER_CHECK(at != app.history.end());
  at->failure.clear();
  bring_in_file(app);
}

}  // namespace muster::supervisor
