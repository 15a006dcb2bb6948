#include "supervisor/log_pipes.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "leaf_rig.h"
#include "supervisor/log_files.h"

namespace muster::supervisor {
namespace {

using testing::ElementsAre;

struct Output {
  TestPipe out, err;
  LogPipes take(std::uint64_t instance, ReplicaId replica,
                std::optional<std::string> pattern = std::nullopt) {
    return {InstanceId{instance}, std::move(replica), std::move(out.read_end), std::move(err.read_end),
            std::move(pattern)};
  }
};

class LogPipesTest : public testing::Test {
 protected:
  void open(std::uint64_t budget = 1U << 30U) {
    logs = std::make_unique<Logs>(loop.get(), LogsConfig{folder / "log", budget},
                                  LogsHooks{[this](InstanceId instance) { matched.push_back(raw(instance)); },
                                            [this](Note note) { notes.push_back(note.text); }});
  }
  [[nodiscard]] std::string file(const std::string& name) const {
    return read_file((folder / "log") + "/" + name);
  }
  // The texts of a file's lines, each with its stream.
  [[nodiscard]] std::vector<std::string> lines(const std::string& name) const {
    std::vector<std::string> texts;
    for (const std::string& line : lines_of(file(name))) texts.push_back(line.substr(25));
    return texts;
  }
  bool has(const std::string& name, const std::string& text) {
    return loop.until([&] { return file(name).find(text) != std::string::npos; });
  }

  Loop loop;
  TempFolder folder;
  std::vector<std::uint64_t> matched;
  std::vector<std::string> notes;
  std::unique_ptr<Logs> logs;
};

const ReplicaId web0{"web", 0};
const ReplicaId web1{"web", 1};

TEST_F(LogPipesTest, BothStreamsGoToOneFile) {
  open();
  Output output;
  logs->attach(output.take(1, web0), {});
  put(output.out.write_end, "hello\nwor");
  ASSERT_TRUE(has("web-0.log", "hello"));
  put(output.err.write_end, "oops\n");
  ASSERT_TRUE(has("web-0.log", "oops"));
  put(output.out.write_end, "ld\n");
  ASSERT_TRUE(has("web-0.log", "world"));
  EXPECT_THAT(lines("web-0.log"), ElementsAre("out hello", "err oops", "out world"));
  const std::string first = lines_of(file("web-0.log"))[0];
  EXPECT_EQ(first[10], 'T');
  EXPECT_EQ(first[23], 'Z');
  const auto tail = logs->tail(web0);
  ASSERT_EQ(tail.size(), 3U);
  EXPECT_EQ(tail[2].text, "world");
  EXPECT_TRUE(logs->tail(web1).empty());
}

TEST_F(LogPipesTest, TheEndOfAPipeFlushesTheRest) {
  open();
  Output output;
  logs->attach(output.take(1, web0), {});
  put(output.out.write_end, "no line feed");
  output.out.write_end.reset();
  ASSERT_TRUE(has("web-0.log", "no line feed\n"));
}

TEST_F(LogPipesTest, APauseShowsAnIncompleteLine) {
  open();
  Output output;
  logs->attach(output.take(1, web0), {});
  put(output.out.write_end, "password: ");
  ASSERT_TRUE(has("web-0.log", "out password: \n"));
}

TEST_F(LogPipesTest, FinishReadsWhatIsLeftThoughAGrandchildHoldsThePipe) {
  open();
  Output output;
  logs->attach(output.take(1, web0), {});
  put(output.out.write_end, std::string(50'000, 'x') + "\nlast words");
  logs->finish(InstanceId{1});
  EXPECT_TRUE(lines("web-0.log").back() == "out last words");
  logs->finish(InstanceId{1});
  logs->finish(InstanceId{99});
  char byte = 'x';
  EXPECT_LT(write(output.out.write_end.get(), &byte, 1), 0) << "nobody reads it any more";
}

TEST_F(LogPipesTest, TwoInstancesOfOneSlotShareAFile) {
  open();
  Output old_one, new_one;
  logs->attach(old_one.take(1, web0), {});
  logs->attach(new_one.take(2, web0), {});
  put(old_one.out.write_end, "old\n");
  put(new_one.out.write_end, "new\n");
  ASSERT_TRUE(has("web-0.log", "old\n") && has("web-0.log", "new\n"));
  logs->finish(InstanceId{1});
  put(new_one.out.write_end, "still\n");
  EXPECT_TRUE(has("web-0.log", "still\n"));
}

TEST_F(LogPipesTest, LongLinesAreSplit) {
  open();
  Output output;
  logs->attach(output.take(1, web0), {});
  put(output.out.write_end, std::string(40'000, 'x') + "\n");
  ASSERT_TRUE(loop.until([&] { return lines("web-0.log").size() == 3; }));
  EXPECT_EQ(lines("web-0.log")[0].size(), 4 + limits::log_line_bytes_max);
  EXPECT_EQ(lines("web-0.log")[2].size(), 4 + 40'000 - 2 * limits::log_line_bytes_max);
}

TEST_F(LogPipesTest, RotatesWithoutLosingALine) {
  open();
  Output output;
  logs->attach(output.take(1, web0), {.rotate_bytes = 1000, .keep = 100});
  for (int i = 0; i < 500; ++i) {
    put(output.out.write_end, "line " + std::to_string(i) + "\n");
    if (i % 17 == 0) loop.turn();
  }
  ASSERT_TRUE(has("web-0.log", "line 499\n"));
  std::vector<std::string> all;
  int files = 0;
  for (int generation = 100; generation >= 0; --generation) {
    const std::string name = log_file_name(log_stem(web0), generation);
    if (!exists((folder / "log") + "/" + name)) continue;
    ++files;
    EXPECT_LE(file(name).size(), 1000U);
    for (const std::string& line : lines(name)) all.push_back(line);
  }
  EXPECT_GT(files, 10);
  ASSERT_EQ(all.size(), 500U);
  for (std::size_t i = 0; i < all.size(); ++i) EXPECT_EQ(all[i], "out line " + std::to_string(i));
}

TEST_F(LogPipesTest, AFloodDoesNotStarveTheOthers) {
  open();
  Output loud, quiet;
  ASSERT_GT(fcntl(loud.out.write_end.get(), F_SETPIPE_SZ, 1 << 20), 0);
  ASSERT_EQ(fcntl(loud.out.write_end.get(), F_SETFL, O_NONBLOCK), 0);
  logs->attach(loud.take(1, web0), {});
  logs->attach(quiet.take(2, web1), {});
  const std::string flood = std::string(99, 'x') + "\n";
  const auto fill = [&] {
    while (write(loud.out.write_end.get(), flood.data(), flood.size()) > 0) {
    }
  };
  fill();
  put(quiet.out.write_end, "I am here\n");
  int turns = 0;
  while (file("web-1.log").empty() && ++turns < 20) {
    uv_run(loop.get(), UV_RUN_NOWAIT);
    fill();
  }
  EXPECT_LT(turns, 5) << "the quiet one waited for the loud one";
}

TEST_F(LogPipesTest, FormatsAndOptionsApplyLive) {
  open();
  Output output;
  logs->attach(output.take(1, web0), {.format = spec::LogFormat::json});
  put(output.out.write_end, "a\n");
  ASSERT_TRUE(has("web-0.log", R"("stream":"out","app":"web","ordinal":0,"text":"a"})"));
  logs->set_options("other", {.format = spec::LogFormat::text});
  logs->set_options("web", {.format = spec::LogFormat::raw});
  put(output.out.write_end, "b\r\nc");
  output.out.write_end.reset();
  ASSERT_TRUE(loop.until([&] { return file("web-0.log").ends_with("}\nb\r\nc"); })) << file("web-0.log");
  EXPECT_EQ(logs->tail(web0).back().text, "c");
}

TEST_F(LogPipesTest, ReopensForLogrotate) {
  open();
  Output output;
  logs->attach(output.take(1, web0), {});
  put(output.out.write_end, "one\n");
  ASSERT_TRUE(has("web-0.log", "one"));
  std::filesystem::rename((folder / "log") + "/web-0.log", folder / "moved");
  logs->reopen();
  put(output.out.write_end, "two\n");
  ASSERT_TRUE(has("web-0.log", "two"));
  EXPECT_EQ(lines_of(read_file(folder / "moved")).size(), 1U);
}

TEST_F(LogPipesTest, SaysOnceThatALineMatched) {
  open();
  Output output, second;
  logs->attach(output.take(1, web0, "ready on [0-9]+"), {});
  logs->attach(second.take(2, web1, "ready on [0-9]+"), {});
  put(output.out.write_end, "ready on port\n");
  put(output.err.write_end, "now ready on 80\nready on 81\n");
  put(output.out.write_end, "ready on 82\n");
  ASSERT_TRUE(has("web-0.log", "82"));
  EXPECT_THAT(matched, ElementsAre(1U));
  put(second.out.write_end, "ready on 1\n");
  ASSERT_TRUE(loop.until([&] { return matched.size() == 2; }));
  EXPECT_EQ(matched[1], 2U);
}

TEST_F(LogPipesTest, ABadPatternIsSaid) {
  open();
  Output output;
  logs->attach(output.take(1, web0, "("), {});
  ASSERT_EQ(notes.size(), 1U);
  EXPECT_NE(notes[0].find("'('"), std::string::npos);
}

TEST_F(LogPipesTest, FollowersSeeEveryLineAndMayLeave) {
  open();
  Output output;
  logs->attach(output.take(7, web0), {});
  std::vector<std::string> seen, other;
  FollowId second{};
  const FollowId first = logs->follow([&](const LogLine& line) {
    seen.push_back(std::string(to_string(line.stream)) + " " + std::string(line.text));
    EXPECT_EQ(line.instance, InstanceId{7});
    if (line.text == "stop") logs->unfollow(second);
  });
  second = logs->follow([&](const LogLine& line) { other.emplace_back(line.text); });
  put(output.out.write_end, "a\nstop\nb\n");
  ASSERT_TRUE(has("web-0.log", "out b"));
  EXPECT_THAT(seen, ElementsAre("out a", "out stop", "out b"));
  EXPECT_THAT(other, ElementsAre("a"));
  logs->unfollow(first);
  put(output.out.write_end, "c\n");
  ASSERT_TRUE(has("web-0.log", "out c"));
  EXPECT_EQ(seen.size(), 3U);
}

TEST_F(LogPipesTest, TheBudgetHoldsWhileLinesCome) {
  open(20'000);
  Output output;
  logs->attach(output.take(1, web0), {.rotate_bytes = 2000, .keep = 1000});
  for (int i = 0; i < 3000; ++i) {
    put(output.out.write_end, "some line or other, number " + std::to_string(i) + "\n");
    if (i % 20 == 0) loop.turn();
  }
  ASSERT_TRUE(has("web-0.log", "number 2999"));
  loop.turn();
  std::uint64_t sum = 0;
  const auto left = list_log_files(folder / "log");
  ASSERT_TRUE(left.ok());
  for (const LogFile& kept : left.value()) sum += kept.bytes;
  EXPECT_LE(sum, 20'000U + 2'000U);
  EXPECT_FALSE(notes.empty());
  logs->set_budget(0);  // live, and down to the open file
  EXPECT_EQ(file("web-0.log"), "");
  logs->set_budget(20'000);  // with 0 each line would go in the turn that wrote it
  put(output.out.write_end, "on it goes\n");
  EXPECT_TRUE(has("web-0.log", "on it goes\n"));
}

TEST_F(LogPipesTest, AccessLogsCountInTheBudgetAndAreNobodysOutput) {
  open(5'000);
  logs->set_access_logs({{"web-0", {.rotate_bytes = 1000, .keep = 1000}}});
  Output output;
  logs->attach(output.take(1, web0), {});
  put(output.out.write_end, "mine\n");
  ASSERT_TRUE(has("web-0.log", "mine"));
  for (int i = 0; i < 200; ++i) logs->write_access_log("web-0", std::string(99, 'x') + "\n", 0);
  std::uint64_t sum = 0;
  const auto left = list_log_files(folder / "log");
  ASSERT_TRUE(left.ok());
  for (const LogFile& kept : left.value()) sum += kept.bytes;
  EXPECT_GT(sum, 1'000U);
  EXPECT_LE(sum, 5'000U + 1'000U);
  EXPECT_THAT(lines("web-0.log"), ElementsAre("out mine")) << "the smaller one keeps its lines";
  EXPECT_THAT(logs->access_logs(), ElementsAre("access-web-0"));
  EXPECT_FALSE(notes.empty());
  logs->set_budget(0);
  EXPECT_EQ(file("access-web-0.log"), "");
  logs->set_budget(5'000);
  logs->write_access_log("web-0", "on it goes\n", 0);
  EXPECT_EQ(file("access-web-0.log"), "on it goes\n");
}

TEST_F(LogPipesTest, AFolderThatCannotBeMadeIsTriedAgain) {
  write_file(folder / "log", "in the way");
  open();
  EXPECT_EQ(notes.size(), 1U);
  Output output;
  logs->attach(output.take(1, web0), {});
  put(output.out.write_end, "lost\n");
  ASSERT_TRUE(loop.until([&] { return logs->dropped_lines() == 1; }));
  EXPECT_EQ(logs->tail(web0).back().text, "lost") << "`why` has it all the same";
  unlink((folder / "log").c_str());
  ASSERT_TRUE(loop.until([&] {  // a second later
    put(output.out.write_end, "kept\n");
    return file("web-0.log").find("kept") != std::string::npos;
  }));
  logs->finish(InstanceId{1});
  const auto dropped = logs->dropped_lines();
  EXPECT_GE(dropped, 1U);
  logs->forget(web0);
  EXPECT_TRUE(logs->tail(web0).empty());
  EXPECT_EQ(logs->dropped_lines(), dropped);
}

TEST_F(LogPipesTest, WithoutOutputNothingWakes) {
  open();
  Output output;
  logs->attach(output.take(1, web0), {});
  put(output.out.write_end, "one\n");
  ASSERT_TRUE(has("web-0.log", "one"));
  loop.turn();
  const int wait_ms = uv_backend_timeout(loop.get());
  EXPECT_TRUE(wait_ms < 0 || wait_ms > 10'000) << wait_ms;
}

TEST_F(LogPipesTest, EndsWithOpenPipes) {
  open();
  Output output;
  logs->attach(output.take(1, web0), {});
  put(output.out.write_end, "in the pipe\nrest");
  loop.turn();
  logs.reset();
  EXPECT_EQ(lines("web-0.log").back(), "out rest");
}

}  // namespace
}  // namespace muster::supervisor
