#include "spec/text.h"

#include <gtest/gtest.h>

namespace muster::spec {
namespace {

std::optional<std::string> lookup(const std::string& name) {
  if (name == "SET") return "value";
  if (name == "EMPTY") return "";
  if (name == "ODD") return "a b {port} ${SET} }}";
  return std::nullopt;
}

std::string expanded(std::string_view raw) {
  auto text = expand_environment(raw, lookup);
  return text ? text.value() : "ERROR " + text.error().message;
}

// Variables as <name.argument>, so that literal braces show.
std::string as_template(std::string_view raw) {
  const auto made = parse_template(raw, lookup);
  if (!made) return "ERROR " + made.error().message;
  return made.value().expand([](const TemplateVariable& variable) {
    return "<" + variable.name + (variable.argument.empty() ? "" : "." + variable.argument) + ">";
  });
}

struct Case {
  const char* raw;
  const char* text;
};

TEST(Environment, FormsOfCompose) {
  for (const auto& [raw, text] : {
           Case{"", ""},
           Case{"plain", "plain"},
           Case{"${SET}", "value"},
           Case{"a${SET}b${SET}c", "avaluebvaluec"},
           Case{"${EMPTY}", ""},
           Case{"${EMPTY:-default}", "default"},
           Case{"${UNSET:-}", ""},
           Case{"${UNSET:-a b}", "a b"},
           Case{"${UNSET:-${SET}}", "value"},
           Case{"${UNSET:-${UNSET:-x}y}z", "xyz"},
           Case{"${SET:?needed}", "value"},
           Case{"${UNSET:?say so}", "ERROR say so"},
           Case{"${UNSET:?}", "ERROR the environment has no 'UNSET'"},
           Case{"${UNSET}", "ERROR the environment has no 'UNSET'"},
           Case{"$$", "$"},
           Case{"$${SET}", "${SET}"},
           Case{"$$$${x", "$${x"},
           Case{"$SET $ $1", "$SET $ $1"},
           Case{"${SET", "ERROR '${SET' has no closing '}'"},
           Case{"${}", "ERROR '${}' is no variable of the environment"},
           Case{"${1A}", "ERROR '${1A}' is no variable of the environment"},
           Case{"${SET-x}", "ERROR '${SET-x}' is no variable of the environment"},
           Case{"${SET:+x}", "ERROR '${SET:+x}' is no variable of the environment"},
       })
    EXPECT_EQ(expanded(raw), text) << raw;
}

TEST(Environment, DefaultsNestOnlySoFar) {
  constexpr std::size_t levels = 100000;  // also no deep stack
  std::string deep;
  for (std::size_t i = 0; i < levels; ++i) deep += "${U:-";
  deep += "x" + std::string(levels, '}');
  EXPECT_EQ(expanded(deep), "ERROR ${…} are nested too deeply");
}

TEST(Templates, VariablesAndBraces) {
  for (const auto& [raw, text] : {
           Case{"{port}", "<port>"},
           Case{"--port={port.admin}/x", "--port=<port.admin>/x"},
           Case{"{addr.my-db}", "<addr.my-db>"},
           Case{"{{port}}", "{port}"},
           Case{"{{{port}}}", "{<port>}"},
           Case{"{ port}", "{ port}"},
           Case{"{\"a\":1}", "{\"a\":1}"},
           Case{"{}", "{}"},
           Case{"{PORT}", "{PORT}"},
           Case{"{1}", "{1}"},
           Case{"{", "{"},
           Case{"}", "}"},
           Case{"{port", "ERROR '{port' has no closing '}'"},
           Case{"{port x}", "ERROR '{port' has no closing '}'"},
           Case{"{port.}", "ERROR '{port.' has no closing '}'"},
           Case{"{port.a.b}", "ERROR '{port.a' has no closing '}'"},
           Case{"{a", "ERROR '{a' has no closing '}'"},
           Case{"${SET}{port}", "value<port>"},
           Case{"${ODD}", "a b {port} ${SET} }}"},
           Case{"$${{x", "${x"},
       })
    EXPECT_EQ(as_template(raw), text) << raw;
}

struct Words {
  const char* raw;
  std::vector<std::string> words;
};

TEST(Splitting, FollowsTheQuotesOfSh) {
  for (const auto& [raw, words] : {
           Words{"", {}},
           Words{"  ", {}},
           Words{"a b\tc\nd", {"a", "b", "c", "d"}},
           Words{"'a b' \"c d\"", {"a b", "c d"}},
           Words{"a'b'\"c\"d", {"abcd"}},
           Words{"'' x \"\"", {"", "x", ""}},
           Words{"a\\ b", {"a b"}},
           Words{"'a\\b'", {"a\\b"}},
           Words{"\"a\\b\\\"\\\\\"", {"a\\b\"\\"}},
           Words{"a\\\nb", {"ab"}},
           Words{"${X:-a b} c", {"${X:-a b}", "c"}},
           Words{"\"${X:-\"}\" d", {"${X:-\"}", "d"}},
           Words{"$$ '$${'", {"$$", "$${"}},
           Words{"\\$x \\{port\\} '{port}'", {"$$x", "{{port}}", "{port}"}},
           Words{"# a | b && c", {"#", "a", "|", "b", "&&", "c"}},
       }) {
    const auto split = split_words(raw);
    ASSERT_TRUE(split.ok()) << raw;
    EXPECT_EQ(split.value(), words) << raw;
  }
}

TEST(Splitting, OpenEndsAreErrors) {
  for (const char* raw : {"'", "\"", "a 'b", "a \"b\\\"", "a\\", "${x", "'${x"})
    EXPECT_FALSE(split_words(raw).ok()) << raw;
}

TEST(Templates, TheirSourceFormIsOneToOne) {
  EXPECT_EQ(parse_template("{{a}} {port} {volume.data} {\"x\":1}", lookup).value().text(),
            "{{a}} {port} {volume.data} {{\"x\":1}}");
  EXPECT_TRUE(parse_template("x {port}", lookup).value().uses("port"));
  EXPECT_FALSE(parse_template("x {{port}}", lookup).value().uses("port"));
}

}  // namespace
}  // namespace muster::spec
