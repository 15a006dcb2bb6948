// A daemon that reads a chatty process and is killed at any instant, some hundred times: each byte must be in the files
// once, in order. The kills come at random times and at random system calls; the test holds the read ends, as the keeper
// does, so that nothing is lost while no daemon lives.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <random>

#include "base/check.h"
#include "supervisor/log_files.h"
#include "supervisor/log_pipes.h"
#include "supervisor/output_pipes.h"
#include "support/temp_folder.h"
#include "support/uv_loop.h"

namespace muster::supervisor {
namespace {

namespace fs = std::filesystem;
using testing_support::TempFolder;
using testing_support::UvLoop;

const ReplicaId web0{"web", 0};
constexpr InstanceId instance{7};
constexpr int kills = 300;

// The n-th line, known to writer and reader: short ones, empty ones, some beyond the longest that a line may be.
std::string line_of(std::uint64_t n) {
  const std::uint64_t mixed = n * 0x9E3779B97F4A7C15U;
  std::size_t filler = (mixed >> 32U) % 120;
  if (n % 211 == 0) filler = 40'000;
  if (n % 17 == 0) filler = 0;
  std::string line = "<" + std::to_string(n) + ">";
  for (std::size_t i = 0; i < filler; ++i) line += static_cast<char>('a' + (mixed + i) % 26);
  return line;
}

volatile std::sig_atomic_t chatter_ends = 0;

// Writes lines until TERM, in pieces that care for no line; the last one has no line feed. How many it was it writes to
// `count_fd`.
[[noreturn]] void chatter(const Fd& to, const Fd& count_fd) {
  struct sigaction on_term {};
  on_term.sa_handler = [](int) { chatter_ends = 1; };
  sigaction(SIGTERM, &on_term, nullptr);
  std::uint64_t count = 0;
  std::string pending;
  bool last = false;
  while (!last || !pending.empty()) {
    while (!last && pending.size() < 10'000) {
      last = chatter_ends != 0;
      pending += line_of(count++) + (last ? "" : "\n");
    }
    const std::size_t piece = std::min<std::size_t>(pending.size(), 1 + count * 7919 % 9'000);
    const ssize_t wrote = write(to.get(), pending.data(), piece);
    if (wrote < 0 && errno != EINTR) _exit(2);
    if (wrote > 0) pending.erase(0, static_cast<std::size_t>(wrote));
  }
  if (write(count_fd.get(), &count, sizeof count) != sizeof count) _exit(3);
  _exit(0);
}

struct Stand {
  TempFolder folder;
  spec::LogOptions options;
  [[nodiscard]] std::string logs() const { return folder.path() + "/log"; }
  [[nodiscard]] std::string run() const { return folder.path() + "/run"; }
};

// What the daemon does with output, until it has all.
[[noreturn]] void daemon(const Stand& stand) {
  {
    UvLoop loop;
    OutputFifos fifos(stand.run());
    MUSTER_CHECK(fifos.prepare().ok());
    bool ended = false;
    LogsConfig config{.folder = stand.logs(), .journal = fifos.folder() + "/journal"};
    Logs logs(loop.get(), config,
              LogsHooks{{}, [](const Note& note) { MUSTER_CHECK(note.severity == Severity::info); }});
    auto ends = fifos.reopen(instance);
    MUSTER_CHECK(ends.ok());
    LogPipes pipes{instance,     web0, std::move(ends.value().out), std::move(ends.value().err),
                   std::nullopt, true};
    logs.attach(std::move(pipes), stand.options);
    logs.end_others({});
    logs.follow([&](const LogLine&) {});
    ended = loop.run_until([&] { return !logs.attached(instance); }, std::chrono::seconds{60});
    if (!ended) _exit(4);
    loop.drain();
  }
  _exit(0);
}

int ended_status(int pid) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0) MUSTER_CHECK(errno == EINTR);
  return status;
}

class KilledDaemon : public testing::TestWithParam<std::pair<spec::LogFormat, std::uint64_t>> {
 protected:
  // Rotated files are whole; what they hold is taken out of the way, oldest first.
  void harvest(bool live) {
    auto files = list_log_files(stand.logs());
    if (!files) return;
    auto& all = files.value();
    std::sort(all.begin(), all.end(),
              [](const LogFile& a, const LogFile& b) { return a.name.generation > b.name.generation; });
    for (const LogFile& file : all) {
      if (file.name.generation == 0 && !live) continue;
      std::ifstream in(file.path, std::ios::binary);
      written.append(std::istreambuf_iterator<char>(in), {});
      fs::remove(file.path);
    }
  }

  int start_daemon(bool traced) {
    const int pid = fork();
    if (pid != 0) return pid;
    if (traced) ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    if (traced) raise(SIGSTOP);
    daemon(stand);
  }

  void kill_after(std::chrono::microseconds delay) {
    const int pid = start_daemon(false);
    const timespec wait{0, static_cast<long>(delay.count()) * 1000};
    ppoll(nullptr, 0, &wait, nullptr);
    kill(pid, SIGKILL);
    ended_status(pid);
  }

  // At the begin or the end of its n-th system call. False: nobody may trace here.
  bool kill_at_call(int n) {
    const int pid = start_daemon(true);
    int status = 0;
    if (waitpid(pid, &status, WUNTRACED) != pid || !WIFSTOPPED(status)) return false;
    for (int i = 0; i < n; ++i) {
      if (ptrace(PTRACE_SYSCALL, pid, nullptr, nullptr) != 0) break;
      if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status)) return true;
    }
    kill(pid, SIGKILL);
    ended_status(pid);
    return true;
  }

  // What the lines of the files hold, without the stamps and the cuts between lines.
  [[nodiscard]] std::string texts() const {
    if (stand.options.format == spec::LogFormat::raw) return written;
    std::string all;
    std::size_t from = 0;
    while (from < written.size()) {
      const std::size_t end = written.find('\n', from);
      if (end == std::string::npos) return all + "(a line without an end: " + written.substr(from) + ")";
      all += parse_log_line(web0, std::string_view(written).substr(from, end - from), {}).text;
      from = end + 1;
    }
    return all;
  }

  Stand stand;
  std::string written;
};

TEST_P(KilledDaemon, LosesNothingAndWritesNothingTwice) {
  stand.options.format = GetParam().first;
  stand.options.rotate_bytes = GetParam().second;
  stand.options.keep = 100'000;
  OutputFifos fifos(stand.run());
  auto made = fifos.make(instance);
  ASSERT_TRUE(made.ok());
  OutputPipes pipes = std::move(made).value();
  pipes.err.write.reset();
  std::array<int, 2> count_ends{};
  ASSERT_EQ(pipe(count_ends.data()), 0);
  const Fd count_read(count_ends[0]);
  Fd count_write(count_ends[1]);
  const int talker = fork();
  if (talker == 0) chatter(pipes.out.write, count_write);
  pipes.out.write.reset();
  count_write.reset();

  std::mt19937 random(std::random_device{}());
  bool can_trace = true;
  for (int n = 0; n < kills; ++n) {
    if (n % 2 == 0 && can_trace) {
      can_trace = kill_at_call(static_cast<int>(random() % 400));
    } else {
      kill_after(std::chrono::microseconds{random() % 6000});
    }
    if (n % 7 == 6) harvest(false);
  }
  kill(talker, SIGTERM);
  const int last = start_daemon(false);
  ASSERT_EQ(ended_status(last), 0);
  ASSERT_EQ(ended_status(talker), 0);
  harvest(true);

  std::uint64_t count = 0;
  ASSERT_EQ(read(count_read.get(), &count, sizeof count), static_cast<ssize_t>(sizeof count));
  const bool raw = stand.options.format == spec::LogFormat::raw;
  std::string expected;
  for (std::uint64_t n = 0; n < count; ++n) expected += line_of(n) + (raw && n + 1 < count ? "\n" : "");
  const std::string found = texts();
  const auto differs = std::mismatch(expected.begin(), expected.end(), found.begin(), found.end());
  EXPECT_TRUE(found == expected)
      << count << " lines, " << expected.size() << " bytes were written, " << found.size()
      << " found; different from byte " << differs.first - expected.begin() << " on: "
      << std::string(differs.second, differs.second + std::min<long>(200, found.end() - differs.second))
      << "\nwhere was written: "
      << std::string(differs.first, differs.first + std::min<long>(200, expected.end() - differs.first));
  EXPECT_FALSE(fs::exists(stand.run() + "/output/journal")) << "nothing is left to remember";
  EXPECT_GT(count, 1000U);
}

INSTANTIATE_TEST_SUITE_P(Formats, KilledDaemon,
                         testing::Values(std::pair{spec::LogFormat::text, std::uint64_t{64} << 20U},
                                         std::pair{spec::LogFormat::text, std::uint64_t{16} << 10U},
                                         std::pair{spec::LogFormat::json, std::uint64_t{100} << 10U},
                                         std::pair{spec::LogFormat::raw, std::uint64_t{16} << 10U}));

}  // namespace
}  // namespace muster::supervisor
