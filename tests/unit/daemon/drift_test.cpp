#include "supervisor/drift.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster::supervisor {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const ReplicaId web{.app = "web", .ordinal = 2};
constexpr const char* limits_text =
    "Limit                     Soft Limit           Hard Limit           Units     \n"
    "Max core file size        0                    unlimited            bytes     \n"
    "Max open files            1024                 4096                 files     \n";

ProcessFacts healthy() {
  ProcessFacts facts;
  facts.exe = "/usr/bin/app";
  facts.exe_exists = true;
  facts.limits = limits_text;
  facts.environ = std::string("MUSTER_APP=web\0MODE=fast\0EXTRA=1\0", 33);
  facts.volumes = {{"/var/lib/muster/volumes/web/2/data", true}};
  return facts;
}

spec::App app_with_limits() {
  spec::App app;
  app.name = "web";
  app.limits.files = 4096;
  return app;
}

const std::vector<std::string> environment{"MUSTER_APP=web", "MODE=fast"};

std::vector<std::string> kinds(const ProcessFacts& facts, const spec::App& app = app_with_limits()) {
  std::vector<std::string> found;
  for (const Drift& drift : drift_of(web, app, environment, facts)) found.push_back(drift.kind);
  return found;
}

TEST(Drift, AProcessThatIsAsItWasStartedHasNone) {
  EXPECT_THAT(kinds(healthy()), IsEmpty());
}

TEST(Drift, WhatCannotBeReadSaysNothing) {
  EXPECT_THAT(kinds(ProcessFacts{}), IsEmpty());
}

TEST(Drift, AReplacedProgram) {
  ProcessFacts facts = healthy();
  facts.exe = "/usr/bin/app (deleted)";
  const auto found = drift_of(web, app_with_limits(), environment, facts);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].app, "web");
  EXPECT_EQ(found[0].ordinal, 2);
  EXPECT_EQ(found[0].text,
            "its program /usr/bin/app was replaced on disk, it runs the old one; `muster restart web/2` "
            "starts it as "
            "declared");
  facts.exe_exists = false;
  EXPECT_THAT(drift_of(web, app_with_limits(), environment, facts)[0].text, HasSubstr("was removed on disk"));
}

TEST(Drift, AnotherHardLimit) {
  ProcessFacts facts = healthy();
  spec::App app = app_with_limits();
  app.limits.files = 100;
  app.limits.core = 0;
  const auto found = drift_of(web, app, environment, facts);
  ASSERT_EQ(found.size(), 2U);
  EXPECT_THAT(found[0].text, HasSubstr("limits.files is 4096 now, declared is 100"));
  EXPECT_THAT(found[1].text, HasSubstr("limits.core is unlimited now, declared is 0"));
}

TEST(Drift, AnotherEnvironmentNamesTheVariableAndNoValue) {
  ProcessFacts facts = healthy();
  facts.environ = std::string("MUSTER_APP=web\0MODE=slow\0", 25);
  const auto found = drift_of(web, app_with_limits(), environment, facts);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_THAT(found[0].text, HasSubstr("another value of MODE than declared"));
  EXPECT_THAT(found[0].text, testing::Not(HasSubstr("slow")));
}

TEST(Drift, ATitleOverTheEnvironmentIsNone) {
  ProcessFacts facts = healthy();
  facts.environ = "nginx: worker process";
  EXPECT_THAT(kinds(facts), IsEmpty());
}

TEST(Drift, ACgroupThatItLeftAndAVolumeThatIsGone) {
  ProcessFacts facts = healthy();
  facts.in_its_tree = false;
  facts.volumes[0].second = false;
  EXPECT_THAT(kinds(facts), ElementsAre("cgroup", "volume"));
}

TEST(Drift, HardLimits) {
  EXPECT_EQ(hard_limit(limits_text, "Max open files"), 4096U);
  EXPECT_EQ(hard_limit(limits_text, "Max core file size"), std::nullopt);
  EXPECT_EQ(hard_limit(limits_text, "Max nice priority"), std::nullopt);
  EXPECT_EQ(hard_limit("Max open files", "Max open files"), std::nullopt);
}

}  // namespace
}  // namespace muster::supervisor
