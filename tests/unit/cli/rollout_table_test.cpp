#include "cli/rollout_table.h"

#include "gtest/gtest.h"

namespace muster::cli {
namespace {

constexpr std::string_view body = R"({"app":"web","state":"updating","revision":3,"desired":4,"ready":4,
  "waits_for":"web/1: connection refused","failed":null,"hold":null,
  "revisions":[{"revision":2,"in_force":false,"processes":3,"ready":3},
               {"revision":3,"in_force":true,"processes":2,"ready":1}],
  "history":[{"revision":2,"in_force":false,"since":"2026-01-01T00:00:00Z","state":"was ready","reason":null,"changed":[]},
             {"revision":3,"in_force":true,"since":"2026-01-02T00:00:00Z","state":"rolling out","reason":null,
              "changed":["run","env"]}]})";

TEST(RolloutTable, SaysHowFarItIsAndWhatItWaitsFor) {
  const auto parsed = parse_object(body);
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(rollout_table(JsonView(&parsed.value()), false),
            "web: updating, revision 3, 4 of 4 ready\n"
            "waits for web/1: connection refused\n"
            "\n"
            "REVISION  READY  PROCESSES\n"
            "2         3      3\n"
            "3         1      2          in force\n");
}

TEST(RolloutTable, ListsTheRevisions) {
  const auto parsed = parse_object(body);
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(history_table(JsonView(&parsed.value()), false),
            "REVISION  SINCE                 STATE        CHANGED   REASON\n"
            "2         2026-01-01T00:00:00Z  was ready\n"
            "3         2026-01-02T00:00:00Z  rolling out  run, env\n");
}

TEST(RolloutTable, WhatComesFromOutsideIsEscaped) {
  const auto parsed = parse_object(R"({"app":"web","failed":"\u001b[31mred"})");
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(rollout_table(JsonView(&parsed.value()), false).find('\x1b'), std::string::npos);
}

}  // namespace
}  // namespace muster::cli
