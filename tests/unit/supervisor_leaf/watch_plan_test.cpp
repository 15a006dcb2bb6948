#include "supervisor/watch_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace muster::supervisor {
namespace {

using Kind = PathInfo::Kind;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;
using testing::UnorderedElementsAre;

class Files {
 public:
  Files& folder(const std::string& path) { return set(path, {Kind::folder, ""}); }
  Files& file(const std::string& path) { return set(path, {Kind::other, ""}); }
  Files& link(const std::string& path, const std::string& target) { return set(path, {Kind::link, target}); }
  WatchPlan plan(const std::vector<std::string>& paths) const {
    return plan_watch(paths, [this](const std::string& path) {
      const auto found = entries_.find(path);
      return found == entries_.end() ? PathInfo{} : found->second;
    });
  }

 private:
  Files& set(const std::string& path, PathInfo info) {
    entries_[path] = std::move(info);
    return *this;
  }
  std::map<std::string, PathInfo> entries_;
};

Files base() {
  return Files().folder("/etc").folder("/etc/app").file("/etc/app/a.toml").folder("/srv");
}

TEST(WatchPlan, AFileIsWatchedByItsFolder) {
  EXPECT_THAT(base().plan({"/etc/app/a.toml"}), ElementsAre(Pair("/etc/app", ElementsAre("a.toml"))));
  EXPECT_THAT(base().plan({"/etc/app/a.toml", "/etc/app/b.toml"}),
              ElementsAre(Pair("/etc/app", ElementsAre("a.toml", "b.toml"))));
  EXPECT_THAT(base().plan({"/x"}), ElementsAre(Pair("/", ElementsAre("x"))));
  EXPECT_THAT(base().plan({}), IsEmpty());
}

TEST(WatchPlan, AFolderThatIsMissingIsAwaitedAbove) {
  EXPECT_THAT(base().plan({"/etc/none/deep/a"}), ElementsAre(Pair("/etc", ElementsAre("none"))));
}

TEST(WatchPlan, AFolderIsWatchedFromAbove) {
  EXPECT_THAT(base().plan({"/etc/app"}), ElementsAre(Pair("/etc", ElementsAre("app"))));
  EXPECT_THAT(base().plan({"/srv"}), ElementsAre(Pair("/", ElementsAre("srv"))));
}

TEST(WatchPlan, ATrailingSlashMeansEveryName) {
  EXPECT_THAT(base().plan({"/etc/app/"}), ElementsAre(Pair("/etc/app", IsEmpty())));
  EXPECT_THAT(base().plan({"/etc/app/a.toml", "/etc/app/"}), ElementsAre(Pair("/etc/app", IsEmpty())));
  EXPECT_THAT(base().plan({"/etc/none/"}), ElementsAre(Pair("/etc", ElementsAre("none"))));
}

TEST(WatchPlan, EveryLinkOnTheWayIsWatched) {
  const Files files =
      base().link("/srv/current", "../etc/app").link("/etc/app/b", "a.toml").link("/l", "/srv/current");
  EXPECT_THAT(files.plan({"/srv/current/b"}),
              UnorderedElementsAre(Pair("/srv", ElementsAre("current")),
                                   Pair("/etc/app", ElementsAre("a.toml", "b"))));
  EXPECT_THAT(files.plan({"/l/a.toml"}),
              UnorderedElementsAre(Pair("/", ElementsAre("l")), Pair("/srv", ElementsAre("current")),
                                   Pair("/etc/app", ElementsAre("a.toml"))));
}

TEST(WatchPlan, LinksInACircleEnd) {
  const Files files = base().link("/etc/x", "y").link("/etc/y", "x").link("/etc/z", "z/z/z/z");
  EXPECT_THAT(files.plan({"/etc/x"}), ElementsAre(Pair("/etc", ElementsAre("x", "y"))));
  EXPECT_THAT(files.plan({"/etc/z"}), ElementsAre(Pair("/etc", ElementsAre("z"))));
}

TEST(WatchPlan, DotsAndSlashesAreWalked) {
  EXPECT_THAT(base().plan({"//etc/./app/../app//a.toml"}),
              ElementsAre(Pair("/etc/app", ElementsAre("a.toml"))));
  EXPECT_THAT(base().plan({"/../../etc/x"}), ElementsAre(Pair("/etc", ElementsAre("x"))));
}

}  // namespace
}  // namespace muster::supervisor
