#include "spec/report.h"

#include <gtest/gtest.h>

#include "base/limits.h"
#include "fmt/core.h"

namespace muster::spec {
namespace {

std::string rendered(const std::string& text, int line, int column, const std::string& message = "wrong") {
  Report report;
  const std::uint32_t file = report.add_file("m.toml", text);
  report.error({file, line, column}, message);
  return render(report.finish().at(0));
}

TEST(Render, TheCaretStandsUnderThePlace) {
  EXPECT_EQ(rendered("a = 1\nbc = 2\n", 2, 6), "m.toml:2:6: error: wrong\n  bc = 2\n       ^\n");
  EXPECT_EQ(rendered("a = 1\r\n", 1, 5), "m.toml:1:5: error: wrong\n  a = 1\n      ^\n");
  EXPECT_EQ(rendered("\ta =\t1", 1, 6), "m.toml:1:6: error: wrong\n  \ta =\t1\n  \t   \t^\n");
  EXPECT_EQ(rendered("'é€' = 1", 1, 8), "m.toml:1:8: error: wrong\n  'é€' = 1\n         ^\n");
}

TEST(Render, NothingMovesTheCursor) {
  EXPECT_EQ(rendered("a = '\x1b[2J' x", 1, 12, "bad \x1b\n"),
            "m.toml:1:12: error: bad \\x1b\\x0a\n  a = '\\x1b[2J' x\n                ^\n");
  EXPECT_EQ(rendered("a\xFF = 1", 1, 4), "m.toml:1:4: error: wrong\n  a\\xff = 1\n        ^\n");
  EXPECT_EQ(rendered("a = '\xE2\x80\xAE'", 1, 7),
            "m.toml:1:7: error: wrong\n  a = '\\u202e'\n             ^\n");
}

TEST(Render, AWholeFileHasNoLine) {
  EXPECT_EQ(rendered("a = 1", 0, 0), "m.toml: error: wrong\n");
  EXPECT_EQ(rendered("", 1, 1), "m.toml:1:1: error: wrong\n");
}

TEST(Render, ALongLineIsCutAroundThePlace) {
  const std::string text = rendered(std::string(1000, 'x') + "HERE" + std::string(1000, 'y'), 1, 1001);
  const std::string line = text.substr(text.find('\n') + 1);
  EXPECT_LT(line.size(), 400U);
  const std::string shown = line.substr(0, line.find('\n'));
  const std::string carets = line.substr(line.find('\n') + 1);
  EXPECT_EQ(shown.substr(carets.find('^'), 4), "HERE");
}

TEST(Render, WarningsAndHints) {
  Report report;
  const std::uint32_t file = report.add_file("m.toml", "a = 1");
  report.warning({file, 1, 1}, "odd", "do b");
  EXPECT_FALSE(report.failed());
  EXPECT_EQ(render(report.finish().at(0)), "m.toml:1:1: warning: odd\n  a = 1\n  ^\n  hint: do b\n");
}

TEST(Report, SortsByPlaceAndSaysNothingTwice) {
  Report report;
  const std::uint32_t first = report.add_file("a", "x\ny");
  const std::uint32_t second = report.add_file("b", "x");
  report.error({second, 1, 1}, "4");
  report.error({first, 2, 1}, "3");
  report.error({first, 1, 9}, "2");
  report.error({first, 1, 2}, "1");
  report.error({first, 1, 2}, "1");
  std::string order;
  for (const Diagnostic& diagnostic : report.finish()) order += diagnostic.message;
  EXPECT_EQ(order, "1234");
}

TEST(Report, CountsWhatItLeavesOut) {
  Report report;
  const std::uint32_t file = report.add_file("m.toml", "");
  for (int i = 0; i < 1500; ++i) report.error({file, i, 1}, "wrong");
  const auto diagnostics = report.finish();
  ASSERT_EQ(diagnostics.size(), limits::spec_errors_max + 1);
  EXPECT_EQ(diagnostics.back().message, "500 more");
}

}  // namespace
}  // namespace muster::spec
