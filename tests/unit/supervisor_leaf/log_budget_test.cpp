#include "supervisor/log_budget.h"

#include <gtest/gtest.h>

#include "supervisor/log_files.h"

namespace muster::supervisor {
namespace {

LogFile file(const std::string& name, std::uint64_t bytes, int age_s) {
  LogFile made;
  made.name = *parse_log_file_name(name);
  made.path = "/log/" + name;
  made.bytes = bytes;
  made.modified = WallTime{std::chrono::seconds{1'000'000 - age_s}};
  return made;
}

std::string plan(std::vector<LogFile> files, std::uint64_t budget, const std::string& open = "") {
  std::string text;
  const auto is_open = [&](const LogFileName& name) { return name.stem == open; };
  for (const LogRemoval& removal : plan_log_budget(std::move(files), budget, is_open))
    text += (removal.truncate ? "empty " : "remove ") +
            log_file_name(removal.file.name.stem, removal.file.name.generation) + "; ";
  return text;
}

TEST(LogBudget, WithinItNothingGoes) {
  EXPECT_EQ(plan({}, 0), "");
  EXPECT_EQ(plan({file("a-0.log", 100, 1)}, 100), "");
  EXPECT_EQ(plan({file("a-0.log", 0, 1)}, 0), "");
}

TEST(LogBudget, TheLargestAppLosesItsOldest) {
  EXPECT_EQ(plan({file("a-0.log", 10, 9), file("b-0.log", 50, 1), file("b-0.log.1", 50, 2),
                  file("b-1.log.1", 50, 3)},
                 120),
            "remove b-1.log.1; ");
  EXPECT_EQ(plan({file("a-0.log.1", 60, 9), file("b-0.log.1", 50, 8), file("b-0.log.2", 30, 9)}, 70),
            "remove b-0.log.2; remove a-0.log.1; ");
}

TEST(LogBudget, RotatedGoBeforeLive) {
  EXPECT_EQ(plan({file("a-0.log", 50, 9), file("a-1.log.1", 50, 1)}, 50), "remove a-1.log.1; ");
}

TEST(LogBudget, OfEqualAgeTheHigherNumberIsOlder) {
  EXPECT_EQ(plan({file("a-0.log.1", 50, 1), file("a-0.log.2", 50, 1)}, 50), "remove a-0.log.2; ");
}

TEST(LogBudget, AnOpenLiveFileIsEmptied) {
  EXPECT_EQ(plan({file("a-0.log", 50, 9), file("a-1.log", 50, 1)}, 0, "a-0"),
            "empty a-0.log; remove a-1.log; ");
}

TEST(LogBudget, TheSumFitsWhateverThereIs) {
  for (std::uint64_t budget = 0; budget < 600; budget += 7) {
    std::vector<LogFile> files;
    std::uint64_t sum = 0;
    for (int i = 0; i < 20; ++i) {
      files.push_back(file(std::string(1, static_cast<char>('a' + i % 3)) + "-" + std::to_string(i % 4) +
                               ".log" + (i > 11 ? "." + std::to_string(i) : ""),
                           static_cast<std::uint64_t>(i * 3 % 47), i * 7 % 13));
      sum += files.back().bytes;
    }
    for (const LogRemoval& removal : plan_log_budget(files, budget, [](const LogFileName&) { return true; }))
      sum -= removal.file.bytes;
    EXPECT_LE(sum, budget);
  }
}

TEST(LogBudget, AnAccessLogCountsAsAnApp) {
  EXPECT_EQ(plan({file("web-0.log", 30, 9), file("web-1.log", 30, 9), file("access-web.log", 50, 1),
                  file("access-web.log.1", 50, 2), file("access-api.log", 50, 9)},
                 130, "access-web"),
            "remove access-web.log.1; remove web-0.log; ");
  EXPECT_EQ(plan({file("web-0.log", 30, 9), file("access-web.log", 50, 1)}, 40, "access-web"),
            "empty access-web.log; ");
}

TEST(LogFileNames, AreReadAsTheyAreWritten) {
  for (const auto& [app, ordinal, generation] :
       {std::tuple{"web", 0, 0}, {"a", 1000, 1}, {"my-app-2", 7, 123}, {"x-1", 0, 0}, {"access", 3, 0}}) {
    const ReplicaId replica{app, ordinal};
    const auto parsed = parse_log_file_name(log_file_name(log_stem(replica), generation));
    ASSERT_TRUE(parsed.has_value()) << app;
    EXPECT_EQ(*parsed, (LogFileName{log_stem(replica), replica, generation}));
    EXPECT_EQ(parsed->owner(), app);
  }
  const std::string longest(31, 'x');
  for (const std::string& listener :
       {std::string("web"), std::string("my-web"), std::string("web-x2"), longest}) {
    const auto parsed = parse_log_file_name(log_file_name(access_log_stem(listener), 4));
    ASSERT_TRUE(parsed.has_value()) << listener;
    EXPECT_EQ(*parsed, (LogFileName{"access-" + listener, std::nullopt, 4}));
    EXPECT_EQ(parsed->owner(), "access-" + listener);
  }
  for (const char* name : {"",
                           "web.log",
                           "web-.log",
                           "web-0",
                           "web-0.txt",
                           "web-00.log",
                           "web--1.log",
                           "Web-0.log",
                           "-0.log",
                           "web-0.log.0",
                           "web-0.log.01",
                           "web-0.log.x",
                           "web-0.log.1.gz",
                           "web-1001.log",
                           "access-.log",
                           "access-Web.log",
                           "access-web-.log",
                           "web-0.log.",
                           "../x-0.log",
                           "web-0.log.99999999999",
                           "a/b-0.log"})
    EXPECT_FALSE(parse_log_file_name(name).has_value()) << name;
}

}  // namespace
}  // namespace muster::supervisor
