// Which route a request takes.
#include <gtest/gtest.h>

#include <map>

#include "lb/router.h"

namespace muster::lb {
namespace {

spec::Route route(std::string host, std::string path, std::string app, int weight = 1) {
  spec::Route made;
  made.host = std::move(host);
  made.path = std::move(path);
  made.app = std::move(app);
  made.weight = weight;
  return made;
}

// The app of the first member of the group that is found; "" when none is.
std::string found(const std::vector<spec::Route>& routes, std::string_view host, std::string_view path) {
  const Router router(routes);
  const auto number = router.find(host, path);
  return number ? routes[router.groups()[*number].members[0]].app : "";
}

TEST(Router, HostWithoutPort) {
  EXPECT_EQ(host_of("example.org"), "example.org");
  EXPECT_EQ(host_of("example.org:8080"), "example.org");
  EXPECT_EQ(host_of("example.org."), "example.org");
  EXPECT_EQ(host_of("example.org.:80"), "example.org");
  EXPECT_EQ(host_of("[::1]:8080"), "[::1]");
  EXPECT_EQ(host_of("[::1]"), "[::1]");
  EXPECT_EQ(host_of(""), "");
}

TEST(Router, PathWithoutQuery) {
  EXPECT_EQ(path_of("/a/b?c=/d"), "/a/b");
  EXPECT_EQ(path_of("/"), "/");
  EXPECT_EQ(path_of("/?"), "/");
  EXPECT_EQ(path_of("*"), "/");
}

TEST(Router, WithoutRoutesNothingMatches) {
  EXPECT_EQ(Router().find("example.org", "/"), std::nullopt);
  EXPECT_TRUE(Router().groups().empty());
}

TEST(Router, PathsMatchByWholeSegments) {
  const std::vector<spec::Route> routes{route("", "/api", "api")};
  for (const char* path : {"/api", "/api/", "/api/x", "/api//x"})
    EXPECT_EQ(found(routes, "h", path), "api") << path;
  for (const char* path : {"/", "/apix", "/API", "/ap", "/x/api", "/%61pi"})
    EXPECT_EQ(found(routes, "h", path), "") << path;
}

TEST(Router, TheLongestPathWinsWhateverTheOrder) {
  const std::vector<spec::Route> routes{route("", "/", "all"), route("", "/a", "a"),
                                        route("", "/a/b/c", "abc"), route("", "/a/b", "ab")};
  EXPECT_EQ(found(routes, "h", "/"), "all");
  EXPECT_EQ(found(routes, "h", "/b"), "all");
  EXPECT_EQ(found(routes, "h", "/a"), "a");
  EXPECT_EQ(found(routes, "h", "/a/bc"), "a");
  EXPECT_EQ(found(routes, "h", "/a/b"), "ab");
  EXPECT_EQ(found(routes, "h", "/a/b/c/d"), "abc");
}

TEST(Router, TheMostExactHostWins) {
  const std::vector<spec::Route> routes{route("", "/", "any"), route("*.example.org", "/", "below"),
                                        route("*.a.example.org", "/", "deep"),
                                        route("www.example.org", "/", "exact")};
  EXPECT_EQ(found(routes, "www.example.org", "/"), "exact");
  EXPECT_EQ(found(routes, "WWW.Example.ORG", "/"), "exact");
  EXPECT_EQ(found(routes, "x.example.org", "/"), "below");
  EXPECT_EQ(found(routes, "x.y.example.org", "/"), "below");
  EXPECT_EQ(found(routes, "x.a.example.org", "/"), "deep");
  EXPECT_EQ(found(routes, "a.example.org", "/"), "below");
  EXPECT_EQ(found(routes, "example.org", "/"), "any");
  EXPECT_EQ(found(routes, ".example.org", "/"), "any");
  EXPECT_EQ(found(routes, "badexample.org", "/"), "any");
  EXPECT_EQ(found(routes, "", "/"), "any");
  EXPECT_EQ(found(routes, std::string(256, 'a') + ".example.org", "/"), "any");
}

// A host that has no rule for the path leaves it to the next one.
TEST(Router, AHostWithoutThePathIsPassedOver) {
  const std::vector<spec::Route> routes{route("", "/", "any"), route("*.example.org", "/api", "below"),
                                        route("www.example.org", "/img", "exact")};
  EXPECT_EQ(found(routes, "www.example.org", "/img/x"), "exact");
  EXPECT_EQ(found(routes, "www.example.org", "/api"), "below");
  EXPECT_EQ(found(routes, "www.example.org", "/x"), "any");
  EXPECT_EQ(found({routes[1], routes[2]}, "www.example.org", "/x"), "");
}

TEST(Router, WeightsAreKeptExactlyAndSpread) {
  const std::vector<spec::Route> routes{route("", "/", "old", 90), route("", "/", "new", 10),
                                        route("", "/", "none", 0)};
  const Router router(routes);
  ASSERT_EQ(router.groups().size(), 1U);
  const Router::Group& group = router.groups()[0];
  EXPECT_EQ(group.members.size(), 3U);
  EXPECT_EQ(group.turns.size(), 10U);  // 9 : 1 : 0
  std::map<int, int> count;
  for (const std::uint16_t turn : group.turns) ++count[turn];
  EXPECT_EQ(count, (std::map<int, int>{{0, 9}, {1, 1}}));

  const std::vector<spec::Route> equal{route("", "/", "a", 5), route("", "/", "b", 5)};
  EXPECT_EQ(Router(equal).groups()[0].turns, (std::vector<std::uint16_t>{0, 1}));
  const std::vector<spec::Route> uneven{route("", "/", "a", 5), route("", "/", "b", 1),
                                        route("", "/", "c", 1)};
  EXPECT_EQ(Router(uneven).groups()[0].turns, (std::vector<std::uint16_t>{0, 0, 1, 0, 2, 0, 0}));
}

}  // namespace
}  // namespace muster::lb
