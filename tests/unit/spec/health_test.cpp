#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rig.h"

namespace muster::spec {
namespace {

using testing::ElementsAre;

HealthCheck health(const std::string& value) {
  return app_with("port = 'auto'\nhealth = " + value).health;
}

TEST(Health, ShortForms) {
  EXPECT_EQ(health("'/healthz?x={ordinal}'").http->text(), "/healthz?x={ordinal}");
  EXPECT_TRUE(health("'tcp'").tcp);
  EXPECT_TRUE(health("'none'").always);
  EXPECT_TRUE(health("'notify'").notify);
  EXPECT_EQ(health("'log:ready in \\d+ms'").log, "ready in \\d+ms");
  const HealthCheck command = health("\"cmd redis-cli -p {port} 'a b'\"");
  ASSERT_EQ(command.cmd.size(), 4U);
  EXPECT_EQ(command.cmd[2].text(), "{port}");
  EXPECT_EQ(command.cmd[3].text(), "a b");
  EXPECT_FALSE(command.tcp);
}

TEST(Health, Table) {
  const HealthCheck check = health(
      "{ http = '/x', cmd = 'true', notify = true, log = 'up', every = '3s', timeout = '2s', fall = 4, rise "
      "= 5, "
      "start = '6s', expect = ['200-204', 301] }");
  EXPECT_EQ(check.http->text(), "/x");
  EXPECT_EQ(check.cmd.size(), 1U);
  EXPECT_TRUE(check.notify);
  EXPECT_EQ(check.log, "up");
  EXPECT_EQ(check.every, Millis(3000));
  EXPECT_EQ(check.timeout, Millis(2000));
  EXPECT_EQ(check.fall, 4);
  EXPECT_EQ(check.rise, 5);
  EXPECT_EQ(check.start, Millis(6000));
  EXPECT_EQ(check.expect, (std::vector<StatusRange>{{200, 204}, {301, 301}}));
}

TEST(Health, WithoutACheckItIsThePort) {
  EXPECT_TRUE(health("{ every = '5s' }").tcp);
  EXPECT_EQ(health("{ every = '5s' }").every, Millis(5000));
  EXPECT_TRUE(app_with("health = { every = '5s' }").health.alive_only());
  EXPECT_TRUE(app_with("").health.alive_only());
  EXPECT_TRUE(app_with("port = 7000").health.tcp);
  EXPECT_FALSE(app_with("port = 'none'").health.tcp);
}

TEST(Live, HasItsOwnPause) {
  EXPECT_EQ(app_with("port = 7000\nlive = '/alive'").live->every, Millis(10000));
  EXPECT_TRUE(app_with("port = 7000\nlive = { fall = 2 }").live->tcp);
  EXPECT_FALSE(app_with("live = 'none'").live);
  EXPECT_FALSE(app_with("").live);
}

struct Wrong {
  const char* keys;
  const char* complaint;
};

TEST(Health, WrongValues) {
  for (const auto& [keys, complaint] : {
           Wrong{"health = 'http'",
                 "3:10 'http' is no health check | write \"/path\", \"tcp\", \"cmd ...\", \"notify\", "
                 "\"log:REGEX\", \"none\" or a table"},
           Wrong{"health = 5", "3:10 expected a string or a table, found an integer"},
           Wrong{"health = 'tcp'",
                 "3:10 the check needs a port, and app 'a' has none | port = \"auto\" gives it one: it reads "
                 "{port} or the variable PORT"},
           Wrong{"health = '/x'",
                 "3:10 the check needs a port, and app 'a' has none | port = \"auto\" gives it one: it reads "
                 "{port} or the variable PORT"},
           Wrong{"health = '/a b'",
                 "3:10 '/a b' is no path of a URL | a path begins with '/' and has no blanks and no '#'"},
           Wrong{"health = { http = 'x' }",
                 "3:19 'x' is no path of a URL | a path begins with '/' and has no blanks and no '#'"},
           Wrong{"health = 'log:('", "3:10 the pattern is not valid: '(' and ')' do not match"},
           Wrong{"health = 'log:(a)\\1'",
                 "3:10 the pattern is too complex; back-references are not possible"},
           Wrong{"health = 'cmd '", "3:10 no program is named here"},
           Wrong{"health = { every = 5 }", "3:20 a duration needs a unit | did you mean \"5s\"?"},
           Wrong{"health = { every = '1ms' }", "3:20 '1ms' is too short: at least 10ms"},
           Wrong{"health = { fall = 0 }", "3:19 0 is not in 1..1000"},
           Wrong{"health = { expect = '2xx' }",
                 "3:21 '2xx' is no range of HTTP statuses | write \"200-399\", \"204\" or \"200,301-302\""},
           Wrong{"health = { expect = [] }", "3:21 no status would be healthy"},
           Wrong{"health = { interval = '1s' }", "3:12 unknown key 'interval'"},
           Wrong{"live = 'notify'",
                 "3:8 'notify' says that a replica became ready, not that it still lives | for pings use "
                 "`watchdog`"},
           Wrong{"live = { cmd = 'x', start = '5s' }",
                 "3:29 'start' is for `health`: liveness is asked of a replica that was ready"},
           Wrong{"live = {}", "3:8 nothing to check: app 'a' has no port | name a `cmd`, or give it a port"},
       })
    EXPECT_THAT(app_complaints(keys), testing::Contains(complaint)) << keys;
}

}  // namespace
}  // namespace muster::spec
