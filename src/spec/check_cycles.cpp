// `after` must lead somewhere: each cycle is reported once, with its whole path.
#include <algorithm>
#include <map>

#include "fmt/core.h"
#include "spec/draft.h"

namespace muster::spec {

namespace {

// Depth first without recursion: a chain of apps may be as long as there are apps.
class Cycles {
 public:
  Cycles(const Reader& reader, const Draft& draft)
      : reader_(reader), draft_(draft), seen_(draft.apps.size()) {
    for (std::size_t i = 0; i < draft.apps.size(); ++i) index_.emplace(draft.apps[i].app.name, i);
  }

  void run() {
    for (std::size_t start = 0; start < draft_.apps.size(); ++start) {
      if (seen_[start] != Seen::never) continue;
      enter(start);
      while (!path_.empty()) step();
    }
  }

 private:
  enum class Seen : char { never, on_path, done };
  struct Visit {
    std::size_t app;
    std::size_t next = 0;  // dependency to look at
  };

  void enter(std::size_t app) {
    seen_[app] = Seen::on_path;
    path_.push_back({app});
  }

  void step() {
    Visit& visit = path_.back();
    const AppDraft& draft = draft_.apps[visit.app];
    if (visit.next == draft.app.after.size()) {
      seen_[visit.app] = Seen::done;
      path_.pop_back();
      return;
    }
    const std::size_t dependency = visit.next++;
    const auto found = index_.find(draft.app.after[dependency].app);
    if (found == index_.end()) return;  // unknown: reported elsewhere
    if (seen_[found->second] == Seen::never)
      enter(found->second);
    else if (seen_[found->second] == Seen::on_path)
      report(found->second, draft.after_at[dependency]);
  }

  void report(std::size_t first, Mark at) {
    auto visit = std::ranges::find(path_, first, &Visit::app);
    std::string path;
    for (; visit != path_.end(); ++visit) path += draft_.apps[visit->app].app.name + " -> ";
    reader_.error(at, fmt::format("a cycle in `after`: {}{}", path, draft_.apps[first].app.name));
  }

  const Reader& reader_;
  const Draft& draft_;
  std::map<std::string, std::size_t, std::less<>> index_;
  std::vector<Seen> seen_;
  std::vector<Visit> path_;
};

}  // namespace

void check_cycles(const Reader& reader, const Draft& draft) {
  Cycles(reader, draft).run();
}

}  // namespace muster::spec
