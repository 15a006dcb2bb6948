#include "spec/secrets.h"

#include <string>

#include "gtest/gtest.h"

namespace muster::spec {
namespace {

TEST(Secrets, NamesInAnyCase) {
  for (const char* name : {"DB_PASSWORD", "db-password", "ApiToken", "secret", "SSH_KEY"})
    EXPECT_TRUE(names_a_secret(name)) << name;
  for (const char* name : {"", "PORT", "PATH", "PAS", "TOKE"}) EXPECT_FALSE(names_a_secret(name)) << name;
}

struct Case {
  const char* line;
  const char* shown;
};

TEST(Secrets, LinesOfASpecKeepTheirWidth) {
  for (const Case& c : {
           Case{R"(env.DB_PASSWORD = "hunter2" # x)", R"(env.DB_PASSWORD = "*******" # x)"},
           Case{R"(env = { "API_TOKEN" = 'a b', PORT = "1" })",
                R"(env = { "API_TOKEN" = '***', PORT = "1" })"},
           Case{R"(DB_SECRET="""one"two)", R"(DB_SECRET="""***"two)"},
           Case{R"(X_KEY = "a\"b" )", R"(X_KEY = "****" )"},
           Case{"PASS = \"\xc3\xa4\xc3\xb6\"", "PASS = \"**\""},
           Case{R"(run = "db --password hunter2 --port 1")", R"(run = "db --password ******* --port 1")"},
           Case{R"(run = "TOKEN=abc app")", R"(run = "TOKEN=*******")"},
           Case{R"(tls = { cert = "a.pem", key = "b.pem" })", R"(tls = { cert = "a.pem", key = "b.pem" })"},
           Case{R"(health = "/keys/a.key")", R"(health = "/keys/a.key")"},
           Case{"", ""},
           Case{"SECRET", "SECRET"},
           Case{"SECRET =", "SECRET ="},
           Case{"SECRET = \"", "SECRET = \""},
           Case{"SECRET = \"a\\", "SECRET = \"**"},
       })
    EXPECT_EQ(mask_secrets(c.line, true), c.shown) << c.line;
}

TEST(Secrets, CommandLinesShowNoLength) {
  for (const Case& c : {
           Case{"./db --password hunter2 --port 1", "./db --password ******** --port 1"},
           Case{"./db --password=hunter2", "./db --password=********"},
           Case{"./db '--password=hunter 2' x", "./db '--password=********' x"},
           Case{"./db --password 'hunter 2' x", "./db --password '********' x"},
           Case{"sh -c 'TOKEN=a exec x'", "sh -c 'TOKEN=********'"},
           Case{"./db --no-password --port 1", "./db --no-password --port 1"},
           Case{"./db --token", "./db --token"},
       })
    EXPECT_EQ(mask_secrets(c.line, false), c.shown) << c.line;
}

}  // namespace
}  // namespace muster::spec
