// Logs of one daemon after another, with the FIFOs between them.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <fstream>
#include <iterator>

#include "supervisor/log_journal.h"
#include "supervisor/log_pipes.h"
#include "supervisor/output_pipes.h"
#include "support/temp_folder.h"
#include "support/uv_loop.h"

namespace muster::supervisor {
namespace {

using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;
using testing_support::TempFolder;
using testing_support::UvLoop;

const ReplicaId web0{"web", 0};
constexpr InstanceId seven{7};

class LogsOverLives : public testing::Test {
 protected:
  LogsOverLives() {
    auto made = fifos.make(seven);
    EXPECT_TRUE(made.ok());
    ends = std::move(made).value();
  }

  void begin(const std::string& journal) {
    logs =
        std::make_unique<Logs>(loop.get(), LogsConfig{.folder = folder.path() + "/log", .journal = journal},
                               LogsHooks{{}, [this](const Note& note) { notes.push_back(note.text); }});
  }
  void begin() { begin(fifos.folder() + "/journal"); }
  void attach() {
    auto opened = fifos.reopen(seven);
    ASSERT_TRUE(opened.ok());
    logs->attach(LogPipes{seven, web0, std::move(opened.value().out), std::move(opened.value().err),
                          std::nullopt, true},
                 options);
  }
  // As a kill does, between two turns of the loop; the test holds the read ends as a keeper does.
  void end() {
    logs->leave();
    logs.reset();
    loop.drain();
  }
  void put(const std::string& text) {
    ASSERT_EQ(write(ends.out.write.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  bool all_read() {
    return loop.run_until([&] {
      int waiting = 0;
      return ioctl(ends.out.read.get(), FIONREAD, &waiting) == 0 && waiting == 0;
    });
  }
  [[nodiscard]] std::string file() const {
    std::ifstream in(folder.path() + "/log/web-0.log", std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  [[nodiscard]] std::vector<std::string> lines() const {
    std::vector<std::string> found;
    std::ifstream in(folder.path() + "/log/web-0.log");
    for (std::string line; std::getline(in, line);) found.push_back(parse_log_line(web0, line, {}).text);
    return found;
  }

  UvLoop loop;
  TempFolder folder;
  OutputFifos fifos{folder.path() + "/run"};
  OutputPipes ends;
  spec::LogOptions options;
  std::vector<std::string> notes;
  std::unique_ptr<Logs> logs;
};

TEST_F(LogsOverLives, ALineMayBeginInOneLifeAndEndInTheNext) {
  begin();
  attach();
  put("one\nhalf a li");
  ASSERT_TRUE(all_read());
  end();
  EXPECT_THAT(lines(), ElementsAre("one"));
  put("ne\nthree\n");
  begin();
  attach();
  logs->end_others({});
  ASSERT_TRUE(loop.run_until([&] { return lines().size() == 3; }));
  EXPECT_THAT(lines(), ElementsAre("one", "half a line", "three"));
  EXPECT_EQ(logs->tail(web0).back().text, "three");
}

TEST_F(LogsOverLives, OneThatEndedMeanwhileSaysItsLastWords) {
  begin();
  attach();
  put("half a li");
  ASSERT_TRUE(all_read());
  end();
  put("ne\nlast words");
  ends.out.write.reset();
  begin();
  logs->end_others(fifos.open_left({}));
  EXPECT_THAT(lines(), ElementsAre("half a line", "last words"));
  end();
  begin();
  logs->end_others({});
  EXPECT_THAT(lines(), ElementsAre("half a line", "last words"));
  EXPECT_THAT(notes, IsEmpty());
}

TEST_F(LogsOverLives, WithoutItsFifoThereIsStillWhatWasRead) {
  begin();
  attach();
  put("half a line");
  ASSERT_TRUE(all_read());
  end();
  begin();
  logs->end_others({});
  EXPECT_THAT(lines(), ElementsAre("half a line"));
}

TEST_F(LogsOverLives, RawBytesAreNotWrittenTwice) {
  options.format = spec::LogFormat::raw;
  begin();
  attach();
  put("one\nhalf a li");
  ASSERT_TRUE(all_read());
  end();
  put("ne\nlast");
  ends.out.write.reset();
  begin();
  logs->end_others(fifos.open_left({}));
  EXPECT_EQ(file(), "one\nhalf a line\nlast");
}

TEST_F(LogsOverLives, TheEndOfAReopenedFifoIsSeen) {
  put("all there is\n");
  ends.out.write.reset();
  ends.err.write.reset();
  begin();
  attach();
  EXPECT_TRUE(loop.run_until([&] { return !logs->attached(seven); }));
  EXPECT_THAT(lines(), ElementsAre("all there is"));
}

TEST_F(LogsOverLives, WithoutAJournalItIsToldOnceAndLinesAreWritten) {
  begin(folder.path() + "/nowhere/journal");
  attach();
  put("one\n");
  ASSERT_TRUE(loop.run_until([&] { return !lines().empty(); }));
  EXPECT_THAT(lines(), ElementsAre("one"));
  ASSERT_THAT(notes, ElementsAre(HasSubstr("no journal of the output")));
}

TEST_F(LogsOverLives, AJournalThatWasNotToBeHadIsThereForTheNextProcess) {
  begin();
  attach();
  put("half a li");
  ASSERT_TRUE(all_read());
  end();
  auto in_the_way = LogJournal::open(fifos.folder() + "/journal");
  ASSERT_TRUE(in_the_way.ok());
  begin();
  attach();
  logs->end_others({});
  put("ne\n");
  ASSERT_TRUE(loop.run_until([&] { return !lines().empty(); }));
  in_the_way.value().reset();
  const InstanceId eight{8};
  auto made = fifos.make(eight);
  ASSERT_TRUE(made.ok());
  const Fd keeper(fcntl(made.value().out.read.get(), F_DUPFD_CLOEXEC, 0));
  logs->attach(
      LogPipes{
          eight, {"web", 1}, std::move(made.value().out.read), std::move(made.value().err.read), {}, false},
      options);
  EXPECT_THAT(notes, ElementsAre(HasSubstr("no journal of the output"), HasSubstr("there after all")));
  EXPECT_THAT(lines(), ElementsAre("ne", "half a li")) << "nothing that was read is lost";
  ASSERT_EQ(write(made.value().out.write.get(), "word", 4), 4);
  ASSERT_TRUE(loop.run_until([&] {
    int waiting = 0;
    return ioctl(keeper.get(), FIONREAD, &waiting) == 0 && waiting == 0;
  }));
  end();
  made.value().out.write.reset();
  begin();
  logs->end_others({});
  EXPECT_THAT(logs->tail({"web", 1}), ElementsAre(Field(&StoredLine::text, "word")));
}

TEST_F(LogsOverLives, LastWordsOfNobodyKnownAreTold) {
  put("who was that?\n");
  begin();
  logs->end_others(fifos.open_left({}));
  EXPECT_THAT(notes, ElementsAre(HasSubstr("the last output of processes that ended")));
}

}  // namespace
}  // namespace muster::supervisor
