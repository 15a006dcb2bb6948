#include "lb/sni.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace muster::lb {
namespace {

using testing::ElementsAre;
using Set = std::vector<std::size_t>;

constexpr int rsa = 6;
constexpr int ec = 408;

Set offered(const SniTable& table, std::string_view name) {
  return table.sets()[table.find(name)];
}

TEST(Sni, TheNameItselfThenItsWildcardThenTheFirst) {
  const SniTable table({{.names = {"first.example"}, .key_type = rsa},
                        {.names = {"*.example.org", "example.org"}, .key_type = rsa},
                        {.names = {"a.example.org"}, .key_type = rsa}});
  EXPECT_EQ(offered(table, "first.example"), Set{0});
  EXPECT_EQ(offered(table, "example.org"), Set{1});
  EXPECT_EQ(offered(table, "b.example.org"), Set{1});
  EXPECT_EQ(offered(table, "a.example.org"), Set{2});
  EXPECT_EQ(offered(table, "a.b.example.org"), Set{0}) << "a wildcard is one label";
  EXPECT_EQ(offered(table, "elsewhere.example"), Set{0});
  EXPECT_EQ(offered(table, "org"), Set{0});
  EXPECT_EQ(offered(table, ""), Set{0});
}

TEST(Sni, CaseAndALastDotDoNotCount) {
  const SniTable table({{.names = {"x"}, .key_type = rsa}, {.names = {"a.example"}, .key_type = rsa}});
  EXPECT_EQ(offered(table, "A.Example"), Set{1});
  EXPECT_EQ(offered(table, "a.example."), Set{1});
  EXPECT_EQ(offered(table, "."), Set{0});
}

TEST(Sni, OneOfEachKeyTypeIsOfferedTogether) {
  const SniTable table({{.names = {"a.example"}, .key_type = rsa},
                        {.names = {"a.example", "b.example"}, .key_type = ec},
                        {.names = {"a.example"}, .key_type = ec}});
  EXPECT_EQ(offered(table, "a.example"), (Set{0, 1})) << "of two of one type the earlier";
  EXPECT_EQ(offered(table, "b.example"), Set{1});
  EXPECT_EQ(table.sets().front(), (Set{0, 1})) << "without a name: the first and its like";
}

TEST(Sni, EqualSetsAreOne) {
  const SniTable table({{.names = {"a.example", "b.example", "*.example"}, .key_type = rsa}});
  EXPECT_THAT(table.sets(), ElementsAre(Set{0}));
}

TEST(Sni, ACertificateWithoutANameServesWhenItIsTheFirst) {
  const SniTable table({{.names = {}, .key_type = rsa}, {.names = {"a.example"}, .key_type = rsa}});
  EXPECT_EQ(table.sets().front(), Set{0});
  EXPECT_EQ(offered(table, "other.example"), Set{0});
  EXPECT_EQ(offered(table, "a.example"), Set{1});
}

}  // namespace
}  // namespace muster::lb
