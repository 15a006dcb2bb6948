#include "supervisor/listen_fds.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

namespace muster::supervisor {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

TEST(ListenFds, AreReadByName) {
  EXPECT_THAT(parse_listen_fds({"7", "3", "http:https:http"}, 7).value(),
              ElementsAre(Pair("http", 3), Pair("https", 4), Pair("http", 5)));
  EXPECT_THAT(parse_listen_fds({"7", "2", std::nullopt}, 7).value(),
              ElementsAre(Pair("unknown", 3), Pair("unknown", 4)));
  EXPECT_THAT(parse_listen_fds({"7", "2", "a"}, 7).value(), ElementsAre(Pair("a", 3), Pair("unknown", 4)));
  EXPECT_THAT(parse_listen_fds({"7", "2", ":b"}, 7).value(), ElementsAre(Pair("unknown", 3), Pair("b", 4)));
  EXPECT_THAT(parse_listen_fds({"7", "0", std::nullopt}, 7).value(), IsEmpty());
}

TEST(ListenFds, OfAnotherProcessAreNotOurs) {
  EXPECT_THAT(parse_listen_fds({"8", "2", "a:b"}, 7).value(), IsEmpty());
  EXPECT_THAT(parse_listen_fds({std::nullopt, "2", "a:b"}, 7).value(), IsEmpty());
  EXPECT_THAT(parse_listen_fds({"7", std::nullopt, std::nullopt}, 7).value(), IsEmpty());
}

TEST(ListenFds, NonsenseIsAnError) {
  for (const auto& [pid, fds, names] : {std::tuple{"x", "1", ""},
                                        {"0", "1", ""},
                                        {"7x", "1", ""},
                                        {"7", "", ""},
                                        {"7", "-1", ""},
                                        {"7", "65537", ""},
                                        {"7", "99999999999999999999", ""},
                                        {"7", "1", "a:b"},
                                        {"7", "1 ", ""}})
    EXPECT_FALSE(parse_listen_fds({pid, fds, names}, 7).ok()) << pid << " " << fds << " " << names;
}

// In a child: descriptor 3 has to be this one.
TEST(ListenFds, AreTakenOverAndTheEnvironmentIsClean) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const int source = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (source != 3) dup2(source, 3);
    dup2(source, 4);
    setenv("LISTEN_PID", std::to_string(getpid()).c_str(), 1);
    setenv("LISTEN_FDS", "2", 1);
    setenv("LISTEN_FDNAMES", "a:b", 1);
    auto taken = take_listen_fds();
    const bool good = taken.ok() && taken.value().size() == 2 && taken.value()[1].first == "b" &&
                      taken.value()[1].second.get() == 4 && (fcntl(4, F_GETFD) & FD_CLOEXEC) != 0 &&
                      !getenv("LISTEN_PID") && !getenv("LISTEN_FDS") && !getenv("LISTEN_FDNAMES");
    setenv("LISTEN_PID", std::to_string(getpid()).c_str(), 1);
    setenv("LISTEN_FDS", "1000", 1);
    const bool refused = !take_listen_fds().ok();
    _exit(good && refused ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace muster::supervisor
