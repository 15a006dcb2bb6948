#include "spec/guard.h"

#include <gtest/gtest.h>

#include "base/limits.h"
#include "spec/utf8.h"

namespace muster::spec {
namespace {

std::string refused(std::string_view text) {
  const auto guarded = guard_text(text, 0);
  if (!guarded.refused) return "";
  return std::to_string(guarded.refused->at.line) + ":" + std::to_string(guarded.refused->at.column) + " " +
         guarded.refused->message;
}

TEST(Utf8, IsStrict) {
  EXPECT_EQ(decode_utf8("a", 0).bytes, 1U);
  EXPECT_EQ(decode_utf8("\xC3\xA9", 0).value, 0xE9U);
  EXPECT_EQ(decode_utf8("\xEF\xAC\xA6", 0).value, 0xFB26U);
  EXPECT_EQ(decode_utf8("\xF0\x9F\x98\x80", 0).value, 0x1F600U);
  for (const char* bad : {"\x80", "\xC0\x80", "\xC1\xBF", "\xE0\x80\x80", "\xED\xA0\x80", "\xF0\x80\x80\x80",
                          "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xC3", "\xE2\x82", "\xC3\x28", "\xFF"})
    EXPECT_EQ(decode_utf8(bad, 0).bytes, 0U);
}

TEST(Guard, LetsTomlThrough) {
  for (const char* text :
       {"", "a = 1\r\n", "a = \"é\" # ü\n", "'é' = 1", "a = '''\né'\n'''", "a = \"\"\"\\\"\\\"\\\"é\"\"\"\n",
        "a = \"\\\\\"\nb = 'x'", "[a]\nb = [1, [2, {c = 3}]]", "a = \"\"\"x\"\"\"\"\" # é", "a = ''",
        "a = '' # é", "a = \"\" \nb = \"é\"", "a = 'it' # it's é\nb = 1"})
    EXPECT_EQ(refused(text), "") << text;
}

TEST(Guard, StopsWhatIsNoText) {
  EXPECT_EQ(refused("a = 1\nb = \xFF"), "2:5 byte 0xFF is not valid UTF-8");
  EXPECT_EQ(refused("a = 'é\xC3'"), "1:7 byte 0xC3 is not valid UTF-8");
  EXPECT_EQ(refused(std::string_view("a\0= 1", 6)), "1:2 control character 0x00");
  EXPECT_EQ(refused("a = '\x1b[31m'"), "1:6 control character 0x1B");
  EXPECT_EQ(refused("a = 1\rb = 2"), "1:6 control character 0x0D");
  EXPECT_EQ(refused("# \x7f"), "1:3 control character 0x7F");
}

TEST(Guard, StopsForeignCharactersOutsideOfQuotes) {
  EXPECT_EQ(refused("a = 1\n\xEF\xAC\xA6 = 2"), "2:1 'ﬦ' (U+FB26) cannot stand outside of quotes");
  EXPECT_EQ(refused("a = \xEF\xBB\xBC"), "1:5 'ﻼ' (U+FEFC) cannot stand outside of quotes");
}

TEST(Guard, EveryCharacterOfTheParsersGapIsStopped) {
  for (char32_t value = 0xFB00; value <= 0xFEFF; ++value) {
    std::string text = "a = ";
    text += static_cast<char>(0xE0U | value >> 12U);
    text += static_cast<char>(0x80U | (value >> 6U & 0x3FU));
    text += static_cast<char>(0x80U | (value & 0x3FU));
    EXPECT_NE(refused(text), "") << static_cast<unsigned>(value);
    EXPECT_EQ(refused("b = '" + text.substr(4) + "' # " + text.substr(4)), "")
        << static_cast<unsigned>(value);
  }
}

TEST(Guard, NamesInvisibleCharactersAndCurlyQuotes) {
  EXPECT_EQ(refused("a\xC2\xA0= 1"), "1:2 the invisible character U+00A0 cannot stand outside of quotes");
  EXPECT_EQ(guard_text("a = \xE2\x80\x9Cx\xE2\x80\x9D", 0).refused->hint,
            "quotes in TOML are the plain \" and '");
}

TEST(Guard, LimitsNestingAndNumbers) {
  const std::string open(limits::spec_nesting_max + 1, '[');
  EXPECT_EQ(refused("a = " + open), "1:21 values are nested too deeply");
  EXPECT_EQ(refused("a = " + open.substr(1)), "");
  EXPECT_EQ(refused("a = '" + std::string(1000, '[') + "'"), "");
  std::string dotted = "a";
  for (int i = 0; i < 20; ++i) dotted += ".a";
  EXPECT_EQ(refused(dotted + " = 1"), "1:34 tables are nested too deeply");
  EXPECT_EQ(refused("[" + dotted + "]"), "1:35 tables are nested too deeply");
  std::string many;
  for (std::size_t i = 0; i <= limits::spec_tables_max; ++i) many += "[a]\n";
  EXPECT_EQ(refused(many), "50001:1 too many tables and lists");
  EXPECT_EQ(refused("a = [" + std::string(limits::spec_values_max, ',')), "1:250005 too many values");
}

TEST(Guard, FindsStatements) {
  const std::string text = "# c\n[a] # c\n  b = 1\nc = [\n 1,\n]\n\nd = '''\n[x]\n'''\n";
  const auto statements = guard_text(text, 0).statements;
  ASSERT_EQ(statements.size(), 4U);
  EXPECT_EQ(statements[1].line, 3);
  EXPECT_EQ(statements[1].column, 3);
  EXPECT_EQ(text.substr(statements[2].begin, statements[2].end - statements[2].begin), "c = [\n 1,\n]");
  EXPECT_EQ(statements[3].last_line, 10);
}

}  // namespace
}  // namespace muster::spec
