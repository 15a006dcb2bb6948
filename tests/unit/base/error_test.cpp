#include "base/error.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace muster {
namespace {

TEST(ErrnoText, NamesTheErrno) {
  EXPECT_EQ(errno_text(ECONNREFUSED), "Connection refused");
}

TEST(ErrnoText, GivesTheNumberWhereThereIsNoName) {
  EXPECT_EQ(errno_text(99999), "error 99999");
}

TEST(SystemError, SaysWhatFailedAndWhy) {
  const Error error = system_error("bind 127.0.0.1:80", EADDRINUSE);
  EXPECT_EQ(error.message, "bind 127.0.0.1:80: Address already in use");
  EXPECT_EQ(error.code, ExitCode::failed);
  EXPECT_EQ(error.errno_value, EADDRINUSE);
}

TEST(SystemError, MissingPrivilegeIsNotPermitted) {
  EXPECT_EQ(system_error("bind", EACCES).code, ExitCode::not_permitted);
  EXPECT_EQ(system_error("setuid", EPERM).code, ExitCode::not_permitted);
}

}  // namespace
}  // namespace muster
