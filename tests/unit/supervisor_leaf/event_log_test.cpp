#include "supervisor/event_log.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>

namespace muster::supervisor {
namespace {

Note note(const std::string& text, const std::string& app = "", std::optional<int> ordinal = std::nullopt) {
  return Note{Severity::info, "test", app, ordinal, std::nullopt, text};
}

std::string texts(const std::vector<LoggedEvent>& events) {
  std::string all;
  for (const LoggedEvent& event : events) all += std::to_string(event.seq) + ":" + event.note.text + " ";
  return all;
}

TEST(EventLog, NumbersFromOneWithoutGaps) {
  EventLog log(3);
  EXPECT_EQ(log.last_seq(), 0U);
  for (const char* text : {"a", "b", "c", "d", "e"}) log.add(note(text), {});
  EXPECT_EQ(log.last_seq(), 5U);
  EXPECT_EQ(texts(log.after(0, 10)), "3:c 4:d 5:e ");
  EXPECT_EQ(texts(log.after(4, 10)), "5:e ");
  EXPECT_EQ(texts(log.after(5, 10)), "");
  EXPECT_EQ(texts(log.after(0, 2)), "4:d 5:e ");
  EXPECT_EQ(texts(log.after(0, 0)), "");
  EXPECT_EQ(texts(log.after(99, 10)), "");
}

TEST(EventLog, FiltersByAppAndOrdinal) {
  EventLog log;
  log.add(note("daemon"), {});
  log.add(note("web"), {});
  log.add(note("w", "web"), {});
  log.add(note("w0", "web", 0), {});
  log.add(note("w1", "web", 1), {});
  EXPECT_EQ(texts(log.after(0, 10, "web")), "3:w 4:w0 5:w1 ");
  EXPECT_EQ(texts(log.after(0, 10, "web", 1)), "5:w1 ");
  EXPECT_EQ(texts(log.after(0, 1, "web")), "5:w1 ");
}

TEST(EventLog, LongTextsAreCutBetweenCharacters) {
  EventLog log;
  std::string text(limits::event_text_bytes_max - 1, 'x');
  EXPECT_EQ(log.add(note(text + "\xE2\x82\xAC"), {}).note.text, text);
  text += 'y';
  EXPECT_EQ(log.add(note(text), {}).note.text, text);
}

TEST(EventLog, WhatIsSaidOfAnAppIsOneLine) {
  EventLog log;
  Note note;
  note.app = "web";
  note.text = "said: a\n2026-01-01T00:00:00.000Z error forged";
  EXPECT_EQ(log.add(note, WallTime{}).note.text, "said: a\\x0a2026-01-01T00:00:00.000Z error forged");
  note.app = "";
  note.text = "muster.toml:1:1: error\n  line";
  EXPECT_EQ(log.add(note, WallTime{}).note.text, note.text) << "the errors of a spec are lines";
}

TEST(EventLog, WakesOnceUntilEverythingIsTaken) {
  EventLog log;
  int woken = 0;
  const auto id = log.subscribe(log.last_seq(), [&] { ++woken; });
  ASSERT_TRUE(id.has_value());
  log.add(note("a"), {});
  log.add(note("b"), {});
  EXPECT_EQ(woken, 1);
  auto taken = log.take(*id, 1);
  EXPECT_EQ(texts(taken.events), "1:a ");
  EXPECT_TRUE(taken.more);
  log.add(note("c"), {});
  EXPECT_EQ(woken, 1);
  taken = log.take(*id, 10);
  EXPECT_EQ(texts(taken.events), "2:b 3:c ");
  EXPECT_FALSE(taken.more);
  EXPECT_EQ(taken.lost, 0U);
  EXPECT_TRUE(log.take(*id, 10).events.empty());
  log.add(note("d"), {});
  EXPECT_EQ(woken, 2);
}

TEST(EventLog, ASlowSubscriberLosesAndIsToldHowMuch) {
  EventLog log(3);
  const auto id = log.subscribe(0, [] {});
  log.add(note("a"), {});
  EXPECT_EQ(texts(log.take(*id, 1).events), "1:a ");
  for (int i = 2; i <= 10; ++i) log.add(note("x"), {});
  const auto taken = log.take(*id, 2);
  EXPECT_EQ(taken.lost, 6U);  // 2 to 7
  EXPECT_EQ(texts(taken.events), "8:x 9:x ");
  EXPECT_EQ(log.take(*id, 2).lost, 0U);
}

TEST(EventLog, SubscribesInThePastAndInTheFuture) {
  EventLog log;
  for (const char* text : {"a", "b", "c"}) log.add(note(text), {});
  EXPECT_EQ(texts(log.take(*log.subscribe(0, nullptr), 10).events), "1:a 2:b 3:c ");
  EXPECT_EQ(texts(log.take(*log.subscribe(2, nullptr), 10).events), "3:c ");
  const auto ahead = log.subscribe(1000, nullptr);  // of an earlier daemon's life
  log.add(note("d"), {});
  EXPECT_EQ(texts(log.take(*ahead, 10).events), "4:d ");
}

TEST(EventLog, HooksMayTakeAndEndThemselvesAndOthers) {
  EventLog log;
  std::optional<EventLog::SubscriberId> first, second;
  int woken = 0;
  first = log.subscribe(0, [&] {
    EXPECT_EQ(log.take(*first, 10).events.size(), 1U);
    log.unsubscribe(*second);
    log.unsubscribe(*first);
  });
  second = log.subscribe(0, [&] { ++woken; });
  EXPECT_EQ(log.add(note("a"), {}).note.text, "a");
  log.add(note("b"), {});
  EXPECT_EQ(woken, 0);
  EXPECT_TRUE(log.take(*first, 10).events.empty());
}

TEST(EventLog, SubscribersAreLimited) {
  EventLog log;
  std::vector<EventLog::SubscriberId> ids;
  for (std::size_t i = 0; i < limits::control_clients_max; ++i)
    ids.push_back(log.subscribe(0, nullptr).value());
  EXPECT_FALSE(log.subscribe(0, nullptr).has_value());
  log.unsubscribe(ids[3]);
  EXPECT_TRUE(log.subscribe(0, nullptr).has_value());
}

TEST(EventLog, JsonIsComplete) {
  EventLog log;
  const auto& plain = log.add(note("say \"hi\"\n"), WallTime{Millis{1767225600123}});
  EXPECT_EQ(
      to_json_line(plain),
      R"({"seq":1,"time":"2026-01-01T00:00:00.123Z","severity":"info","kind":"test","app":null,"ordinal":null,"instance":null,"text":"say \"hi\"\n"})");
  Note full{Severity::error, "exited", "web", 3, InstanceId{7}, "\xFF"};
  const auto value = boost::json::parse(to_json_line(log.add(std::move(full), {})));
  EXPECT_EQ(value.at("severity").as_string(), "error");
  EXPECT_EQ(value.at("app").as_string(), "web");
  EXPECT_EQ(value.at("ordinal").as_int64(), 3);
  EXPECT_EQ(value.at("instance").as_int64(), 7);
}

}  // namespace
}  // namespace muster::supervisor
