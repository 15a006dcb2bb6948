#include "simulator/story.h"

#include <algorithm>
#include <array>

#include "fmt/core.h"

namespace muster::sim {

namespace {
constexpr Nanos rest_limit = 2h;  // virtual, after the last step

class Teller {
 public:
  Teller(const std::shared_ptr<const spec::Spec>& stack, const Timeline& timeline)
      : timeline_(timeline), host_(HostOptions{.spec = stack}) {
    host_.conduct = [this](const Spawn& spawn) {
      const auto at = timeline_.behaviour.find(spawn.replica.app);
      return at == timeline_.behaviour.end() ? Conduct{} : at->second;
    };
    host_.watcher.after_step = [this](const std::vector<Action>& actions) { hear(actions); };
  }

  std::string tell() {
    const Instant begin = host_.now();
    host_.advance(Nanos{0});
    for (const TimedDeed& step : timeline_.steps) {
      const Nanos past = host_.now() - begin;  // a stall may have taken longer
      if (timeline_.length && step.at > *timeline_.length) break;
      if (step.at > past) host_.advance(step.at - past);
      line("> " + describe_deed(step.deed));
      perform(host_, step.deed);
    }
    if (timeline_.length) {
      const Nanos past = host_.now() - begin;
      if (*timeline_.length > past) host_.advance(*timeline_.length - past);
    } else {
      host_.advance(Nanos{0});
      if (!host_.advance_until([this] { return at_rest(); }, rest_limit) && !host_.ended())
        line("is not at rest after " + say_length(rest_limit));
    }
    return text_ + (host_.violation().empty() ? "" : "broken: " + host_.violation() + "\n") + "\n" + tables();
  }

 private:
  void line(const std::string& what) {
    const auto ms = std::chrono::duration_cast<Millis>(host_.uptime()).count();
    text_ += fmt::format("{:>9}.{:03}  {}\n", ms / 1000, ms % 1000, what);
  }

  void hear(const std::vector<Action>& actions) {
    for (const Action& action : actions) {
      if (const auto* note = std::get_if<Note>(&action)) {
        std::string who = note->app;
        if (note->ordinal) who += fmt::format("/{}", *note->ordinal);
        line(fmt::format("{:<10} {:<9} {}", who, note->kind, note->text));
      } else if (const auto* done = std::get_if<CommandDone>(&action)) {
        line(fmt::format("< {} (exit {})", done->message, static_cast<int>(done->code)));
      } else if (const auto* end = std::get_if<ExitDaemon>(&action)) {
        line(fmt::format("< muster ends with {}: {}", end->code, end->why));
      }
    }
  }

  [[nodiscard]] bool at_rest() const {
    const World& world = host_.world();
    if (!world.spec || world.in_use != world.published || world.shutting_down) return false;
    const auto lives = [](const auto& entry) { return entry.second.state == Process::State::running; };
    if (!std::ranges::all_of(host_.all(), lives) || !host_.unanswered().empty()) return false;
    return std::ranges::all_of(world.apps, [&](const auto& entry) {
      const AppState state = app_state(world, entry.second);
      const bool moves = state == AppState::updating || state == AppState::starting ||
                         state == AppState::degraded || state == AppState::waiting;
      return !moves && !(entry.second.rollout && entry.second.rollout->due);
    });
  }

  using Row = std::vector<std::string>;
  static std::string aligned(const std::vector<Row>& rows) {
    std::vector<std::size_t> widths(rows.front().size());
    for (const Row& row : rows) {
      for (std::size_t column = 0; column < row.size(); ++column)
        widths[column] = std::max(widths[column], row[column].size());
    }
    std::string text;
    for (const Row& row : rows) {
      std::string made;
      for (std::size_t column = 0; column < row.size(); ++column)
        made += fmt::format("{:<{}}", row[column], widths[column] + 2);
      text += made.substr(0, made.find_last_not_of(' ') + 1) + "\n";
    }
    return text;
  }

  [[nodiscard]] std::string tables() const {
    std::vector<Row> apps{{"APP", "STATE", "READY", "REVISION", "REASON"}};
    std::vector<Row> replicas{{"REPLICA", "STATE", "REVISION", "PID", "REASON"}};
    for (const auto& [name, app] : host_.world().apps) {
      const std::string hold = hold_text(app);
      const std::string reason = app_reason(host_.world(), app);
      apps.push_back({name, std::string(to_string(app_state(host_.world(), app))),
                      fmt::format("{}/{}", ready_count(app), app.desired()),
                      std::to_string(raw(app.revision)),
                      reason + (reason.empty() || hold.empty() || reason == hold ? "" : "; ") +
                          (reason == hold ? "" : hold)});
      for (const ReplicaView& view : replica_views(app)) {
        const bool lives = view.tenant != nullptr && view.tenant->started;
        const Revision revision = view.tenant != nullptr ? view.tenant->revision : app.revision;
        replicas.push_back({to_string(view.replica), std::string(to_string(view.phase)),
                            std::to_string(raw(revision)), lives ? std::to_string(view.tenant->pid) : "-",
                            view.reason});
      }
    }
    return aligned(apps) + "\n" + aligned(replicas);
  }

  const Timeline& timeline_;
  FakeHost host_;
  std::string text_;
};
}  // namespace

std::string tell_story(const std::shared_ptr<const spec::Spec>& stack, const Timeline& timeline) {
  return Teller(stack, timeline).tell();
}

}  // namespace muster::sim
