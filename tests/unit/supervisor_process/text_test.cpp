// The pure half: orders and reports of the shim, texts of procfs and cgroupfs, marks of trees.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <map>
#include <set>

#include "base/fd.h"
#include "supervisor/credential_cache.h"
#include "supervisor/proc_files.h"
#include "supervisor/shim_order.h"
#include "supervisor/shim_steps.h"
#include "supervisor/tree_marks.h"

namespace muster::supervisor {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using namespace std::string_literals;

ShimOrder full_order() {
  ShimOrder order;
  order.argv = {"prog", "", std::string(70000, 'x')};
  order.environment = {"A=1", "PATH=/a:/b", "B=\n\t"};
  order.dir = "/srv";
  order.user = "bob";
  order.group = "staff";
  order.credentials = Credentials{.uid = 1000, .gid = std::nullopt, .groups = {50, 4294967294}};
  order.umask = 0077;
  order.nice = -20;
  order.no_new_privs = true;
  order.end_with_parent = true;
  order.parent_pid = 4711;
  order.files_soft = 1024;
  order.files_max = ~std::uint64_t{0};
  order.report_fd = 7;
  order.out_fd = 0;
  order.err_fd = 2147483647;
  return order;
}

// As the shim reads it.
class Image {
 public:
  explicit Image(const std::string& bytes) : bytes_(bytes) { std::memcpy(&head, bytes.data(), sizeof head); }
  [[nodiscard]] std::string text(std::uint64_t offset) const {
    return offset == 0 ? "" : std::string(bytes_.c_str() + offset);
  }
  [[nodiscard]] std::vector<std::string> texts(std::uint32_t offset, std::uint32_t count) const {
    EXPECT_EQ(offset % sizeof(std::uint64_t), 0U);
    std::vector<std::string> found;
    std::uint64_t slot = 0;
    for (std::uint32_t i = 0; i <= count; ++i) {
      std::memcpy(&slot, bytes_.data() + offset + i * sizeof slot, sizeof slot);
      if (i < count) found.push_back(text(slot));
    }
    EXPECT_EQ(slot, 0U);  // execve(2) wants a null pointer at the end
    return found;
  }
  ShimImage head{};

 private:
  const std::string bytes_;
};

TEST(ShimOrder, IsLaidOutForTheShim) {
  const ShimOrder order = full_order();
  const std::string bytes = encode(order);
  const Image image(bytes);
  EXPECT_EQ(image.head.bytes, bytes.size());
  EXPECT_EQ(image.texts(image.head.argv, image.head.argc), order.argv);
  EXPECT_EQ(image.texts(image.head.envp, image.head.envc), order.environment);
  EXPECT_EQ(image.text(image.head.search_path), "/a:/b");
  EXPECT_EQ(image.text(image.head.dir), "/srv");
  EXPECT_EQ(image.text(image.head.user), "bob");
  EXPECT_EQ(image.text(image.head.group), "staff");
  EXPECT_EQ(image.head.has_credentials, 1);
  EXPECT_EQ(image.head.has_uid, 1);
  EXPECT_EQ(image.head.uid, 1000U);
  EXPECT_EQ(image.head.has_gid, 0);
  EXPECT_EQ(image.head.group_count, 2U);
  std::uint32_t last_group = 0;
  std::memcpy(&last_group, bytes.data() + image.head.groups + 4, sizeof last_group);
  EXPECT_EQ(last_group, 4294967294U);
  EXPECT_EQ(image.head.umask, 0077U);
  EXPECT_EQ(image.head.nice, -20);
  EXPECT_EQ(image.head.no_new_privs, 1);
  EXPECT_EQ(image.head.end_with_parent, 1);
  EXPECT_EQ(image.head.parent_pid, 4711);
  EXPECT_EQ(image.head.files_soft, 1024U);
  EXPECT_EQ(image.head.has_files_max, 1);
  EXPECT_EQ(image.head.files_max, ~std::uint64_t{0});
  EXPECT_EQ(image.head.has_core_bytes_max, 0);
  EXPECT_EQ(image.head.report_fd, 7);
  EXPECT_EQ(image.head.out_fd, 0);
  EXPECT_EQ(image.head.err_fd, 2147483647);
  EXPECT_EQ(image.head.cgroup_procs_fd, -1);
}

TEST(ShimOrder, WithoutTheOptionalParts) {
  ShimOrder small;
  small.argv = {"x"};
  small.core_bytes_max = 0;
  const Image image(encode(small));
  EXPECT_EQ(image.texts(image.head.argv, image.head.argc), small.argv);
  EXPECT_EQ(image.texts(image.head.envp, image.head.envc), small.environment);
  for (const std::uint32_t offset :
       {image.head.search_path, image.head.dir, image.head.user, image.head.group, image.head.groups})
    EXPECT_EQ(offset, 0U);
  EXPECT_EQ(image.head.has_credentials, 0);
  EXPECT_EQ(image.head.has_files_max, 0);
  EXPECT_EQ(image.head.has_core_bytes_max, 1);
}

Fd memfd_of(const std::string& bytes) {
  Fd memfd(memfd_create("image", MFD_CLOEXEC));
  EXPECT_EQ(write(memfd.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  return memfd;
}

TEST(ShimOrder, IsRefusedWhenItIsCutOrForeign) {
  ShimOrder order = full_order();
  order.argv = {"prog", "arg"};
  const std::string bytes = encode(order);
  ShimImage* const whole = map_shim_image(memfd_of(bytes).get());
  ASSERT_NE(whole, nullptr);
  munmap(whole, bytes.size());
  for (std::size_t i = 0; i < bytes.size(); ++i)
    EXPECT_EQ(map_shim_image(memfd_of(bytes.substr(0, i)).get()), nullptr) << i;
  EXPECT_EQ(map_shim_image(memfd_of(bytes + '\0').get()), nullptr);
  std::string other_build = bytes;
  other_build[0] = static_cast<char>(other_build[0] ^ 1);
  EXPECT_EQ(map_shim_image(memfd_of(other_build).get()), nullptr);
  std::string lying = bytes;
  std::memset(lying.data() + offsetof(ShimImage, dir), 0x7f, sizeof(ShimImage::dir));
  EXPECT_EQ(map_shim_image(memfd_of(lying).get()), nullptr);
  order.argv.clear();
  EXPECT_EQ(map_shim_image(memfd_of(encode(order)).get()), nullptr);
  EXPECT_EQ(map_shim_image(-1), nullptr);
}

TEST(ShimReport, AllFourAnswers) {
  EXPECT_FALSE(decode_shim_report("").reached_exec);
  EXPECT_FALSE(decode_shim_report("").failure);
  EXPECT_TRUE(decode_shim_report("R").reached_exec);
  const std::string failure = encode(ShimFailure{ShimStep::dir, EACCES});
  EXPECT_EQ(failure.size(), shim_failure_bytes);
  const ShimReport early = decode_shim_report(failure);
  EXPECT_FALSE(early.reached_exec);
  ASSERT_TRUE(early.failure);
  EXPECT_EQ(early.failure->step, ShimStep::dir);
  EXPECT_EQ(early.failure->error, EACCES);
  const ShimReport late = decode_shim_report("R" + failure);
  EXPECT_TRUE(late.reached_exec);
  EXPECT_TRUE(late.failure);
  EXPECT_FALSE(decode_shim_report(failure.substr(1)).failure);
  EXPECT_FALSE(decode_shim_report(failure + "x").failure);
}

TEST(ShimReport, CarriesTheCredentialsThatWereLookedUp) {
  const Credentials found{.uid = 1000, .gid = 0, .groups = {0, 50, 4294967294}};
  const std::string bytes = encode(found);
  EXPECT_EQ(decode_shim_report(bytes + "R").credentials, found);
  EXPECT_TRUE(decode_shim_report(bytes + "R").reached_exec);
  EXPECT_TRUE(decode_shim_report(bytes + encode(ShimFailure{ShimStep::gid, EPERM})).failure);
  EXPECT_EQ(decode_shim_report("R").credentials, std::nullopt);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    EXPECT_EQ(decode_shim_report(bytes.substr(0, i)).credentials, std::nullopt) << i;
    EXPECT_FALSE(decode_shim_report(bytes.substr(0, i)).reached_exec) << i;
  }
  Credentials most = found;
  most.groups.resize(reported_groups_max);
  EXPECT_LT(encode(most).size() + 1 + shim_failure_bytes, shim_report_bytes_max);
}

TEST(CredentialCache, KeepsForAMinuteAndOnlyForTheSameFiles) {
  CredentialCache cache;
  const CredentialCache::Stamp stamp = CredentialCache::stamp();
  const Instant start{};
  const Credentials found{.uid = 7, .gid = 8, .groups = {9}};
  cache.keep("bob", "", found, stamp, start);
  EXPECT_EQ(cache.find("bob", "", stamp, start + Millis(59'999)), found);
  EXPECT_EQ(cache.find("bob", "", stamp, start + Millis(60'000)), std::nullopt);
  EXPECT_EQ(cache.find("bob", "staff", stamp, start), std::nullopt);
  EXPECT_EQ(cache.find("", "", stamp, start), std::nullopt);
  CredentialCache::Stamp other = stamp;
  other[1].changed_ns += 1;
  EXPECT_EQ(cache.find("bob", "", other, start), std::nullopt);
  cache.keep("bob", "", Credentials{.uid = 17, .gid = 8, .groups = {}}, other, start);
  EXPECT_EQ(cache.find("bob", "", other, start)->uid, 17U);
}

TEST(ShimReport, EveryStepHasItsSentence) {
  const ShimNames names{"./db", "/srv", "bob", "staff"};
  std::map<std::string, int> sentences;
  for (int step = 1; step <= static_cast<int>(ShimStep::interpreter); ++step) {
    const std::string sentence = describe(ShimFailure{static_cast<ShimStep>(step), EACCES}, names);
    EXPECT_THAT(sentence, Not(HasSubstr("step "))) << step;
    ++sentences[sentence];
  }
  EXPECT_EQ(sentences.size(), static_cast<std::size_t>(ShimStep::interpreter));
  EXPECT_EQ(describe({ShimStep::exec, ENOENT}, names), "exec ./db: No such file or directory");
  EXPECT_EQ(describe({ShimStep::user, 0}, names), "user \"bob\": no such user");
  EXPECT_EQ(describe({ShimStep::dir, EACCES}, names), "chdir /srv: Permission denied");
  EXPECT_THAT(describe({static_cast<ShimStep>(200), EIO}, names), HasSubstr("step 200"));
  EXPECT_TRUE(is_shortage({ShimStep::exec, ENOMEM}));
  EXPECT_TRUE(is_shortage({ShimStep::shim, ENOENT}));
  EXPECT_FALSE(is_shortage({ShimStep::exec, ENOENT}));
}

std::string stat_line(int pid, const std::string& name, char state, int parent, int session) {
  return std::to_string(pid) + " (" + name + ") " + state + " " + std::to_string(parent) + " 1 " +
         std::to_string(session) + " 0 -1 4194560 100 0 0 0 30 12 7 8 20 0 1 0 5000 8192 100\n";
}

TEST(ProcFiles, StatWithAnyName) {
  for (const std::string name : {"sh", "a b", ") Z 1 (", "((", ""}) {
    const auto stat = parse_proc_stat(stat_line(42, name, 'S', 7, 40));
    ASSERT_TRUE(stat) << name;
    EXPECT_EQ(stat->pid, 42);
    EXPECT_EQ(stat->state, 'S');
    EXPECT_EQ(stat->parent, 7);
    EXPECT_EQ(stat->session, 40);
    EXPECT_EQ(stat->cpu_ticks, 42U);
    EXPECT_EQ(stat->start_ticks, 5000U);
    EXPECT_EQ(stat->resident_pages, 100U);
    EXPECT_FALSE(stat->ended());
  }
  EXPECT_TRUE(parse_proc_stat(stat_line(1, "x", 'Z', 0, 0))->ended());
  for (const char* bad :
       {"", "1", "1 (x)", "1 (x) ", "1 (x) S 1 2 3", "x (x) S 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"}) {
    EXPECT_FALSE(parse_proc_stat(bad)) << bad;
  }
}

TEST(ProcFiles, EnvironItems) {
  const std::string environ = "A=1\0MUSTER=x\0MUSTER_INSTANCE=one,two\0B\0MUSTER_INSTANCE=three\0"s;
  EXPECT_THAT(environ_items(environ, "MUSTER_INSTANCE"), ElementsAre("one", "two", "three"));
  EXPECT_THAT(environ_items(environ, "MISSING"), IsEmpty());
  EXPECT_THAT(environ_items("MUSTER_INSTANCE=", "MUSTER_INSTANCE"), IsEmpty());
  EXPECT_THAT(environ_items("", "A"), IsEmpty());
}

TEST(ProcFiles, Cgroups) {
  EXPECT_EQ(parse_cgroup2_path("8:pids:/x\n0::/a/b\n"), "/a/b");
  EXPECT_EQ(parse_cgroup2_path("0::/\n"), "/");
  EXPECT_FALSE(parse_cgroup2_path("0::/a (deleted)\n"));
  EXPECT_FALSE(parse_cgroup2_path("0::/../x\n"));
  EXPECT_FALSE(parse_cgroup2_path("8:pids:/x\n"));
  const std::string mounts =
      "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
      "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n"
      "42 31 0:38 /a /mnt/with\\040blank rw - cgroup2 cgroup2 rw\n";
  EXPECT_THAT(cgroup2_folders(mounts, "/"), ElementsAre("/sys/fs/cgroup/unified"));
  EXPECT_THAT(cgroup2_folders(mounts, "/a/b"),
              ElementsAre("/sys/fs/cgroup/unified/a/b", "/mnt/with blank/b"));
  EXPECT_THAT(cgroup2_folders(mounts, "/a"), ElementsAre("/sys/fs/cgroup/unified/a", "/mnt/with blank"));
  EXPECT_THAT(cgroup2_folders(mounts, "/ab"), ElementsAre("/sys/fs/cgroup/unified/ab"));
  EXPECT_THAT(cgroup2_folders("", "/"), IsEmpty());
  EXPECT_EQ(keyed_number("populated 1\nfrozen 0\n", "frozen"), 0U);
  EXPECT_EQ(keyed_number("usage_usec 77\n", "usage"), std::nullopt);
  EXPECT_EQ(keyed_number("oom_kill x\n", "oom_kill"), std::nullopt);
  EXPECT_THAT(parse_pids("12\n0\n7\n"), ElementsAre(12, 7));
  EXPECT_EQ(parse_statm_resident("100 42 3 1 0 20 0\n"), 42U);
}

// pid, parent, session, start; everything started after the host (10) unless said.
ProcStat process(int pid, int parent, int session, std::uint64_t start = 100, char state = 'S') {
  return {
      .pid = pid, .state = state, .parent = parent, .session = session, .cpu_ticks = 0, .start_ticks = start};
}

class Marks : public testing::Test {
 protected:
  std::vector<int> trees(const std::vector<ProcStat>& processes) {
    return assign_to_trees(processes, {{"red", 100, 100}, {"blue", 200, 100}},
                           {.host_pid = 50, .host_start_ticks = 10, .environ_of = [this](int pid) {
                              const auto found = environs.find(pid);
                              return found == environs.end() ? std::string()
                                                             : "MUSTER_INSTANCE=" + found->second;
                            }});
  }
  std::map<int, std::string> environs;
};

// Host 50; each look is at one moment.
class UndecidedTest : public testing::Test {
 protected:
  bool any(const std::vector<ProcStat>& processes, const std::vector<int>& trees, std::uint64_t now_ms,
           const std::set<int>& blank = {300}) {
    return undecided.any(processes, trees, blank, {.host_pid = 50, .host_start_ticks = 10, .environ_of = {}},
                         now_ms);
  }
  static ProcStat process(int pid, int parent, char state = 'S', std::uint64_t start_ticks = 100) {
    ProcStat made;
    made.pid = pid;
    made.parent = parent;
    made.state = state;
    made.start_ticks = start_ticks;
    return made;
  }
  Undecided undecided;
};

TEST_F(UndecidedTest, AnOrphanWithoutAnEnvironmentMayBeOurs) {
  EXPECT_TRUE(any({process(50, 1), process(300, 50)}, {-1, -1}, 0));
  EXPECT_TRUE(any({process(50, 1), process(300, 77)}, {-1, -1}, 0));  // its parent has just ended
  EXPECT_FALSE(any({process(50, 1), process(300, 50)}, {-1, -1}, 0, {}));
}

TEST_F(UndecidedTest, OneThatIsKnownEndedOrSomebodysChildIsDecided) {
  EXPECT_FALSE(any({process(50, 1), process(300, 50)}, {-1, 0}, 0));
  EXPECT_FALSE(any({process(50, 1), process(300, 50, 'Z')}, {-1, -1}, 0));
  EXPECT_FALSE(any({process(2, 0), process(300, 2)}, {-1, -1}, 0));  // a kernel thread
}

TEST_F(UndecidedTest, OneThatStaysBlankHoldsNothingUpForEver) {
  const std::vector<ProcStat> now{process(50, 1), process(300, 50)};
  EXPECT_TRUE(any(now, {-1, -1}, 5000));
  EXPECT_TRUE(any(now, {-1, -1}, 5000 + Undecided::ms_max - 1));
  EXPECT_FALSE(any(now, {-1, -1}, 5000 + Undecided::ms_max));
  // The same number again is another process.
  EXPECT_TRUE(any({process(50, 1), process(300, 50, 'S', 200)}, {-1, -1}, 5000 + Undecided::ms_max));
}

TEST_F(Marks, BySessionTokenAndDescent) {
  environs = {{120, "red"}, {300, "outer,blue"}};
  EXPECT_THAT(
      trees({process(50, 1, 50, 10), process(100, 50, 100), process(110, 100, 100), process(120, 50, 120),
             process(121, 120, 121), process(200, 50, 200), process(300, 1, 300), process(301, 300, 301),
             process(400, 50, 400), process(401, 400, 400)}),
      ElementsAre(-1, 0, 0, 0, 0, 1, 1, 1, -1, -1));
}

TEST_F(Marks, TokenOfAnotherTreeBeatsDescent) {
  environs = {{150, "blue"}};
  EXPECT_THAT(trees({process(100, 50, 100), process(150, 100, 150), process(151, 150, 151)}),
              ElementsAre(0, 1, 1));
}

TEST_F(Marks, NothingOlderThanTheHostAndNoReusedNumber) {
  environs = {{120, "red"}};
  EXPECT_THAT(trees({process(120, 1, 120, 9)}), ElementsAre(-1));
  // The main process of "red" is gone, somebody else has its number and leads a session of it.
  EXPECT_THAT(trees({process(100, 1, 100, 500), process(101, 100, 100, 501)}), ElementsAre(-1, -1));
}

TEST_F(Marks, CyclesEnd) {
  EXPECT_THAT(trees({process(7, 8, 7), process(8, 7, 8)}), ElementsAre(-1, -1));
}

TEST(TokenGiver, ComesBackFromItsToken) {
  const TokenGiver giver{
      .end_with_daemon = true, .pid = 12, .start_ticks = 34, .pid_namespace = 56, .random = "ab"};
  EXPECT_EQ(decode_token_giver(encode(giver)), giver);
  EXPECT_EQ(decode_token_giver(encode(giver) + "-17-c3"), giver);
  for (const char* bad : {"", "stop", "stop.1.2.3", "stop.1.2.3.", "stop.1.2.3.a.b", "else.1.2.3.a",
                          "stop.0.2.3.a", "stop.x.2.3.a", "stop.99999999999.2.3.a", "stop.1.2.3-a"}) {
    EXPECT_FALSE(decode_token_giver(bad)) << bad;
  }
}

}  // namespace
}  // namespace muster::supervisor
