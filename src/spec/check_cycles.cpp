// `after` and `before` must lead somewhere: each cycle is reported once, with its whole path.
#include <algorithm>
#include <map>

#include "fmt/core.h"
#include "spec/draft.h"

namespace muster::spec {

namespace {

struct Participant {
  std::string name;
  std::vector<NamedMark> needs;
};

// Apps and jobs; an app needs the jobs that run before it.
std::vector<Participant> members_of(const Draft& draft) {
  std::vector<Participant> members;
  const auto add = [&members](const AppDraft& app) {
    Participant member{.name = app.app.name, .needs = {}};
    for (std::size_t i = 0; i < app.app.after.size(); ++i)
      member.needs.push_back({app.app.after[i].app, app.after_at[i]});
    members.push_back(std::move(member));
  };
  for (const AppDraft& app : draft.apps) add(app);
  for (const JobDraft& job : draft.jobs) add(job.task);
  std::map<std::string, std::size_t, std::less<>> apps;
  for (std::size_t i = 0; i < draft.apps.size(); ++i) apps.emplace(draft.apps[i].app.name, i);
  for (const JobDraft& job : draft.jobs) {
    for (std::size_t i = 0; i < job.job.before.size(); ++i) {
      const auto app = apps.find(job.job.before[i]);
      if (app != apps.end()) members[app->second].needs.push_back({job.task.app.name, job.before_at[i]});
    }
  }
  return members;
}

// Depth first without recursion: a chain of apps may be as long as there are apps.
class Cycles {
 public:
  Cycles(const Reader& reader, const Draft& draft)
      : reader_(reader), members_(members_of(draft)), seen_(members_.size()) {
    for (std::size_t i = 0; i < members_.size(); ++i) index_.emplace(members_[i].name, i);
    jobs_first_ =
        std::ranges::any_of(draft.jobs, [](const JobDraft& job) { return !job.job.before.empty(); });
  }

  void run() {
    for (std::size_t start = 0; start < members_.size(); ++start) {
      if (seen_[start] != Seen::never) continue;
      enter(start);
      while (!path_.empty()) step();
    }
  }

 private:
  enum class Seen : char { never, on_path, done };
  struct Visit {
    std::size_t member;
    std::size_t next = 0;  // dependency to look at
  };

  void enter(std::size_t member) {
    seen_[member] = Seen::on_path;
    path_.push_back({member});
  }

  void step() {
    Visit& visit = path_.back();
    const Participant& member = members_[visit.member];
    if (visit.next == member.needs.size()) {
      seen_[visit.member] = Seen::done;
      path_.pop_back();
      return;
    }
    const NamedMark& needed = member.needs[visit.next++];
    const auto found = index_.find(needed.name);
    if (found == index_.end()) return;  // unknown: reported elsewhere
    if (seen_[found->second] == Seen::never)
      enter(found->second);
    else if (seen_[found->second] == Seen::on_path)
      report(found->second, needed.at);
  }

  void report(std::size_t first, Mark at) {
    auto visit = std::ranges::find(path_, first, &Visit::member);
    std::string path;
    for (; visit != path_.end(); ++visit) path += members_[visit->member].name + " -> ";
    reader_.error(at, fmt::format("a cycle in `after`{}: {}{}", jobs_first_ ? " and `before`" : "", path,
                                  members_[first].name));
  }

  const Reader& reader_;
  const std::vector<Participant> members_;
  bool jobs_first_ = false;
  std::map<std::string, std::size_t, std::less<>> index_;
  std::vector<Seen> seen_;
  std::vector<Visit> path_;
};

}  // namespace

void check_cycles(const Reader& reader, const Draft& draft) {
  Cycles(reader, draft).run();
}

}  // namespace muster::spec
