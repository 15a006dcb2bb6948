#include "cli/console.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <csignal>

#include "base/fd.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster::cli {
namespace {

using supervisor::LoggedEvent;
using supervisor::LogLine;
using testing::HasSubstr;

const ReplicaId web{.app = "web", .ordinal = 0};
const ReplicaId worker{.app = "a-long-worker", .ordinal = 12};

LogLine line(const ReplicaId& replica, std::string_view text) {
  return {.replica = replica,
          .instance = InstanceId{1},
          .time = {},
          .stream = supervisor::Stream::out,
          .text = text};
}

LoggedEvent event(std::string text) {
  LoggedEvent made;
  made.note = {.severity = supervisor::Severity::error,
               .kind = "exited",
               .app = "web",
               .ordinal = 0,
               .instance = {},
               .text = std::move(text)};
  return made;
}

TEST(ConsoleText, TheBarsStandInLine) {
  ConsoleText text({.colour = false, .escape = true, .json = false});
  EXPECT_EQ(text.line(line(web, "hello")), "web/0  | hello\n");
  EXPECT_EQ(text.line(line(worker, "x")), "a-long-worker/12 | x\n");
  EXPECT_EQ(text.line(line(web, "again")), "web/0            | again\n");
  EXPECT_EQ(text.event(event("exited with status 1")), "muster           | web/0: exited with status 1\n");
}

TEST(ConsoleText, EachLineOfAnEventGetsTheBar) {
  ConsoleText text({.colour = false, .escape = true, .json = false});
  EXPECT_EQ(text.event(event("one\ntwo\n")), "muster | web/0: one\nmuster | two\n");
}

TEST(ConsoleText, ControlBytesAreEscapedOnTerminalsOnly) {
  ConsoleText terminal({.colour = false, .escape = true, .json = false});
  EXPECT_EQ(terminal.line(line(web, "\x1b[31mred")), "web/0  | \\x1b[31mred\n");
  ConsoleText pipe({.colour = false, .escape = false, .json = false});
  EXPECT_EQ(pipe.line(line(web, "\x1b[31mred")), "web/0  | \x1b[31mred\n");
}

TEST(ConsoleText, ColourIsTheApps) {
  ConsoleText text({.colour = true, .escape = true, .json = false});
  const std::string first = text.line(line(web, "x"));
  EXPECT_THAT(first, testing::StartsWith("\x1b["));
  EXPECT_EQ(first, text.line(line(web, "x")));
  EXPECT_THAT(text.event(event("bad")), HasSubstr("\x1b[31m"));
}

TEST(ConsoleText, JsonIsTheRecords) {
  ConsoleText text({.colour = true, .escape = true, .json = true});
  EXPECT_THAT(text.line(line(web, "x")), HasSubstr("\"app\":\"web\",\"ordinal\":0"));
  EXPECT_THAT(text.event(event("x")), HasSubstr("\"kind\":\"exited\""));
  EXPECT_EQ(text.dropped(3), "{\"lost\":3}\n");
}

struct Pipe {
  Pipe() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    read = Fd(ends[0]);
    write = Fd(ends[1]);
  }
  std::string read_until(const std::string& mark) const {
    std::string got;
    std::array<char, 65536> buffer{};
    while (got.find(mark) == std::string::npos) {
      pollfd waited{.fd = read.get(), .events = POLLIN, .revents = 0};
      if (::poll(&waited, 1, 10'000) != 1) return got + "(nothing more in time)";
      const ssize_t count = ::read(read.get(), buffer.data(), buffer.size());
      if (count <= 0) return got + "(end)";
      got.append(buffer.data(), static_cast<std::size_t>(count));
    }
    return got;
  }
  Fd read, write;
};

TEST(Console, WritesInOrderAndAllOfItBeforeItEnds) {
  Pipe pipe;
  {
    Console console(pipe.write.get(), {});
    for (int i = 0; i < 1000; ++i) console.line(line(web, std::to_string(i)));
    console.event(event("last"));
  }
  std::string expected;
  for (int i = 0; i < 1000; ++i) expected += "web/0  | " + std::to_string(i) + "\n";
  EXPECT_EQ(pipe.read_until("last\n"), expected + "muster | web/0: last\n");
}

TEST(Console, ASlowReaderCostsLinesAndNotTheCaller) {
  Pipe pipe;
  Console console(pipe.write.get(), {.colour = false, .escape = false, .json = false});
  const std::string text(64000, 'x');
  // Twice what the queue and the writer together hold; nobody reads, and every call returns.
  for (std::size_t sent = 0; sent < 4 * Console::queue_bytes_max; sent += text.size())
    console.line(line(web, text));
  // As soon as there is room, the next line says what is missing.
  std::string got;
  while (got.find("lines not shown") == std::string::npos && got.find("in time") == std::string::npos) {
    console.line(line(web, "next"));
    got = pipe.read_until("\n");
  }
  EXPECT_THAT(got, testing::ContainsRegex("muster \\| [0-9]+ lines not shown"));
  pipe.read.reset();  // the rest has no reader: the end must not wait for one
}

TEST(Console, SettledItHasWrittenAllThatItsReaderTakes) {
  ::signal(SIGPIPE, SIG_IGN);
  Pipe pipe;
  Console console(pipe.write.get(), {});
  std::string expected;
  for (int i = 0; i < 1000; ++i) {
    console.line(line(web, std::to_string(i)));
    expected += "web/0  | " + std::to_string(i) + "\n";
  }
  console.settle(Millis{20'000});
  int there = 0;
  ASSERT_EQ(::ioctl(pipe.read.get(), FIONREAD, &there), 0);
  EXPECT_EQ(static_cast<std::size_t>(there), expected.size());
  EXPECT_EQ(pipe.read_until(" 999\n"), expected);
  for (int i = 0; i < 3; ++i) console.line(line(web, std::string(64000, 'x')));
  console.settle(Millis{1});  // nobody reads: it returns all the same
  pipe.read.reset();
  console.settle(Millis{20'000});  // nor will anybody
}

TEST(Console, AReaderThatGoesAwayEndsNothing) {
  ::signal(SIGPIPE, SIG_IGN);
  Pipe pipe;
  pipe.read.reset();
  Console console(pipe.write.get(), {});
  for (int i = 0; i < 100; ++i) console.line(line(web, "x"));
}

TEST(Console, ItsEndDoesNotWaitForABlockedReader) {
  Pipe pipe;
  const auto before = std::chrono::steady_clock::now();
  {
    Console console(pipe.write.get(), {.colour = false, .escape = false, .json = false});
    const std::string text(8000, 'x');
    for (int i = 0; i < 100; ++i) console.line(line(web, text));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(30));
}

}  // namespace
}  // namespace muster::cli
