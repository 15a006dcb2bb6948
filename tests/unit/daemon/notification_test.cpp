#include "supervisor/notification.h"

#include "gtest/gtest.h"

namespace muster::supervisor {
namespace {

constexpr InstanceId id{7};

TEST(Notification, ReadsTheLinesItKnows) {
  const Notified told = parse_notification(id, "READY=1\nSTATUS=serving 4 clients\nWATCHDOG=1\nMAINPID=12\n");
  EXPECT_EQ(told.instance, id);
  EXPECT_TRUE(told.ready);
  EXPECT_TRUE(told.watchdog);
  EXPECT_FALSE(told.stopping);
  EXPECT_FALSE(told.watchdog_trigger);
  EXPECT_EQ(told.status, "serving 4 clients");
}

TEST(Notification, ALineWithoutAnEndCounts) {
  EXPECT_TRUE(parse_notification(id, "STOPPING=1").stopping);
}

TEST(Notification, TimeIsAskedForInMicroseconds) {
  EXPECT_EQ(parse_notification(id, "EXTEND_TIMEOUT_USEC=2500000").extend_timeout, Millis{2500});
  EXPECT_EQ(parse_notification(id, "EXTEND_TIMEOUT_USEC=99999999999999").extend_timeout, Millis{3'600'000});
}

TEST(Notification, WhatCannotBeReadIsIgnored) {
  for (const char* text : {"", "\n\n", "READY", "READY=2", "=1", "EXTEND_TIMEOUT_USEC=-1",
                           "EXTEND_TIMEOUT_USEC=1s", "WATCHDOG=0", "ready=1", "EXTEND_TIMEOUT_USEC="}) {
    const Notified told = parse_notification(id, text);
    EXPECT_FALSE(told.ready || told.watchdog || told.watchdog_trigger || told.stopping) << text;
    EXPECT_FALSE(told.extend_timeout.has_value()) << text;
  }
}

TEST(Notification, AWatchdogCanBeTriggered) {
  EXPECT_TRUE(parse_notification(id, "WATCHDOG=trigger").watchdog_trigger);
}

TEST(Notification, AStatusIsBounded) {
  EXPECT_EQ(parse_notification(id, "STATUS=" + std::string(5000, 'x')).status->size(), 512U);
}

}  // namespace
}  // namespace muster::supervisor
