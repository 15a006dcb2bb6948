#include "supervisor/own_log.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <thread>

#include "leaf_rig.h"

namespace muster::supervisor {
namespace {

using testing::ElementsAre;
using testing::MatchesRegex;

// Standard error goes into a pipe while this lives.
class CaughtStderr {
 public:
  CaughtStderr() : before_(dup(STDERR_FILENO)) {
    dup2(pipe_.write_end.get(), STDERR_FILENO);
    fcntl(pipe_.read_end.get(), F_SETFL, O_NONBLOCK);
  }
  ~CaughtStderr() { dup2(before_.get(), STDERR_FILENO); }
  CaughtStderr(const CaughtStderr&) = delete;
  CaughtStderr& operator=(const CaughtStderr&) = delete;
  std::string text() {
    std::string all;
    std::array<char, 65536> bytes{};
    for (ssize_t got = 0; (got = read(pipe_.read_end.get(), bytes.data(), bytes.size())) > 0;)
      all.append(bytes.data(), static_cast<std::size_t>(got));
    return all;
  }
  [[nodiscard]] const Fd& write_end() const { return pipe_.write_end; }

 private:
  TestPipe pipe_;
  Fd before_;
};

TEST(OwnLog, JournalHasThePriorityOnEachLine) {
  CaughtStderr caught;
  open_own_log(OwnLogStyle::journal, spec::LogLevel::debug, false);
  log_debug("d");
  log_info("one\ntwo\n");
  log_warn("w");
  log_error("e\x1b[31m");
  EXPECT_THAT(lines_of(caught.text()), ElementsAre("<7>d", "<6>one", "<6>two", "<4>w", "<3>e\\x1b[31m"));
}

TEST(OwnLog, PlainHasTimeAndLevel) {
  CaughtStderr caught;
  open_own_log(OwnLogStyle::plain, spec::LogLevel::info, false);
  log_info("hello");
  log_warn("careful");
  const auto lines = lines_of(caught.text());
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_THAT(lines[0], MatchesRegex("....-..-..T..:..:..\\....Z info hello"));
  EXPECT_THAT(lines[1], MatchesRegex("....-..-..T..:..:..\\....Z warning careful"));
}

TEST(OwnLog, TerminalNamesWhatIsNotInfo) {
  CaughtStderr caught;
  open_own_log(OwnLogStyle::terminal, spec::LogLevel::info, false);
  log_info("hello");
  log_error("broken");
  open_own_log(OwnLogStyle::terminal, spec::LogLevel::info, true);
  log_warn("careful");
  EXPECT_THAT(lines_of(caught.text()), ElementsAre("muster  hello", "muster  error: broken",
                                                   "muster  \x1b[33mwarning:\x1b[0m careful"));
}

TEST(OwnLog, TheLevelIsLive) {
  CaughtStderr caught;
  open_own_log(OwnLogStyle::journal, spec::LogLevel::warn, false);
  log_info("no");
  set_own_log_level(spec::LogLevel::info);
  log_debug("no");
  log_info("yes");
  EXPECT_EQ(caught.text(), "<6>yes\n");
}

TEST(OwnLog, AReaderThatIsStuckDoesNotHoldUsUp) {
  CaughtStderr caught;
  open_own_log(OwnLogStyle::journal, spec::LogLevel::info, false);
  const std::string line(1000, 'x');
  for (int i = 0; i < 500; ++i) log_info(line);  // a pipe holds 64 of these
  const auto before = lines_of(caught.text()).size();
  EXPECT_LT(before, 100U);
  EXPECT_GT(before, 20U);
  log_info("again");
  const auto after = lines_of(caught.text());
  ASSERT_EQ(after.size(), 2U);
  EXPECT_THAT(after[0], MatchesRegex("muster: [0-9]+ lines were lost.*"));
  EXPECT_EQ(after[1], "<6>again");
}

TEST(OwnLog, IsForManyThreads) {
  CaughtStderr caught;
  open_own_log(OwnLogStyle::journal, spec::LogLevel::info, false);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([] {
      for (int i = 0; i < 50; ++i) log_info("0123456789");
    });
  }
  for (std::thread& thread : threads) thread.join();
  const auto lines = lines_of(caught.text());
  EXPECT_EQ(lines.size(), 200U);
  for (const std::string& line : lines) EXPECT_EQ(line, "<6>0123456789");
}

TEST(OwnLog, KnowsTheJournalByDeviceAndInode) {
  CaughtStderr caught;
  struct stat info {};
  ASSERT_EQ(fstat(STDERR_FILENO, &info), 0);
  unsetenv("JOURNAL_STREAM");
  EXPECT_EQ(detect_own_log_style(), OwnLogStyle::plain);
  setenv("JOURNAL_STREAM", (std::to_string(info.st_dev) + ":" + std::to_string(info.st_ino)).c_str(), 1);
  EXPECT_EQ(detect_own_log_style(), OwnLogStyle::journal);
  setenv("JOURNAL_STREAM", "1:2", 1);
  EXPECT_EQ(detect_own_log_style(), OwnLogStyle::plain);
  unsetenv("JOURNAL_STREAM");
}

}  // namespace
}  // namespace muster::supervisor
