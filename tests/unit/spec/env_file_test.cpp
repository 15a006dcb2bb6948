#include "spec/env_file.h"

#include <gtest/gtest.h>

namespace muster::spec {
namespace {

EnvVars read(std::string_view text) {
  auto variables = parse_env_file(text, "f.env");
  return variables ? variables.value() : EnvVars{{"ERROR", variables.error().message}};
}

TEST(EnvFile, LinesOfNameAndValue) {
  EXPECT_EQ(read("A=1\nB = two words \n\n# note\n  # note\nexport C=3\nD=\r\nE=5"),
            (EnvVars{{"A", "1"}, {"B", "two words"}, {"C", "3"}, {"D", ""}, {"E", "5"}}));
  EXPECT_EQ(read(""), EnvVars{});
  EXPECT_EQ(read("\xEF\xBB\xBF"
                 "A=1"),
            (EnvVars{{"A", "1"}}));
  EXPECT_EQ(read("export=1\nexported=2"), (EnvVars{{"export", "1"}, {"exported", "2"}}));
}

TEST(EnvFile, QuotesAndComments) {
  EXPECT_EQ(read("A='a # b' # note\nB=\"x\\ny \\\"q\\\" \\z\"\nC=a#b #c\nD=#x\nE='it''"),
            (EnvVars{{"ERROR", "f.env:5: text behind the closing quote"}}));
  EXPECT_EQ(read("A='a # b' # note\nB=\"x\\ny \\\"q\\\" \\z\"\nC=a#b #c\nD=#x\n"),
            (EnvVars{{"A", "a # b"}, {"B", "x\ny \"q\" \\z"}, {"C", "a#b"}, {"D", ""}}));
  EXPECT_EQ(read("K=\"line 1\nline 2\"\nL=2"), (EnvVars{{"K", "line 1\nline 2"}, {"L", "2"}}));
  EXPECT_EQ(read("A='$X ${Y}'\nB=${Y}"), (EnvVars{{"A", "$X ${Y}"}, {"B", "${Y}"}}));
}

TEST(EnvFile, ErrorsNameTheLine) {
  EXPECT_EQ(read("A=1\nB\n"), (EnvVars{{"ERROR", "f.env:2: no '=' behind 'B'"}}));
  EXPECT_EQ(read("A=1\n\n=x"), (EnvVars{{"ERROR", "f.env:3: a line is NAME=VALUE"}}));
  EXPECT_EQ(read("1A=x"), (EnvVars{{"ERROR", "f.env:1: a line is NAME=VALUE"}}));
  EXPECT_EQ(read("A='x' y"), (EnvVars{{"ERROR", "f.env:1: text behind the closing quote"}}));
  EXPECT_EQ(read("A=1\nB=\"x\ny\nz"), (EnvVars{{"ERROR", "f.env:2: the quote \" is never closed"}}));
  EXPECT_EQ(read(std::string("A=1\nB=x\0y", 9)), (EnvVars{{"ERROR", "f.env:2: a NUL byte"}}));
}

}  // namespace
}  // namespace muster::spec
