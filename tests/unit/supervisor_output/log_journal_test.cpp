#include "supervisor/log_journal.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>

#include "support/temp_folder.h"

namespace muster::supervisor {
namespace {

using testing::SizeIs;
using testing_support::TempFolder;

class LogJournalTest : public testing::Test {
 protected:
  void open() {
    journal.reset();
    auto opened = LogJournal::open(path());
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    journal = std::move(opened).value();
  }
  [[nodiscard]] std::string path() const { return folder.path() + "/journal"; }
  static LogOwner owner(std::uint64_t instance, Stream stream = Stream::out) {
    return {InstanceId{instance},
            stream,
            ReplicaId{"web", 3},
            {.rotate_bytes = 99, .keep = 2, .format = spec::LogFormat::json}};
  }
  TempFolder folder;
  std::unique_ptr<LogJournal> journal;
};

TEST_F(LogJournalTest, WhoseOutputAndItsRestAreKept) {
  open();
  const auto one = journal->claim(owner(1));
  const auto two = journal->claim(owner(1, Stream::err));
  ASSERT_TRUE(one && two);
  EXPECT_NE(*one, *two);
  journal->flush(*one);
  journal->commit("half a li");
  journal->flush(*two);
  journal->commit(std::string(limits::log_line_bytes_max, 'x'));
  open();
  EXPECT_THAT(journal->owners(), SizeIs(2));
  EXPECT_EQ(journal->claim(owner(1)), one);
  EXPECT_EQ(journal->rest(*one), "half a li");
  EXPECT_EQ(journal->rest(*two), std::string(limits::log_line_bytes_max, 'x'));
  const auto known = journal->owner(*two);
  ASSERT_TRUE(known);
  EXPECT_EQ(known->replica, (ReplicaId{"web", 3}));
  EXPECT_EQ(known->stream, Stream::err);
  EXPECT_EQ(known->options, owner(1).options);
  journal->flush(*two);
  journal->commit("");
  open();
  EXPECT_EQ(journal->rest(*two), "");
}

TEST_F(LogJournalTest, AFreeSlotIsTakenAgain) {
  open();
  for (std::uint64_t n = 0; n < 100; ++n) ASSERT_TRUE(journal->claim(owner(n)));
  const auto slot = journal->claim(owner(50));
  journal->release(*slot);
  EXPECT_EQ(journal->claim(owner(200)), slot);
  EXPECT_EQ(journal->rest(*slot), "");
  open();
  EXPECT_THAT(journal->owners(), SizeIs(100));
}

TEST_F(LogJournalTest, ItGoesWhenItHoldsNothing) {
  open();
  const auto slot = journal->claim(owner(1));
  journal->release(*slot);
  journal.reset();
  EXPECT_FALSE(std::filesystem::exists(path()));
}

TEST_F(LogJournalTest, ReadsWhatThePipeHolds) {
  open();
  const auto slot = journal->claim(owner(1));
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe2(ends.data(), O_NONBLOCK), 0);
  const Fd from(ends[0]);
  Fd to(ends[1]);
  EXPECT_EQ(journal->read(*slot, from.get(), 100), -1);
  EXPECT_EQ(errno, EAGAIN);
  ASSERT_EQ(write(to.get(), "hello", 5), 5);
  EXPECT_EQ(journal->read(*slot, from.get(), 3), 3);
  EXPECT_EQ(journal->buffer(), "hel");
  journal->commit("hel");
  EXPECT_EQ(journal->read(*slot, from.get(), 100), 2);
  // Killed here: the bytes have been consumed.
  open();
  const auto piece = journal->unfinished();
  ASSERT_TRUE(piece);
  EXPECT_EQ(piece->bytes, "lo");
  EXPECT_EQ(journal->rest(piece->slot), "hel");
  journal->commit("");
  to.reset();
  EXPECT_EQ(journal->read(*slot, from.get(), 100), 0);
  EXPECT_FALSE(journal->unfinished());
}

TEST_F(LogJournalTest, AFileOfSomethingElseIsBegunAnew) {
  for (const std::string& text :
       {std::string("?"), std::string(200'000, '?'), std::string("muster log journal 1\n")}) {
    std::ofstream(path()) << text;
    open();
    EXPECT_TRUE(journal->owners().empty());
    EXPECT_FALSE(journal->unfinished());
    EXPECT_TRUE(journal->claim(owner(1)));
    journal.reset();
    std::filesystem::remove(path());
  }
}

TEST_F(LogJournalTest, OneDaemonAtATime) {
  open();
  EXPECT_FALSE(LogJournal::open(path()).ok());
}

}  // namespace
}  // namespace muster::supervisor
