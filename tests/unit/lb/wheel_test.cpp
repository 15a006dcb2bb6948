#include "lb/wheel.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <random>
#include <vector>

namespace muster::lb {
namespace {

using namespace std::chrono_literals;

struct Alarm : WheelNode {
  explicit Alarm(std::vector<int>& log_, int name_) : WheelNode(&Alarm::on_due), log(log_), name(name_) {}
  static void on_due(WheelNode& node) {
    auto& self = static_cast<Alarm&>(node);
    self.log.push_back(self.name);
    if (self.then) self.then();
  }
  std::vector<int>& log;
  int name;
  std::function<void()> then;
};

class WheelTest : public testing::Test {
 protected:
  const Instant start{std::chrono::hours(5)};
  Wheel wheel{start};
  std::vector<int> log;
};

TEST_F(WheelTest, FiresNeverEarlyAndAtMostOneTickLate) {
  for (const Millis after :
       {0ms, 1ms, 24ms, 25ms, 26ms, 1000ms, 12799ms, 12800ms, 12801ms, 60000ms, 3600000ms}) {
    Wheel fresh{start};
    std::vector<int> fired;
    Alarm alarm(fired, 1);
    fresh.arm(alarm, start + after);
    Instant now = start;
    while (fired.empty()) {
      now += Wheel::tick;
      fresh.advance(now);
      ASSERT_LE(now - start, after + 2 * Wheel::tick) << after.count();
    }
    EXPECT_GE(now - start, after) << after.count();
    EXPECT_FALSE(alarm.armed());
    EXPECT_EQ(fresh.size(), 0U);
  }
}

TEST_F(WheelTest, DisarmedNeverFires) {
  Alarm a(log, 1);
  Alarm b(log, 2);
  wheel.arm(a, start + 100ms);
  wheel.arm(b, start + 100ms);
  wheel.disarm(a);
  wheel.disarm(a);
  EXPECT_EQ(wheel.size(), 1U);
  wheel.advance(start + 1s);
  EXPECT_EQ(log, std::vector<int>{2});
}

TEST_F(WheelTest, ArmingAgainMovesTheDeadline) {
  Alarm a(log, 1);
  wheel.arm(a, start + 100ms);
  wheel.arm(a, start + 500ms);
  EXPECT_EQ(wheel.size(), 1U);
  wheel.advance(start + 400ms);
  EXPECT_TRUE(log.empty());
  wheel.advance(start + 600ms);
  EXPECT_EQ(log.size(), 1U);
}

TEST_F(WheelTest, AJumpOverSeveralTurnsFiresEverything) {
  std::vector<std::unique_ptr<Alarm>> alarms;
  for (int i = 0; i < 2000; ++i)
    wheel.arm(*alarms.emplace_back(std::make_unique<Alarm>(log, i)), start + Millis(i * 17));
  wheel.advance(start + std::chrono::hours(2));
  EXPECT_EQ(log.size(), 2000U);
  EXPECT_EQ(wheel.size(), 0U);
}

TEST_F(WheelTest, ACallbackMayDisarmItsNeighbourAndArmItself) {
  Alarm a(log, 1);
  Alarm b(log, 2);
  a.then = [&] {
    wheel.disarm(b);
    if (log.size() < 3) wheel.arm(a, start + Millis(200 * static_cast<int>(log.size() + 1)));
  };
  wheel.arm(a, start + 100ms);
  wheel.arm(b, start + 100ms);
  for (Millis t = 25ms; t < 2s; t += 25ms) wheel.advance(start + t);
  EXPECT_EQ(log, (std::vector<int>{1, 1, 1}));
}

TEST_F(WheelTest, ACallbackMayEndItsOwnNode) {
  auto owned = std::make_unique<Alarm>(log, 1);
  owned->then = [&] { owned.reset(); };
  wheel.arm(*owned, start + 10ms);
  wheel.advance(start + 100ms);
  EXPECT_EQ(owned, nullptr);
}

TEST_F(WheelTest, ADeadlineInThePastFiresAtTheNextTick) {
  wheel.advance(start + 10s);
  Alarm a(log, 1);
  wheel.arm(a, start + 1s);
  wheel.advance(start + 10s);
  EXPECT_TRUE(log.empty()) << "within one tick nothing turns";
  wheel.advance(start + 10s + Wheel::tick);
  EXPECT_EQ(log.size(), 1U);
}

TEST_F(WheelTest, AgreesWithAPlainListUnderARandomLoad) {
  std::mt19937 random(42);  // NOLINT(cert-msc51-cpp): the same each time
  std::vector<std::unique_ptr<Alarm>> alarms;
  std::vector<Instant> deadlines;
  for (int i = 0; i < 300; ++i) {
    alarms.push_back(std::make_unique<Alarm>(log, i));
    deadlines.emplace_back();
  }
  Instant now = start;
  std::size_t seen = 0;
  for (int round = 0; round < 5000; ++round) {
    const std::size_t i = random() % alarms.size();
    if (random() % 4 == 0) {
      wheel.disarm(*alarms[i]);
    } else {
      deadlines[i] = now + Millis(random() % 20000);
      wheel.arm(*alarms[i], deadlines[i]);
    }
    now += Millis(random() % 60);
    wheel.advance(now);
    for (; seen < log.size(); ++seen) EXPECT_LE(deadlines[static_cast<std::size_t>(log[seen])], now);
    for (std::size_t k = 0; k < alarms.size(); ++k) {
      if (alarms[k]->armed()) {
        EXPECT_GT(deadlines[k] + 2 * Wheel::tick, now) << "overdue";
      }
    }
  }
  EXPECT_GT(log.size(), 1000U);
  for (const auto& alarm : alarms) wheel.disarm(*alarm);
}

}  // namespace
}  // namespace muster::lb
