#include "cli/record_text.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster::cli {
namespace {

using testing::HasSubstr;

TEST(RecordText, ALogLine) {
  const std::string record =
      R"({"time":"2026-01-01T00:00:00.000Z","stream":"err","app":"web","ordinal":3,"text":"a\u001b[1m"})";
  EXPECT_EQ(log_record_text(record, false), "web/3 2026-01-01T00:00:00.000Z err a\\x1b[1m\n");
  EXPECT_THAT(log_record_text(record, true), HasSubstr("\x1b[33merr\x1b[0m"));
}

TEST(RecordText, AnEvent) {
  EXPECT_EQ(
      event_record_text(
          R"({"seq":1,"time":"T","severity":"info","kind":"ready","app":"web","ordinal":0,"text":"ok"})",
          false),
      "T web/0 ready: ok\n");
  EXPECT_EQ(
      event_record_text(
          R"({"seq":1,"time":"T","severity":"info","kind":"reload","app":null,"ordinal":null,"text":"ok"})",
          false),
      "T muster reload: ok\n");
  EXPECT_THAT(event_record_text(R"({"severity":"error","kind":"exited","app":"web","text":"x"})", true),
              HasSubstr("\x1b[31mexited: x"));
}

TEST(RecordText, WhatWasLostIsSaid) {
  EXPECT_THAT(event_record_text(R"({"lost":12})", false), HasSubstr("12 events lost"));
  EXPECT_THAT(log_record_text(R"({"lost":3})", false), HasSubstr("3 lines lost"));
}

TEST(RecordText, AnotherShapeIsShownEscaped) {
  EXPECT_EQ(log_record_text("\x1b]x", false), "\\x1b]x\n");
}

TEST(RecordText, AWhyIsAChain) {
  const auto text = why_text(
      R"({"app":"web","ordinal":2,"state":"backoff","reason":"exited with status 1","chain":["one","two"],
          "logs":[{"time":"T","stream":"err","app":"web","ordinal":2,"text":"boom"}]})",
      false);
  ASSERT_TRUE(text);
  EXPECT_EQ(text.value(),
            "web/2: backoff: exited with status 1\n  one\n  two\nlast lines:\n  web/2 T err boom\n");
  EXPECT_EQ(
      why_text(R"({"app":"web","ordinal":null,"state":"ready","reason":null,"chain":[],"logs":[]})", false)
          .value(),
      "web: ready\n");
  EXPECT_FALSE(why_text("nonsense", false));
}

}  // namespace
}  // namespace muster::cli
