#include "lb/ticket_keys.h"

#include <gtest/gtest.h>

namespace muster::lb {
namespace {

using namespace std::chrono_literals;
constexpr auto period = TicketKeys::period;
constexpr Instant start{1000h};

TEST(TicketKeys, OneKeyForAPeriodThenANewOne) {
  TicketKeys keys;
  const auto first = keys.current(start);
  ASSERT_TRUE(first);
  EXPECT_EQ(keys.current(start + period - 1s)->name, first->name);
  const auto second = keys.current(start + period);
  ASSERT_TRUE(second);
  EXPECT_NE(second->name, first->name);
  EXPECT_NE(second->cipher, first->cipher);
  EXPECT_NE(second->mac, first->mac);
}

TEST(TicketKeys, ATicketIsTakenForAnotherPeriodAndIsOldThen) {
  TicketKeys keys;
  const auto first = keys.current(start);
  ASSERT_TRUE(first);
  const auto now = keys.find(first->name, start + period - 1s);
  ASSERT_TRUE(now);
  EXPECT_FALSE(now->is_old);
  EXPECT_EQ(now->key.cipher, first->cipher);
  const auto later = keys.find(first->name, start + 2 * period - 2s);
  ASSERT_TRUE(later);
  EXPECT_TRUE(later->is_old);
  EXPECT_EQ(later->key.mac, first->mac);
  EXPECT_FALSE(keys.find(first->name, start + 3 * period));
}

TEST(TicketKeys, AKeyThatNobodyUsedForLongIsForgotten) {
  TicketKeys keys;
  const auto first = keys.current(start);
  ASSERT_TRUE(first);
  EXPECT_FALSE(keys.find(first->name, start + 2 * period));
}

TEST(TicketKeys, ForeignTicketsAreNotOurs) {
  TicketKeys keys;
  const auto other = TicketKeys().current(start);
  ASSERT_TRUE(other);
  EXPECT_FALSE(keys.find(other->name, start));
}

}  // namespace
}  // namespace muster::lb
