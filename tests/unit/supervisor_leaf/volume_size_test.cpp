#include "supervisor/volume_size.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

namespace muster::supervisor {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

// One file system with one folder.
class FakeQuota final : public ProjectQuota {
 public:
  std::string missing(int /*folder*/) override { return off ? "ext4 without project quota" : ""; }
  Result<ProjectUse> use(int /*folder*/, std::uint32_t project) override { return uses[project]; }
  Status limit(int /*folder*/, std::uint32_t project, std::uint64_t bytes) override {
    if (denied) return Error{.message = "Q_SETQUOTA: Operation not permitted"};
    uses[project].limit_bytes = bytes;
    return Unit{};
  }
  Result<std::uint32_t> project_of(int /*file*/) override { return folder_project; }
  Status assign(int /*file*/, bool /*is_folder*/, std::uint32_t project) override {
    folder_project = project;
    return Unit{};
  }
  std::set<std::uint32_t> reserved() override { return kept; }

  bool off = false;
  bool denied = false;
  std::uint32_t folder_project = 0;
  std::map<std::uint32_t, ProjectUse> uses;
  std::set<std::uint32_t> kept;
};

constexpr std::uint64_t mib = 1U << 20U;

SizeQuestion sized(std::optional<std::uint64_t> size, std::uint32_t project = 0) {
  return {.folder = 3, .project = project, .size = size, .uid = 1000, .taken = {}};
}

TEST(VolumeSize, ANewVolumeGetsAProjectOfItsOwn) {
  FakeQuota quota;
  const SizeAnswer answer = hold_to_size(quota, sized(mib));
  EXPECT_TRUE(answer.enforced);
  EXPECT_EQ(answer.project, project_first);
  EXPECT_TRUE(answer.assign_files);
  EXPECT_EQ(quota.uses[project_first].limit_bytes, mib);
}

TEST(VolumeSize, AProjectThatSomebodyUsesIsLeftAlone) {
  FakeQuota quota;
  quota.kept = {project_first};
  quota.uses[project_first + 1] = {.used_bytes = 1, .limit_bytes = 0, .files = 0};
  quota.uses[project_first + 2] = {.used_bytes = 0, .limit_bytes = 5, .files = 0};
  quota.uses[project_first + 3] = {.used_bytes = 0, .limit_bytes = 0, .files = 1};
  SizeQuestion question = sized(mib);
  question.taken = [](std::uint32_t number) { return number == project_first + 4; };
  EXPECT_EQ(hold_to_size(quota, question).project, project_first + 5);
  question.taken = [](std::uint32_t) { return true; };
  const SizeAnswer none = hold_to_size(quota, question);
  EXPECT_FALSE(none.enforced);
  EXPECT_EQ(none.project, 0U);
  EXPECT_THAT(none.why_not, HasSubstr("no number of a project is free"));
}

TEST(VolumeSize, AnotherSizeCountsAtOnce) {
  FakeQuota quota;
  quota.folder_project = 7;
  quota.uses[7] = {.used_bytes = 3 * mib, .limit_bytes = 4 * mib, .files = 9};
  const SizeAnswer answer = hold_to_size(quota, sized(2 * mib, 7));
  EXPECT_TRUE(answer.enforced);
  EXPECT_EQ(answer.project, 7U);
  EXPECT_FALSE(answer.assign_files);
  EXPECT_EQ(quota.uses[7].limit_bytes, 2 * mib);
}

TEST(VolumeSize, WithoutASizeThereIsNoLimit) {
  FakeQuota quota;
  quota.uses[7].limit_bytes = mib;
  const SizeAnswer answer = hold_to_size(quota, sized(std::nullopt, 7));
  EXPECT_FALSE(answer.enforced);
  EXPECT_EQ(answer.project, 7U);
  EXPECT_THAT(answer.why_not, IsEmpty());
  EXPECT_EQ(quota.uses[7].limit_bytes, 0U);
  EXPECT_EQ(hold_to_size(quota, sized(std::nullopt)).project, 0U);
}

TEST(VolumeSize, AFolderOfSomebodysProjectIsTheirsToLimit) {
  FakeQuota quota;
  quota.folder_project = 12;
  const SizeAnswer answer = hold_to_size(quota, sized(mib));
  EXPECT_FALSE(answer.enforced);
  EXPECT_THAT(answer.why_not, HasSubstr("project 12"));
  EXPECT_TRUE(quota.uses.empty());
}

// Half of the files are assigned when a daemon is killed: the next one begins anew, with the same number.
TEST(VolumeSize, FilesThatAreNotAssignedYetAreAssignedLater) {
  FakeQuota quota;
  const SizeAnswer answer = hold_to_size(quota, sized(mib, 7));
  EXPECT_EQ(answer.project, 7U);
  EXPECT_TRUE(answer.assign_files);
}

TEST(VolumeSize, SaysWhyItIsNotEnforced) {
  FakeQuota quota;
  quota.off = true;
  EXPECT_EQ(hold_to_size(quota, sized(mib)).why_not, "ext4 without project quota");
  quota.off = false;
  quota.denied = true;
  const SizeAnswer denied = hold_to_size(quota, sized(mib));
  EXPECT_FALSE(denied.enforced);
  EXPECT_THAT(denied.why_not, HasSubstr("not permitted"));
  EXPECT_EQ(denied.project, 0U);
  quota.denied = false;
  SizeQuestion of_root = sized(mib);
  of_root.uid = 0;
  const SizeAnswer passed = hold_to_size(quota, of_root);
  EXPECT_FALSE(passed.enforced);
  EXPECT_THAT(passed.why_not, HasSubstr("root"));
}

TEST(ProjectNumbers, OfBothFiles) {
  EXPECT_EQ(project_numbers("# 5:x\n10:/export/a\n\n11:/b:c\n4294967296:/d\n"),
            (std::set<std::uint32_t>{10, 11}));
  EXPECT_EQ(project_numbers("logs:20\nmail:21"), (std::set<std::uint32_t>{20, 21}));
}

}  // namespace
}  // namespace muster::supervisor
