#include "supervisor/log_writer.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>

#include "leaf_rig.h"

namespace muster::supervisor {
namespace {

class LogWriterTest : public testing::Test {
 protected:
  LogFileNews write(const std::vector<std::string>& lines) {
    LineBatch batch;
    for (const std::string& line : lines) {
      batch.bytes += line + "\n";
      batch.end_line();
    }
    return writer.write(batch, options, now);
  }
  [[nodiscard]] std::string file(int generation = 0) const {
    return read_file(path + "/web-0.log" + (generation > 0 ? "." + std::to_string(generation) : ""));
  }
  void pass(std::chrono::milliseconds time) { now.mono += time; }

  TempFolder folder;
  std::string path = folder / "log";
  spec::LogOptions options{.rotate_bytes = 10, .keep = 2};
  LogWriter writer{path, "web-0"};
  Now now{};
};

TEST_F(LogWriterTest, MakesFolderAndFile) {
  EXPECT_FALSE(exists(path));
  write({"a"});
  write({"b", "c"});
  EXPECT_EQ(file(), "a\nb\nc\n");
  struct stat info {};
  ASSERT_EQ(stat((path + "/web-0.log").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U & ~0640U, 0U);
}

TEST_F(LogWriterTest, RotatesBeforeTheLineThatIsTooMuch) {
  EXPECT_FALSE(write({"1234", "567"}).rotated);
  EXPECT_TRUE(write({"x"}).rotated);
  EXPECT_EQ(file(1), "1234\n567\n");
  EXPECT_EQ(file(), "x\n");
  write({"12345678", "abcdefgh", "ABCDEFGH"});  // one batch over several files
  EXPECT_EQ(file(), "ABCDEFGH\n");
  EXPECT_EQ(file(1), "abcdefgh\n");
  EXPECT_EQ(file(2), "12345678\n");
  EXPECT_FALSE(exists(path + "/web-0.log.3"));
  write({std::string(50, 'y')});  // larger than a file may be: alone in one
  EXPECT_EQ(file(), std::string(50, 'y') + "\n");
}

TEST_F(LogWriterTest, FewerAreKeptAfterAnEdit) {
  options.keep = 5;
  for (int i = 0; i < 7; ++i) write({"1234567" + std::to_string(i)});
  EXPECT_TRUE(exists(path + "/web-0.log.5"));
  options.keep = 1;
  write({"12345678"});
  EXPECT_EQ(file(1), "12345676\n");
  EXPECT_FALSE(exists(path + "/web-0.log.2"));
  EXPECT_FALSE(exists(path + "/web-0.log.5"));
  options.keep = 0;
  write({"abcdefgh"});
  EXPECT_EQ(file(), "abcdefgh\n");
  EXPECT_FALSE(exists(path + "/web-0.log.1"));
}

TEST_F(LogWriterTest, GoesOnWithTheFileOfAnEarlierLife) {
  std::filesystem::create_directories(path);
  write_file(path + "/web-0.log", "12345678\n");
  EXPECT_TRUE(write({"x"}).rotated);
  EXPECT_EQ(file(1), "12345678\n");
}

TEST_F(LogWriterTest, ReopensWhenTheFileWasMoved) {
  write({"a"});
  std::filesystem::rename(path + "/web-0.log", path + "/moved");
  write({"b"});
  writer.reopen();
  write({"c"});
  EXPECT_EQ(read_file(path + "/moved"), "a\nb\n");
  EXPECT_EQ(file(), "c\n");
}

TEST_F(LogWriterTest, NoticesThatTheFileIsGone) {
  write({"a"});
  std::filesystem::remove_all(path);
  pass(std::chrono::milliseconds{1100});
  write({"b"});
  EXPECT_EQ(file(), "b\n");
  EXPECT_EQ(writer.dropped_lines(), 0U);
}

TEST_F(LogWriterTest, DiskTroubleDropsAndCountsAndIsTriedAgain) {
  write_file(path, "a file where the folder should be");
  const auto failed = write({"a", "b"});
  EXPECT_TRUE(failed.failed);
  EXPECT_NE(failed.text.find("cannot open the log"), std::string::npos) << failed.text;
  EXPECT_FALSE(write({"c"}).failed) << "said once";
  EXPECT_EQ(writer.dropped_lines(), 3U);
  unlink(path.c_str());
  EXPECT_FALSE(write({"d"}).recovered) << "not tried before a second has passed";
  pass(std::chrono::milliseconds{1000});
  const auto news = write({"e"});
  EXPECT_TRUE(news.recovered);
  EXPECT_NE(news.text.find("4 lines were lost"), std::string::npos) << news.text;
  EXPECT_EQ(file(), "e\n");
  EXPECT_EQ(writer.dropped_lines(), 4U);
}

TEST_F(LogWriterTest, AFullDiskIsSurvived) {
  std::filesystem::create_directories(path);
  ASSERT_EQ(symlink("/dev/full", (path + "/web-0.log").c_str()), 0);
  EXPECT_TRUE(write({"a"}).failed) << "links are not followed";
  EXPECT_EQ(writer.dropped_lines(), 1U);
}

// RLIMIT_FSIZE stands for a full disk: what fits is written, then there is an error.
TEST_F(LogWriterTest, OnlyWhatAFullDiskDidNotTakeIsLost) {
  options.rotate_bytes = 1000;
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit small = before;
  small.rlim_cur = 10;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const auto full = write({"abc", "def", "ghi", "jkl"});
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_TRUE(full.failed);
  EXPECT_EQ(file(), "abc\ndef\ngh");
  EXPECT_EQ(writer.dropped_lines(), 2U);
  pass(std::chrono::milliseconds{1000});
  const auto news = write({"m"});
  EXPECT_TRUE(news.recovered);
  EXPECT_NE(news.text.find("2 lines were lost"), std::string::npos) << news.text;
  EXPECT_EQ(file(), "abc\ndef\ngh\nm\n");
}

TEST_F(LogWriterTest, AFifoInThePlaceHoldsNothingUp) {
  std::filesystem::create_directories(path);
  ASSERT_EQ(mkfifo((path + "/web-0.log").c_str(), 0600), 0);
  EXPECT_TRUE(write({"a"}).failed);
}

TEST_F(LogWriterTest, AFileThatCannotBeMovedIsEmptied) {
  std::filesystem::create_directories(path + "/web-0.log.1/in-the-way");
  write({"12345678"});
  write({"x"});
  EXPECT_EQ(file(), "x\n");
  EXPECT_FALSE(writer.dropped_lines() > 0);
}

}  // namespace
}  // namespace muster::supervisor
