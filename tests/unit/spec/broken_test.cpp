// Specs that are no specs: each is refused with a place, and none takes the process with it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "base/limits.h"
#include "fmt/core.h"
#include "rig.h"

namespace muster::spec {
namespace {

FakeWorld rich_world() {
  FakeWorld world;
  world.files["/spec/app.env"] = "A=1\n";
  return world;
}

std::string rich() {
  std::ifstream file(std::string(MUSTER_SOURCE_DIR) + "/tests/fuzz/corpus/spec/rich.toml", std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// A spec, or errors that all have a place within the text.
bool placed(const Loaded& loaded, const std::string& text) {
  const auto lines = 1 + std::count(text.begin(), text.end(), '\n');
  bool error = false;
  for (const Diagnostic& diagnostic : loaded.diagnostics) {
    EXPECT_FALSE(render(diagnostic).empty());
    if (diagnostic.severity == Diagnostic::Severity::warning) continue;
    error = true;
    if (&diagnostic == &loaded.diagnostics.back() && diagnostic.message.ends_with(" more")) continue;
    EXPECT_GE(diagnostic.at.line, 1) << diagnostic.message;
    EXPECT_LE(diagnostic.at.line, lines) << diagnostic.message;
    EXPECT_GE(diagnostic.at.column, 1) << diagnostic.message;
  }
  EXPECT_EQ(loaded.exit_code == ExitCode::bad_spec, error);
  EXPECT_NE(loaded.spec.has_value(), error);
  return error;
}

void expect_refused(const std::string& text) {
  EXPECT_TRUE(placed(rich_world().load(text), text)) << text.substr(0, 500);
}

TEST(Broken, TheRichSpecItselfIsNot) {
  const Spec spec = good(rich(), {}, rich_world());
  EXPECT_EQ(spec.apps.size(), 3U);
  EXPECT_EQ(spec.listeners.size(), 5U);
}

TEST(Broken, EveryPrefixIsReadOrPlaced) {
  const std::string text = rich();
  std::size_t refused = 0;
  for (std::size_t length = 0; length < text.size(); length += 9) {
    const std::string prefix = text.substr(0, length);
    if (placed(rich_world().load(prefix), prefix)) ++refused;
  }
  EXPECT_GT(refused, 120U);
}

TEST(Broken, EveryLineLeftOutOrDoubledIsReadOrPlaced) {
  const std::string text = rich();
  std::size_t refused = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = text.find('\n', begin) + 1;
    const std::string line = text.substr(begin, end - begin);
    for (const std::string& changed :
         {text.substr(0, begin) + text.substr(end), text.substr(0, end) + line + text.substr(end)})
      if (placed(rich_world().load(changed), changed)) ++refused;
    begin = end;
  }
  EXPECT_GT(refused, 40U);
}

TEST(Broken, EveryValueOfAnotherType) {
  const std::string text = rich();
  std::size_t tried = 0;
  for (std::size_t at = text.find(" = "); at != std::string::npos; at = text.find(" = ", at + 1)) {
    const std::size_t end = text.find('\n', at);
    const std::string changed = text.substr(0, at) + " = 1979-05-27 # " + text.substr(at + 3);
    const std::size_t line_begin = text.rfind('\n', at) + 1;
    if (text.compare(line_begin, 2, "x-") == 0 || text[line_begin] == '#') continue;
    if (text.substr(line_begin, at - line_begin).find('{') != std::string::npos)
      continue;  // within an inline table
    static_cast<void>(end);
    expect_refused(changed);
    ++tried;
  }
  EXPECT_GT(tried, 40U);
}

TEST(Broken, Syntax) {
  for (const char* text : {"[",
                           "]",
                           "[]",
                           "[[]]",
                           "[[",
                           "[a",
                           "[a.",
                           "[.a]",
                           "[a]]",
                           "[[a]",
                           "[{a]",
                           "[}]",
                           "[=]",
                           "[\"a]",
                           "=",
                           "= 1",
                           "a",
                           "a =",
                           "a = =",
                           "a == 1",
                           "a = 1 2",
                           "a = b",
                           "a = 'x",
                           "a = \"x",
                           "a = '''x",
                           "a = \"\"\"x",
                           "a = \"\\x\"",
                           "a = \"\\u12\"",
                           "a = \"\\uD800\"",
                           "a = [",
                           "a = [1",
                           "a = [1,",
                           "a = [1 2]",
                           "a = [,]",
                           "a = {",
                           "a = {b",
                           "a = {b=",
                           "a = {b=1",
                           "a = {b=1,}",
                           "a = {b=1 c=2}",
                           "a = {,}",
                           "a = 01",
                           "a = 1_",
                           "a = _1",
                           "a = 0x",
                           "a = 0b2",
                           "a = 0o8",
                           "a = 1e",
                           "a = 1.",
                           "a = .1",
                           "a = +",
                           "a = -",
                           "a = nan1",
                           "a = truee",
                           "a = True",
                           "a = 1979-13-01",
                           "a = 25:00:00",
                           "a = 9223372036854775808",
                           "a.b = 1\na.b.c = 2",
                           "a = 1\na = 2",
                           "[a]\n[a]",
                           "a = {b=1}\n[a]",
                           "a = {b=1}\na.c = 1",
                           "[[a]]\n[a]",
                           "[a]\n[[a]]",
                           "a = [{}]\n[[a]]",
                           "a.b = 1\n[a]",
                           "a = { b = 1, b = 2 }",
                           "'a' = 1\na = 2",
                           "\xEF\xBB\xBF\xEF\xBB\xBF",
                           "\xFF\xFE"
                           "a",
                           "a\xCC\x81 = 1",
                           "\xE2\x80\x8B = 1",
                           "a = \xE2\x80\x9Cx\xE2\x80\x9D",
                           "a = 1\r",
                           "a = '\x01'",
                           "\x7f",
                           "a = \xEF\xAC\xA6",
                           "\xEF\xBB\xBE = 1"})
    expect_refused(text);
  expect_refused(std::string("a = 1\n\0", 7));
  expect_refused(std::string("\0", 1));
}

TEST(Broken, Meaning) {
  for (const char* text : {"app = 1",
                           "app = []",
                           "app.a = 1",
                           "app.a = {}",
                           "[[app.a]]",
                           "[app.a]\nrun.x = 1",
                           "listen.l = {}",
                           "daemon = 1",
                           "[daemon]\nthreads = -1",
                           "include = 1",
                           "include = 'none.toml'",
                           "include = ['none.toml']",
                           "defaults = []",
                           "[app.\"\\u0000\"]\nrun='x'",
                           "[app.a]\nrun = \"\\u0000\"",
                           "[job.a]\nrun='x'\nschedule='0 0 30 2 *'",
                           "app.a.run = '${'",
                           "app.a.run = '${UNSET}'",
                           "app.a.run = '{nope}'",
                           "app.a.run = '{port'",
                           "app.a.run = '''a 'b'''",
                           "app.a = {run='x', ports={p='unix'}}",
                           "app.a = {run='x', listen=':80'}",
                           "app.a = {run='x', after='a'}",
                           "app.a = {run='x', user='nobody-here'}",
                           "app.a = {run='x', health='log:('}",
                           "app.a = {run='x', health='log:[[:nope:]]'}",
                           "app.a = {run='x', health='log:(a)\\1'}",
                           "app.a = {run='x', health='log:a{9}{9}{9}{9}{9}{9}{9}{9}'}",
                           "app.a = {run='x', replicas=9223372036854775807}",
                           "app.a = {run='x', replicas=-9223372036854775808}",
                           "app.a = {run='x', nice=nan}",
                           "app.a = {run='x', restart={jitter=inf}}",
                           "app.a = {run='x', watchdog='99999999999999999999h'}",
                           "app.a = {run='x', log={rotate='99999999999999999999TiB'}}",
                           "app.a = {run='x', port=65535, replicas=1000}"})
    expect_refused(text);
}

// As deep, as wide and as long as a file may be.
TEST(Broken, HostileSizes) {
  const auto many = [](std::size_t count, auto line) {
    std::string text;
    for (std::size_t i = 0; i < count; ++i) text += line(i);
    return text;
  };
  expect_refused("a = " + std::string(100000, '['));
  expect_refused("a = " + many(100000, [](std::size_t) { return std::string("{a="); }));
  expect_refused(many(100000, [](std::size_t) { return std::string("a."); }) + "a = 1");
  expect_refused("[" + many(100000, [](std::size_t) { return std::string("a."); }) + "a]");
  expect_refused("a = [" + std::string(500000, ',') + "]");
  expect_refused("a = '" + std::string(1000000, 'x') + "'\n");
  expect_refused(std::string(1000000, 'k') + " = 1\n");
  expect_refused(many(100000, [](std::size_t i) { return fmt::format("k{} = 1\n", i); }));
  expect_refused("[app.a]\nrun='x'\n[app.a.env]\n" +
                 many(100000, [](std::size_t i) { return fmt::format("k{} = 1.5\n", i); }));
  expect_refused("a = [" + many(100000, [](std::size_t) { return std::string("1,"); }) + "]");
  expect_refused(many(15000, [](std::size_t i) { return fmt::format("a{}.b = 1\n", i); }));
  expect_refused(many(40000, [](std::size_t i) { return fmt::format("[a{}.b]\n", i); }));
  expect_refused(many(2500, [](std::size_t i) { return fmt::format("[app.a{}]\nrun='x'\n", i); }));
  expect_refused("[app.a]\nrun='x'\nafter=[" +
                 many(20000, [](std::size_t i) { return fmt::format("'a{}',", i); }) + "]");
  expect_refused("[app.a]\nrun='x'\nlisten=[" + many(20000, [](std::size_t) { return std::string("80,"); }) +
                 "]");
  expect_refused("[app.a]\nrun='" + many(100000, [](std::size_t) { return std::string("${A:-"); }) + "'");
  expect_refused("[app.a]\nrun='" + many(100000, [](std::size_t) { return std::string("{x}"); }) + "'");
}

TEST(Broken, LargeButGood) {
  std::string text = "[app.a]\nrun='x'\n[app.a.env]\n";
  for (int i = 0; i < 100000; ++i) text += fmt::format("k{} = '1'\n", i);
  EXPECT_EQ(good(text).apps.at(0).env.size(), 100000U);
}

TEST(Broken, DefaultsThatWouldMultiply) {
  std::string text = "[defaults.env]\n";
  for (int i = 0; i < 20000; ++i) text += fmt::format("k{} = '1'\n", i);
  for (int i = 0; i < 1000; ++i) text += fmt::format("[app.a{}]\nrun='x'\n", i);
  expect_refused(text);
}

}  // namespace
}  // namespace muster::spec
