#include "base/ids.h"

#include <gtest/gtest.h>

#include <map>
#include <type_traits>

namespace muster {
namespace {

static_assert(!std::is_convertible_v<Revision, std::uint32_t>, "ids never mix with numbers by themselves");
static_assert(!std::is_convertible_v<InstanceId, SnapshotVersion>);

TEST(ReplicaId, ReadsAsAppSlashOrdinal) {
  EXPECT_EQ(to_string(ReplicaId{"web", 12}), "web/12");
}

TEST(ReplicaId, OrdersByAppThenByNumberNotByText) {
  EXPECT_LT((ReplicaId{"web", 2}), (ReplicaId{"web", 10}));
  EXPECT_LT((ReplicaId{"api", 9}), (ReplicaId{"web", 0}));
}

TEST(Ids, RawGivesTheNumber) {
  EXPECT_EQ(raw(Revision{7}), 7U);
  EXPECT_EQ(raw(InstanceId{~0ULL}), ~0ULL);
}

}  // namespace
}  // namespace muster
