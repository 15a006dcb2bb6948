// HTTP through the balancer on real sockets.
#include <gtest/gtest.h>

#include <map>

#include "rig.h"

namespace muster::lb::test {
namespace {

TEST(Http, GoesRoundTheReplicasExactlyOverMixedConnections) {
  Replica a(http_replica("a"));
  Replica b(http_replica("b"));
  Replica c(http_replica("c"));
  Rig rig;
  rig.add_listener("web", "web");
  rig.set_pool("web", {a.port(), b.port(), c.port()});
  rig.publish();
  std::map<std::string, int> counts;
  Wire kept = rig.client();
  for (int i = 0; i < 30; ++i) {
    ASSERT_TRUE(kept.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n"));
    const auto answer = read_message(kept);
    ASSERT_TRUE(answer);
    ++counts[answer->body];
    const auto other = rig.get();
    ASSERT_TRUE(other);
    EXPECT_EQ(other->status(), 200);
    ++counts[other->body];
  }
  EXPECT_EQ(counts["a"], 20);
  EXPECT_EQ(counts["b"], 20);
  EXPECT_EQ(counts["c"], 20);
  EXPECT_EQ(a.connections(), 1) << "the upstream connection is kept";
}

}  // namespace
}  // namespace muster::lb::test
