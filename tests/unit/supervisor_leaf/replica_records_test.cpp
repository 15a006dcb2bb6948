// The records of replicas in a folder: what the next daemon finds there.
#include "supervisor/replica_records.h"

#include <sys/resource.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "leaf_rig.h"

namespace muster::supervisor {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

class ReplicaRecordsTest : public testing::Test {
 protected:
  ReplicaRecordsTest() {
    EXPECT_TRUE(records.begin(DaemonLife{.boot_id = "boot", .cgroups = {}, .token = "token"}));
  }

  ReplicaRecord record(std::uint64_t instance, int ordinal) {
    auto app = std::make_shared<spec::App>();
    app->name = "web";
    ReplicaRecord made;
    made.process.instance = InstanceId{instance};
    made.process.replica = {"web", ordinal};
    made.process.revision = Revision{1};
    made.process.app = app;
    made.boot_id = "boot";
    made.token = "token";
    return made;
  }
  void start(std::uint64_t instance, int ordinal) {
    records.add(record(instance, ordinal));
    records.began(InstanceId{instance}, 800 + static_cast<int>(instance), 5, WallTime{} + Millis{1});
  }
  // As another daemon would see it.
  ReplicaRecords::Found found(const std::string& boot_id = "boot") {
    auto there = ReplicaRecords(folder / "replicas", boot_id, [](const std::string&) {}).find();
    EXPECT_TRUE(there) << there.error().message;
    return there ? std::move(there).value() : ReplicaRecords::Found{};
  }
  std::vector<std::uint64_t> instances() {
    std::vector<std::uint64_t> numbers;
    for (const ReplicaRecord& record : found().records) numbers.push_back(raw(record.process.instance));
    return numbers;
  }

  TempFolder folder;
  std::vector<std::string> problems;
  ReplicaRecords records{folder / "replicas", "boot",
                         [this](const std::string& problem) { problems.push_back(problem); }};
};

// Without the daemon's own file its replicas would be nobody's: what could not be written at first is written later.
TEST_F(ReplicaRecordsTest, BeginsLaterWhereItCouldNotAtFirst) {
  const std::string blocked = folder / "late";
  std::ofstream(blocked) << "no folder";
  ReplicaRecords late(blocked, "boot", [this](const std::string& problem) { problems.push_back(problem); });
  EXPECT_FALSE(late.begin(DaemonLife{.boot_id = "", .cgroups = {}, .token = "late"}));
  late.add(record(1, 0));
  EXPECT_THAT(problems, SizeIs(1));
  std::filesystem::remove(blocked);
  late.add(record(2, 1));
  EXPECT_THAT(problems, ElementsAre(testing::_, ""));
  late.began(InstanceId{2}, 802, 5, WallTime{} + Millis{1});
  const auto there = ReplicaRecords(blocked, "boot", [](const std::string&) {}).find();
  ASSERT_TRUE(there && there.value().life);
  EXPECT_EQ(there.value().life->token, "late");
  EXPECT_EQ(there.value().life->boot_id, "boot");
  EXPECT_THAT(there.value().records, SizeIs(1));
}

TEST_F(ReplicaRecordsTest, FindsWhatRuns) {
  start(3, 0);
  start(4, 1);
  const auto there = found();
  ASSERT_THAT(there.records, SizeIs(2));
  EXPECT_EQ(there.records[1].process.pid, 804);
  EXPECT_EQ(there.next, InstanceId{5});
  EXPECT_TRUE(there.life);
  EXPECT_THAT(problems, IsEmpty());
}

TEST_F(ReplicaRecordsTest, NothingOfAnotherBootOrAfterAnOrderlyEnd) {
  start(3, 0);
  EXPECT_THAT(found("another boot").records, IsEmpty());
  start(4, 0);
  records.end();
  EXPECT_THAT(found().records, IsEmpty());
}

// Whoever finds a state from before the end learns of it all the same.
TEST_F(ReplicaRecordsTest, AnEndIsKnownUntilItIsRemoved) {
  start(3, 0);
  records.exited(InstanceId{3}, ExitStatus{.code = 0, .signal = std::nullopt});
  records.retire(InstanceId{3});
  const auto there = found();
  ASSERT_THAT(there.records, SizeIs(1));
  ASSERT_TRUE(there.records[0].process.exit);
  EXPECT_EQ(there.records[0].process.exit->code, 0);
  EXPECT_THAT(records.take_retired(), ElementsAre(InstanceId{3}));
  EXPECT_THAT(records.take_retired(), IsEmpty());
  records.remove(InstanceId{3});
  EXPECT_THAT(found().records, IsEmpty());
  EXPECT_TRUE(std::filesystem::exists(folder / "replicas/daemon"));
  start(4, 0);
  records.retire(InstanceId{4});
  records.end();
  EXPECT_TRUE(std::filesystem::is_empty(folder / "replicas"));
}

TEST_F(ReplicaRecordsTest, TheFirstEndCountsAndNoMarkUndoesIt) {
  start(3, 0);
  records.exited(InstanceId{3}, ExitStatus{.code = 4, .signal = std::nullopt});
  records.exited(InstanceId{3}, ExitStatus{});
  records.mark(InstanceId{3}, ReplicaMark{.started = true, .stopping = true});
  const auto there = found();
  ASSERT_THAT(there.records, SizeIs(1));
  ASSERT_TRUE(there.records[0].process.exit);
  EXPECT_EQ(there.records[0].process.exit->code, 4);
  EXPECT_TRUE(there.records[0].process.mark.stopping);
}

TEST_F(ReplicaRecordsTest, TheNextProcessOfAReplicaTakesThePlace) {
  start(3, 0);
  start(4, 1);
  records.retire(InstanceId{3});
  records.retire(InstanceId{4});
  EXPECT_THAT(records.take_retired(), ElementsAre(InstanceId{3}, InstanceId{4}));
  start(5, 0);
  records.remove_outlived();
  EXPECT_THAT(instances(), ElementsAre(4, 5));
  start(6, 0);  // beside one that lives
  records.remove_outlived();
  EXPECT_THAT(instances(), ElementsAre(4, 5, 6));
  records.retire(InstanceId{6});
  start(7, 0);
  records.remove_outlived();
  EXPECT_THAT(records.take_retired(), IsEmpty()) << "removed already";
}

TEST_F(ReplicaRecordsTest, WhatIsDamagedIsSaidAndGone) {
  start(3, 0);
  start(4, 1);
  write_file(folder / "replicas/3", "nothing of ours");
  const auto there = found();
  EXPECT_THAT(there.warnings, SizeIs(1));
  ASSERT_THAT(there.records, SizeIs(1));
  EXPECT_EQ(there.records[0].process.instance, InstanceId{4});
  EXPECT_FALSE(std::filesystem::exists(folder / "replicas/3"));
}

TEST_F(ReplicaRecordsTest, ADaemonWhoseFileIsDamagedIsKnownByItsRecords) {
  ReplicaRecord grouped = record(3, 0);
  grouped.cgroup = "/sys/fs/cgroup/muster-1/web-0-3";
  grouped.token = "1.2.3.4.keep-3";
  records.add(grouped);
  records.began(InstanceId{3}, 803, 5, WallTime{} + Millis{1});
  write_file(folder / "replicas/daemon", "nothing of ours");
  const auto there = found();
  EXPECT_THAT(there.warnings, SizeIs(1));
  ASSERT_THAT(there.records, SizeIs(1));
  EXPECT_EQ(there.records[0].process.pid, 803);
  ASSERT_TRUE(there.life);
  EXPECT_EQ(*there.life,
            (DaemonLife{.boot_id = "boot", .cgroups = {"/sys/fs/cgroup/muster-1"}, .token = "1.2.3.4.keep"}));
  EXPECT_FALSE(found("another boot").life);
  EXPECT_THAT(found().records, IsEmpty()) << "of another boot: removed";
  EXPECT_FALSE(found().life);
}

// What cannot be read may be there all the same: nobody it tells of is given up.
TEST_F(ReplicaRecordsTest, ADaemonWhoseFileCannotBeReadIsKnownByItsRecords) {
  start(3, 0);
  std::filesystem::remove(folder / "replicas/daemon");
  std::filesystem::create_directory(folder / "replicas/daemon");
  const auto there = found();
  EXPECT_THAT(there.warnings, ElementsAre(testing::HasSubstr("replicas/daemon")));
  EXPECT_THAT(there.records, SizeIs(1));
  EXPECT_TRUE(there.life);
}

TEST_F(ReplicaRecordsTest, WithoutTheBootsIdNothingIsTouched) {
  start(3, 0);
  const auto there = ReplicaRecords(folder / "replicas", "", [](const std::string&) {}).find();
  ASSERT_FALSE(there);
  EXPECT_THAT(there.error().message, testing::HasSubstr("boot_id"));
  EXPECT_THAT(instances(), ElementsAre(3));
  records.end();
  EXPECT_TRUE(ReplicaRecords(folder / "replicas", "", [](const std::string&) {}).find()) << "nobody runs";
}

TEST_F(ReplicaRecordsTest, WithoutDescriptorsNothingIsTouched) {
  start(3, 0);
  ReplicaRecords next(folder / "replicas", "boot", [](const std::string&) {});
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  const rlimit none{1, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  const auto there = next.find();
  setrlimit(RLIMIT_NOFILE, &before);
  ASSERT_FALSE(there);
  EXPECT_EQ(there.error().errno_value, EMFILE);
  EXPECT_THAT(instances(), ElementsAre(3));
}

TEST_F(ReplicaRecordsTest, AFolderThatIsGoneIsReportedOnce) {
  std::filesystem::remove_all(folder / "replicas");
  start(3, 0);
  start(4, 0);
  EXPECT_THAT(problems, SizeIs(1));
  std::filesystem::create_directory(folder / "replicas");
  start(5, 0);
  ASSERT_THAT(problems, SizeIs(2));
  EXPECT_EQ(problems.back(), "");
}

}  // namespace
}  // namespace muster::supervisor
