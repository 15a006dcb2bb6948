#include "spec/keys.h"

#include <gtest/gtest.h>

#include <set>

#include "rig.h"

namespace muster::spec {
namespace {

std::string spec_with(Section section, const std::string& line) {
  const std::string app = "[app.a]\nrun = 'x'\nport = 'auto'\n";
  switch (section) {
    case Section::top:
      return line + "\n";
    case Section::app:
      return "[app.a]\n" + line + "\n";
    case Section::health:
      return app + "[app.a.health]\n" + line + "\n";
    case Section::restart:
      return app + "[app.a.restart]\n" + line + "\n";
    case Section::stop:
      return app + "[app.a.stop]\n" + line + "\n";
    case Section::volume:
      return app + "[app.a.volume.v]\n" + line + "\n";
    case Section::limits:
      return app + "[app.a.limits]\n" + line + "\n";
    case Section::log:
      return app + "[app.a.log]\n" + line + "\n";
    case Section::listen:
      return app + "[listen.l]\n" + line + "\n";
    case Section::timeout:
      return app + "[listen.l.timeout]\n" + line + "\n";
    case Section::queue:
      return app + "[listen.l.queue]\n" + line + "\n";
    case Section::proxy_protocol:
      return app + "[listen.l.proxy_protocol]\n" + line + "\n";
    case Section::sticky:
      return app + "[listen.l.sticky]\n" + line + "\n";
    case Section::eject:
      return app + "[listen.l.eject]\n" + line + "\n";
    case Section::route:
      return app + "[[listen.l.route]]\n" + line + "\n";
    case Section::respond:
      return app + "[[listen.l.route]]\n[listen.l.route.respond]\n" + line + "\n";
    case Section::headers:
      return app + "[listen.l.headers]\n" + line + "\n";
    case Section::tls:
      return app + "[listen.l.tls]\n" + line + "\n";
    case Section::job:
      return "[job.j]\n" + line + "\n";
    case Section::daemon:
      return "[daemon]\n" + line + "\n";
    case Section::update:
      return app + "[app.a.update]\n" + line + "\n";
    case Section::scale:
      return app + "[app.a.scale]\n" + line + "\n";
  }
  return "";
}

bool says(const std::string& text, const std::string& what) {
  for (const std::string& complaint : complaints(text))
    if (complaint.find(what) != std::string::npos) return true;
  return false;
}

// A date is the right value for no key: a key that is read says so, one that is not read stays silent.
TEST(KeyTable, EveryBuiltKeyIsReadAndEveryOtherRefused) {
  for (const KeyRow& row : key_table()) {
    const std::string key(row.name);
    const std::string text = spec_with(row.section, key + " = 1979-05-27");
    ASSERT_FALSE(text.empty()) << key;
    EXPECT_FALSE(says(text, "unknown key '" + key + "'")) << key;
    if (row.built) {
      EXPECT_TRUE(says(text, "found a date or time")) << key;
    } else {
      EXPECT_TRUE(says(text, "'" + key + "' is not in this version")) << key;
    }
  }
}

TEST(KeyTable, RowsAreComplete) {
  std::set<std::pair<Section, std::string_view>> seen;
  for (const KeyRow& row : key_table()) {
    EXPECT_TRUE(seen.emplace(row.section, row.name).second) << row.name;
    EXPECT_FALSE(row.type.empty() || row.fallback.empty()) << row.name;
    EXPECT_TRUE(row.sentence.ends_with('.')) << row.name;
  }
}

TEST(Suggestions, AreClose) {
  EXPECT_EQ(suggest_key(Section::app, "replica"), "did you mean 'replicas'?");
  EXPECT_EQ(suggest_key(Section::app, "prot"), "did you mean 'port'?");
  EXPECT_EQ(suggest_key(Section::app, "environment"), "did you mean 'env'?");
  EXPECT_EQ(suggest_key(Section::app, "Run"), "did you mean 'run'?");
  EXPECT_EQ(suggest_key(Section::app, "bind"), "'bind' belongs to [listen.NAME]");
  EXPECT_EQ(suggest_key(Section::app, "qwertz"), "");
  EXPECT_EQ(suggest_key(Section::app, ""), "");
  EXPECT_EQ(suggest_key(Section::app, std::string(100000, 'r')), "");
}

}  // namespace
}  // namespace muster::spec
