#include "supervisor/glob.h"

#include <gtest/gtest.h>

namespace muster::supervisor {
namespace {

Glob glob(const std::string& pattern) {
  auto parsed = Glob::parse(pattern);
  EXPECT_TRUE(parsed.ok()) << pattern << ": " << (parsed.ok() ? "" : parsed.error().message);
  return std::move(parsed).value();
}

struct Match {
  const char* pattern;
  const char* path;
  bool matches;
};

class Matches : public testing::TestWithParam<Match> {};

TEST_P(Matches, OrNot) {
  const Match& c = GetParam();
  EXPECT_EQ(glob(c.pattern).matches(c.path), c.matches) << c.pattern << " " << c.path;
}

INSTANTIATE_TEST_SUITE_P(
    Glob, Matches,
    testing::Values(
        Match{"a.js", "a.js", true}, Match{"a.js", "b/a.js", false}, Match{"./a.js", "a.js", true},
        Match{"*.js", "a.js", true}, Match{"*.js", "a.jsx", false}, Match{"*.js", ".js", false},
        Match{"*.js", "b/a.js", false}, Match{".*", ".env", true}, Match{"*", ".env", false},
        Match{"?.js", "a.js", true}, Match{"?.js", "ab.js", false}, Match{"?.js", "\xC3\xA4.js", true},
        Match{"?x", ".x", false}, Match{"[ab].js", "a.js", true}, Match{"[ab].js", "c.js", false},
        Match{"[a-c]x", "bx", true}, Match{"[a-c]x", "dx", false}, Match{"[!a-c]x", "dx", true},
        Match{"[^a]x", "ax", false}, Match{"[]]x", "]x", true}, Match{"[a-]x", "-x", true},
        Match{"[.]env", ".env", false}, Match{"src/**/*.ts", "src/a.ts", true},
        Match{"src/**/*.ts", "src/a/b/c.ts", true}, Match{"src/**/*.ts", "a.ts", false},
        Match{"src/**/*.ts", "src/.git/a.ts", false}, Match{"**/*.ts", "a.ts", true},
        Match{"**/*.ts", "x/y/a.ts", true}, Match{"**", "a", true}, Match{"**", "a/b", true},
        Match{"**", ".git/config", false}, Match{"src/", "src/a/b", true}, Match{"src/", "src", false},
        Match{"src/**", "src/a/b", true}, Match{"src/**", "srcs/a", false}, Match{"a**b", "axxb", true},
        Match{"a**b", "a/b", false}, Match{"**/x/**/y", "a/x/b/c/y", true}, Match{"**/x/**/y", "x/y", true},
        Match{"**/x/**/y", "a/b/y", false}, Match{"*.{js,ts}", "a.ts", true},
        Match{"*.{js,ts}", "a.css", false}, Match{"{a,b/{c,d}}/x", "b/d/x", true},
        Match{"{a,b/{c,d}}/x", "b/x", false}, Match{"a{,b}", "a", true}, Match{"a{,b}", "ab", true},
        Match{".github/*", ".github/x", true}, Match{"a*b*c", "aXbXbc", true},
        Match{"a*b*c", "aXbXbcX", false}, Match{"[{]x", "{x", true}, Match{"a,b", "a,b", true}));

TEST(Glob, RefusesWhatCannotBeMeant) {
  for (const char* pattern : {"", "/", "/etc/*", "..", "a/../b", "../x", "[a", "a/[b/c]", "{a,b", "{a,{b}",
                              ".", "./", "[", "[]", "{/x,y}", "{a,b,c,d}{a,b,c,d}{a,b,c,d}{a,b}"})
    EXPECT_FALSE(Glob::parse(pattern).ok()) << pattern;
  EXPECT_TRUE(Glob::parse("{a,b,c,d}{a,b,c,d}{a,b,c,d}").ok());
  const auto error = Glob::parse("[a");
  EXPECT_EQ(error.error().code, ExitCode::bad_spec);
  EXPECT_NE(error.error().message.find("'[a'"), std::string::npos);
}

TEST(Glob, SaysWhereToLook) {
  struct Case {
    const char* pattern;
    const char* folder;
    bool may;
  };
  for (const Case& c :
       {Case{"a.js", "", true}, Case{"a.js", "x", false}, Case{"src/*.js", "src", true},
        Case{"src/*.js", "src/a", false}, Case{"src/**/*.js", "src/a/b", true}, Case{"src/**/*.js", "", true},
        Case{"src/**/*.js", "lib", false}, Case{"**", ".git", false}, Case{"**", "a/b/c", true},
        Case{".git/**", ".git", true}, Case{"a/*/c", "a/b", true}, Case{"a/*/c", "a/b/c", false},
        Case{"{x,y}/z", "y", true}})
    EXPECT_EQ(glob(c.pattern).may_match_below(c.folder), c.may) << c.pattern << " in " << c.folder;
}

// Backtracking over each star would take longer than the world has.
TEST(Glob, ManyStarsTakeNoTime) {
  std::string pattern, deep;
  for (int i = 0; i < 30; ++i) pattern += "*a";
  for (int i = 0; i < 60; ++i) deep += "a/";
  EXPECT_FALSE(glob(pattern + "b").matches(std::string(2000, 'a')));
  std::string stars;
  for (int i = 0; i < 20; ++i) stars += "**/a/";
  EXPECT_FALSE(glob(stars + "b").matches(deep + "c"));
}

}  // namespace
}  // namespace muster::supervisor
