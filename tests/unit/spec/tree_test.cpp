#include "spec/tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fmt/core.h"

namespace muster::spec {
namespace {

using testing::ElementsAre;
using testing::StartsWith;

std::vector<std::string> errors(std::string_view text) {
  std::vector<std::string> all;
  for (const SyntaxError& error : parse_tree(text, 0).errors) {
    std::string shown = fmt::format("{}:{} {}", error.at.line, error.at.column, error.message);
    if (error.first.line > 0) shown += fmt::format(" at {}:{}", error.first.line, error.first.column);
    all.push_back(shown);
  }
  return all;
}

TEST(Tree, KeepsTheOrderAndThePlaces) {
  const ParsedTree parsed = parse_tree("z = 1\na = 'x'\n[t]\n  k = [true, 2.5]\n", 7);
  ASSERT_TRUE(parsed.errors.empty());
  ASSERT_EQ(parsed.root.members.size(), 3U);
  EXPECT_EQ(parsed.root.members[0].key, "z");
  EXPECT_EQ(parsed.root.members[0].at, (Mark{7, 1, 1}));
  EXPECT_EQ(parsed.root.members[0].value.at, (Mark{7, 1, 5}));
  const Node& list = parsed.root.find("t")->value.members.at(0).value;
  EXPECT_EQ(parsed.root.find("t")->value.members[0].at, (Mark{7, 4, 3}));
  EXPECT_EQ(list.items.at(0).kind, Node::Kind::boolean);
  EXPECT_EQ(list.items.at(1).number, 2.5);
  EXPECT_EQ(parsed.root.find("none"), nullptr);
}

// toml++ asks of the first character whether it is white space, and has no answer for most that are not ASCII.
TEST(Tree, AStringIsContinuedByALetterBeyondAscii) {
  for (const std::string letter : {"é", "Ω", "ﬦ", "日"}) {
    const ParsedTree parsed = parse_tree("a = \"\"\"x\\\n  " + letter + "\"\"\"", 0);
    ASSERT_TRUE(parsed.errors.empty()) << letter;
    EXPECT_EQ(parsed.root.members.at(0).value.text, "x" + letter);
  }
  EXPECT_EQ(errors("a = \"\"\"x\\é\"\"\"").size(), 1U);
}

TEST(Tree, ColumnsCountCodePoints) {
  EXPECT_THAT(errors("a = { 'é' = '€', b b }"), ElementsAre(StartsWith("1:20 ")));
}

// Each of these ended a process that was built with assertions.
TEST(Tree, NoBadHeaderEndsTheProcess) {
  for (const char* text : {"[{a]",
                           "[}]",
                           "[=]",
                           "[",
                           "[[",
                           "[]",
                           "[[]]",
                           "[.]",
                           "[a.]",
                           "[ [a]]",
                           "[#]",
                           "[\"",
                           "[a\n]",
                           "[a]]",
                           "[[a]",
                           "[,]",
                           "={",
                           "a={",
                           "a=[",
                           "a=",
                           "=",
                           "a",
                           "a.",
                           "a.b.=1",
                           "'",
                           "\"\"\"",
                           "a='''",
                           "a=1 b=2",
                           "[a] b=1",
                           "a={b=1,}",
                           "a=01",
                           "a=1__0",
                           "a=0x",
                           "a=1e",
                           "a=-",
                           "a=nah",
                           "a=\"\\q\"",
                           "a=\"\\u12\"",
                           "a=\"\\uD800\"",
                           "a=2020-13-01",
                           "a=99999999999999999999"})
    EXPECT_FALSE(errors(text).empty()) << text;
}

TEST(Tree, AllSyntaxErrorsNotOnlyTheFirst) {
  EXPECT_THAT(errors("a = \nb = 1\nc = 'x\nd = [1,\n2 3]\ne = 5\n[{\nf = 1\n"),
              ElementsAre(StartsWith("1:"), StartsWith("3:"), StartsWith("5:"), StartsWith("7:")));
  EXPECT_THAT(errors("[a\nb = 1\n[c]\nd = \n[[e]\nf = 1 1"),
              ElementsAre(StartsWith("1:"), StartsWith("4:"), StartsWith("5:"), StartsWith("6:")));
  const ParsedTree parsed = parse_tree("a = \nb = 1\n", 0);
  EXPECT_NE(parsed.root.find("b"), nullptr);
}

TEST(Tree, OnlySoManyOfThem) {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += "a = \n";
  EXPECT_EQ(errors(text).size(), 20U);
}

TEST(Tree, DuplicatesNameTheFirst) {
  EXPECT_THAT(errors("a = 1\nb = 2\n a = 3"), ElementsAre("3:2 'a' is already defined at 1:1"));
  EXPECT_THAT(errors("[t]\na = 1\n[u]\na = 1\n[t]\nb = 1"), ElementsAre("5:2 't' is already defined at 1:2"));
  EXPECT_THAT(
      errors("[app.web]\n[app.web]\n[app.web]"),
      ElementsAre("2:6 'app.web' is already defined at 1:6", "3:6 'app.web' is already defined at 1:6"));
  EXPECT_THAT(errors("a.b = 1\na.b = 2"), ElementsAre("2:3 'a.b' is already defined at 1:3"));
  EXPECT_THAT(errors("a = 1\n'a' = 2\n\"a\" = 3"),
              ElementsAre("2:1 'a' is already defined at 1:1", "3:1 'a' is already defined at 1:1"));
  EXPECT_THAT(errors("t = {a = 1, b = { a = 2 }, a = 3}"), ElementsAre("1:28 'a' is already defined at 1:6"));
  EXPECT_THAT(errors("a = 1\n[a]\nb = 2"), ElementsAre("2:2 'a' is already defined at 1:1"));
  EXPECT_THAT(errors("[a]\nb = 1\n[a.b]"), ElementsAre("3:4 'a.b' is already defined at 2:1"));
  EXPECT_THAT(errors("[a]\nb.c = 1\nb = 2"), ElementsAre("3:1 'a.b' is already defined at 2:3"));
}

TEST(Tree, ListsOfTablesAreNoDuplicates) {
  EXPECT_THAT(errors("[[a]]\nb = 1\n[[a]]\nb = 1"), ElementsAre());
  EXPECT_THAT(errors("[[a]]\nb = 1\n[[a]]\nb = 1\nb = 2"),
              ElementsAre("5:1 'a.b' is already defined at 4:1"));
}

TEST(Tree, WhatIsLeftOutHidesNothingElse) {
  const ParsedTree parsed = parse_tree("[a]\nx = 1\n[a]\ny = 2\n[b]\nz = 3\n", 0);
  EXPECT_EQ(parsed.errors.size(), 1U);
  EXPECT_EQ(parsed.root.find("a")->value.members.size(), 1U);
  EXPECT_EQ(parsed.root.find("b")->value.members.size(), 1U);
}

}  // namespace
}  // namespace muster::spec
