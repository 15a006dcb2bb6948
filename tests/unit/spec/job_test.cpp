#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "rig.h"

namespace muster::spec {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

FakeWorld with_zones() {
  FakeWorld world;
  for (const char* name : {"Europe/Berlin", "America/New_York"}) {
    std::ifstream file(std::string("/usr/share/zoneinfo/") + name, std::ios::binary);
    world.files[std::string("/usr/share/zoneinfo/") + name] = {std::istreambuf_iterator<char>(file), {}};
  }
  return world;
}

Job job_with(const std::string& keys, const FakeWorld& world = {}) {
  Spec spec = good("[job.a]\nrun = 'x'\n" + keys, {}, world);
  return spec.jobs.empty() ? Job{} : std::move(spec.jobs.front());
}

std::vector<std::string> job_complaints(const std::string& keys, const FakeWorld& world = {}) {
  return complaints("[job.a]\nrun = 'x'\n" + keys, {}, world);
}

TEST(Jobs, HaveTheKeysOfAnAppsProcess) {
  const Job job = job_with(
      "dir = 'd'\nenv = { A = '1' }\nuser = 'www'\numask = '027'\nnice = 5\nvolume = 'data'\n"
      "limits = { files = 100 }\nlog = { keep = 1 }\nstop = { timeout = '3s', signal = 'INT' }\ntimeout = "
      "'1m'\n");
  EXPECT_EQ(job.name(), "a");
  EXPECT_EQ(job.task.umask, 027U);
  EXPECT_EQ(job.task.nice, 5);
  EXPECT_EQ(job.task.user, "www");
  EXPECT_EQ(job.task.volumes.size(), 1U);
  EXPECT_EQ(job.task.log.keep, 1);
  EXPECT_EQ(job.task.stop.timeout, Millis(3000));
  EXPECT_EQ(job.timeout, Millis(60000));
  EXPECT_EQ(job.overlap, Overlap::forbid);
  EXPECT_EQ(job.retries, 0);
  EXPECT_TRUE(job.runs_at_start());
}

TEST(Jobs, HaveASchedule) {
  const Job job = job_with(
      "schedule = '30 2 * * *'\ntimezone = 'Europe/Berlin'\noverlap = 'allow'\nretries = 3\n", with_zones());
  ASSERT_TRUE(job.schedule);
  EXPECT_EQ(job.schedule->text, "30 2 * * *");
  EXPECT_EQ(job.timezone, "Europe/Berlin");
  ASSERT_TRUE(job.zone);
  EXPECT_EQ(job.zone->period_at(1'782'907'200).offset, 7200);
  EXPECT_EQ(job.overlap, Overlap::allow);
  EXPECT_EQ(job.retries, 3);
  EXPECT_FALSE(job.runs_at_start());
}

TEST(Jobs, GoByTheClocksOfTheHostWithoutATimezone) {
  FakeWorld world = with_zones();
  EXPECT_EQ(job_with("schedule = '@daily'\n", world).zone->period_at(0).offset, 0);
  world.files["/etc/localtime"] = world.files["/usr/share/zoneinfo/America/New_York"];
  EXPECT_EQ(job_with("schedule = '@daily'\n", world).zone->period_at(1'767'225'600).offset, -18000);
  for (const char* tz : {"Europe/Berlin", ":Europe/Berlin", "CET-1CEST,M3.5.0,M10.5.0/3"}) {
    world.environment["TZ"] = tz;
    EXPECT_EQ(job_with("schedule = '@daily'\n", world).zone->period_at(1'767'225'600).offset, 3600) << tz;
  }
  world.environment["TZ"] = "nonsense";
  EXPECT_EQ(job_with("schedule = '@daily'\n", world).zone->period_at(1'767'225'600).offset, 0);
}

TEST(Jobs, ZonesThatAreNoneAreSaid) {
  const FakeWorld world = with_zones();
  const auto said = [&](const std::string& zone) {
    return job_complaints("schedule = '@daily'\ntimezone = '" + zone + "'\n", world);
  };
  EXPECT_THAT(said("Europe/Berln"),
              ElementsAre("4:12 there is no time zone 'Europe/Berln' | did you mean 'Europe/Berlin'?"));
  EXPECT_THAT(said("Berlin"),
              ElementsAre("4:12 there is no time zone 'Berlin' | did you mean 'Europe/Berlin'?"));
  EXPECT_THAT(said("../../etc/passwd"), ElementsAre(HasSubstr("there is no time zone '../../etc/passwd'")));
  EXPECT_THAT(said("/etc/localtime"), ElementsAre(HasSubstr("there is no time zone")));
  EXPECT_THAT(job_complaints("timezone = 'Europe/Berlin'\n", world),
              ElementsAre("3:12 a `timezone` belongs to a `schedule`, and there is none"));
  EXPECT_THAT(job_complaints("schedule = '@daily'\ntimezone = 'Mars/Base'\n"),
              ElementsAre(HasSubstr("is the package tzdata installed?")));
}

TEST(Jobs, WhatIsWrongWithOneIsSaidAtItsPlace) {
  EXPECT_THAT(job_complaints("schedule = '0 0 30 2 *'\n"),
              ElementsAre("3:12 '0 0 30 2 *' never comes: no such day is in these months"));
  EXPECT_THAT(job_complaints("overlap = 'skip'\n"), ElementsAre(HasSubstr("3:11")));
  EXPECT_THAT(job_complaints("schedle = '@daily'\n"),
              ElementsAre("3:1 unknown key 'schedle' | did you mean 'schedule'?"));
  EXPECT_THAT(job_complaints("replicas = 2\n"),
              ElementsAre("3:1 unknown key 'replicas' | 'replicas' belongs to [app.NAME]"));
  EXPECT_THAT(job_complaints("stop = { drain = '1s' }\n"),
              ElementsAre("3:10 a job has no requests that could be drained"));
  EXPECT_THAT(job_complaints("before = ['web', 'web']\n"),
              ElementsAre("3:11 there is no app 'web'", "3:18 'web' is named twice"));
  EXPECT_THAT(complaints("[job.a]\nrun = 'x --port {port}'\n"),
              ElementsAre("2:7 '{port}': job 'a' has no port | nothing listens to a job"));
  EXPECT_THAT(complaints("[job.a]\n"), ElementsAre("1:6 job 'a' has no `run`"));
  EXPECT_THAT(complaints("[job.a]\nrun = 'x'\n", root_daemon),
              ElementsAre(HasSubstr("job 'a' has no `user`, and muster runs as root")));
}

TEST(Jobs, ShareTheirNamesWithApps) {
  EXPECT_THAT(complaints("[app.a]\nrun = 'x'\n[job.a]\nrun = 'x'\n"),
              ElementsAre("3:6 'a' is already the name of an app at /spec/muster.toml:1:6"));
  EXPECT_THAT(
      complaints("[app.a]\nrun = 'x'\n[job.b]\nrun = 'x'\n[listen.l]\nbind = '127.0.0.1:80'\nto = 'b'\n"),
      ElementsAre("7:6 'b' is a job, not an app"));
  EXPECT_THAT(complaints("[job.a]\nrun = 'x'\nbefore = 'b'\n[job.b]\nrun = 'x'\n"),
              ElementsAre("3:10 'b' is a job, not an app"));
}

TEST(Jobs, AppsComeAfterTheirEnd) {
  const std::string stack = "[job.init]\nrun = 'x'\n[app.web]\nrun = 'x'\nafter = ";
  EXPECT_THAT(
      complaints(stack + "['init']\n"),
      ElementsAre(
          "5:10 job 'init' runs to its end and is never ready | after = { init = \"completed-ok\" }"));
  EXPECT_THAT(complaints(stack + "['inti']\n"),
              ElementsAre("5:10 there is no app 'inti' | did you mean 'init'?"));
  const Spec spec = good(stack + "{ init = 'completed-ok' }\n");
  EXPECT_EQ(spec.apps.front().after.front().app, "init");
  EXPECT_THAT(complaints("[job.init]\nrun = 'x'\nschedule = '@daily'\n[app.web]\nrun = 'x'\n"
                         "after = { init = 'completed' }\n"),
              ElementsAre("warning 6:11 job 'init' runs by its schedule: app 'web' waits for the first run"));
}

TEST(Jobs, BeforeAndAfterMakeNoCycle) {
  EXPECT_THAT(complaints("[job.m]\nrun = 'x'\nbefore = 'web'\nafter = ['web']\n[app.web]\nrun = 'x'\n"),
              ElementsAre("4:10 a cycle in `after` and `before`: web -> m -> web"));
  EXPECT_THAT(complaints("[job.m]\nrun = 'x'\nbefore = 'web'\nafter = ['db']\n"
                         "[app.web]\nrun = 'x'\nafter = ['db']\n[app.db]\nrun = 'x'\n"),
              ElementsAre());
}

TEST(Jobs, TakeFromTheDefaultsWhatTheyShareWithApps) {
  const Spec spec = good(
      "[defaults]\nnice = 5\nreplicas = 3\nhealth = 'none'\nstop = { drain = '1s', timeout = '2s' }\n"
      "[job.a]\nrun = 'x'\nstop = { signal = 'INT' }\n[job.b]\nrun = 'x'\nnice = 1\n[app.c]\nrun = 'x'\n");
  EXPECT_EQ(spec.jobs.front().task.nice, 5);
  EXPECT_EQ(spec.jobs.front().task.replicas, 1);
  EXPECT_EQ(spec.jobs.front().task.stop.timeout, Millis(2000));
  EXPECT_EQ(spec.jobs.back().task.nice, 1);
  EXPECT_EQ(spec.apps.front().replicas, 3);
}

}  // namespace
}  // namespace muster::spec
