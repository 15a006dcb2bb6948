#include "cli/status_table.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

const std::string body = R"({"schema":1,
 "daemon":{"pid":17,"version":"0.1.0","uptime_s":12.5,"containment":"cgroup","spec":{"path":"/srv/muster.toml","revision":3,"error":null}},
 "apps":[{"name":"web","desired":2,"ready":1,"state":"degraded","reason":"1 of 2 ready","revision":2,"hold":"scaled to 2 by hand, the file says 4",
   "replicas":[{"id":"web/0","ordinal":0,"revision":2,"state":"ready","reason":null,"pid":123,"port":20001,"address":"127.0.0.1:20001","restarts":0,
     "since":"2026-01-01T00:00:00Z","uptime_s":9.1,"cpu_percent":0.3,"memory_bytes":1048576,"in_flight":1,"requests":42,"next_start_s":null,"last_exit":null},
    {"id":"web/1","ordinal":1,"revision":2,"state":"backoff","reason":"exited with status 1","pid":null,"port":null,"address":null,"restarts":3,
     "since":"2026-01-01T00:00:00Z","uptime_s":null,"cpu_percent":null,"memory_bytes":null,"in_flight":0,"requests":0,"next_start_s":2.25,
     "last_exit":{"code":1,"signal":null,"reason":"exited with status 1","at":"2026-01-01T00:00:00Z"}}]}],
 "listeners":[{"name":"web","bind":"127.0.0.1:8080","mode":"http","app":"web","connections":3,"requests":168}],
 "jobs":[]})";

std::string table(const std::string& text, bool wide = false) {
  const auto made = status_table(text, {.wide = wide, .colour = false});
  EXPECT_TRUE(made);
  return made ? made.value() : "";
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  return text.replace(text.find(from), from.size(), to);
}

TEST(StatusTable, HasARowPerAppAndReplica) {
  EXPECT_EQ(table(body),
            "ID       STATE     READY  PID  ADDRESS          RESTARTS  AGE   CPU   MEM     REASON\n"
            "web      degraded  1/2                                                        1 of 2 ready; "
            "held: scaled to 2 "
            "by hand, the file says 4\n"
            "  web/0  ready            123  127.0.0.1:20001  0         9.1s  0.3%  1.0MiB\n"
            "  web/1  backoff                                3                             exited with "
            "status 1; next "
            "start in 2.2s\n");
}

TEST(StatusTable, HasARowPerJob) {
  const std::string jobs =
      R"("jobs":[{"name":"nightly","state":"waiting","reason":"due at 2026-01-02T02:30:00Z","schedule":"30 2 * * *",
        "timezone":"Europe/Berlin","next":"2026-01-02T02:30:00Z","runs":[],
        "last":{"code":0,"signal":null,"reason":"exited with status 0","at":"2026-01-01T02:30:07Z","ok":true}},
       {"name":"init","state":"running","reason":null,"schedule":null,"timezone":null,"next":null,"last":null,"runs":[]}])";
  const std::string shown = table(replaced(body, R"("jobs":[])", jobs));
  EXPECT_THAT(shown, HasSubstr("JOB      STATE    SCHEDULE    NEXT                  LAST"));
  EXPECT_THAT(shown, HasSubstr("nightly  waiting  30 2 * * *  2026-01-02T02:30:00Z  exited with status 0 at "
                               "2026-01-01T02:30:07Z"));
  EXPECT_THAT(shown, HasSubstr("init     running"));
  EXPECT_THAT(table(replaced(body, R"("jobs":[])", jobs), true), HasSubstr("TIMEZONE"));
}

TEST(StatusTable, WideHasListenersAndTheDaemon) {
  const std::string wide = table(body, true);
  EXPECT_THAT(wide,
              HasSubstr("muster 0.1.0, pid 17, up 12s, /srv/muster.toml (revision 3), containment: cgroup"));
  EXPECT_THAT(wide, HasSubstr("LISTENER  BIND            MODE  APP  CONNECTIONS  REQUESTS"));
  EXPECT_THAT(wide, HasSubstr("web       127.0.0.1:8080  http  web  3            168"));
  EXPECT_THAT(wide, HasSubstr("LAST END"));
  EXPECT_THAT(table(body), Not(HasSubstr("LISTENER")));
}

TEST(StatusTable, ABrokenSpecIsOnTop) {
  const std::string text =
      table(replaced(body, "\"error\":null", "\"error\":\"muster.toml:3:1: error: x\\n  y\\u001b\""));
  EXPECT_THAT(text, testing::StartsWith("the spec has errors; what runs is the text before:\n"
                                        "  muster.toml:3:1: error: x\n    y\\x1b\n\nID"));
}

TEST(StatusTable, WhatOvercountsIsMarked) {
  EXPECT_THAT(table(replaced(body, "\"memory_bytes\":1048576",
                             "\"memory_bytes\":1048576,\"memory_over_counts\":true")),
              HasSubstr("1.0MiB+"));
}

TEST(StatusTable, AListenersCertificatesAndWhatIsWrongWithNewOnes) {
  const std::string shown = table(replaced(body, "\"mode\":\"http\"",
                                           "\"mode\":\"http\",\"reason\":\"a bad "
                                           "key\",\"tls\":{\"certificates\":[{\"not_after\":\"2031-02-03T04:"
                                           "05:06Z\"},{\"not_after\":\"2030-01-02T03:04:05Z\"}]}"),
                                  true);
  EXPECT_THAT(shown, HasSubstr("REQUESTS  TLS UNTIL   REASON\n"));
  EXPECT_THAT(shown, HasSubstr("168       2030-01-02  a bad key\n"));
}

TEST(StatusTable, AnEmptyDaemonSaysSo) {
  EXPECT_EQ(table(R"({"schema":1,"daemon":{},"apps":[],"listeners":[],"jobs":[]})"), "no apps\n");
}

TEST(StatusTable, WhatIsNoStatusIsAnError) {
  EXPECT_FALSE(status_table("[]", {}));
  EXPECT_FALSE(status_table("{", {}));
  EXPECT_FALSE(status_table(R"({"schema":2})", {}));
}

TEST(StatusTable, FieldsOfAnotherTypeDoNoHarm) {
  const std::string odd =
      R"({"schema":1,"daemon":3,"apps":[{"name":7,"ready":"x","replicas":[1,{"id":null,"pid":1e300}]},null]})";
  EXPECT_TRUE(status_table(odd, {.wide = true, .colour = true}));
}

}  // namespace
}  // namespace muster::cli
