#include "cli/commands.h"

#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Commands, HelpNamesEveryCommandAndFlag) {
  const std::string general = general_help();
  for (const CommandRow& row : all_commands()) {
    EXPECT_THAT(general, HasSubstr(std::string(row.does)));
    const std::string own = command_help(row);
    EXPECT_THAT(own, HasSubstr(std::string("usage: muster ") + std::string(row.name)));
    for (const FlagKey key : row.flags) {
      const Flag& flag = flag_row(key);
      if (flag.later) {
        EXPECT_THAT(own, Not(HasSubstr(std::string(flag.long_name))));
      } else {
        EXPECT_THAT(own, HasSubstr(std::string(flag.long_name)));
      }
    }
  }
  for (const FlagKey key : global_flags())
    EXPECT_THAT(general, HasSubstr(std::string(flag_row(key).long_name)));
}

TEST(Commands, HelpOfLogsGivesDashFToFollow) {
  const std::string help = command_help(*find_command("logs"));
  EXPECT_THAT(help, HasSubstr("-f, --follow"));
  EXPECT_THAT(help, Not(HasSubstr("-f, --file")));
  EXPECT_THAT(command_help(*find_command("ps")), HasSubstr("-f, --file"));
}

TEST(Commands, NamesAreUnique) {
  std::set<std::string_view> names;
  for (const CommandRow& row : all_commands()) {
    EXPECT_TRUE(names.insert(row.name).second) << row.name;
    EXPECT_FALSE(is_later_command(row.name));
  }
}

TEST(Commands, TheNearestWordIsNear) {
  constexpr std::array<std::string_view, 3> known{"check", "drain", "down"};
  EXPECT_EQ(nearest("chekc", known), "check");
  EXPECT_EQ(nearest("dwon", known), "down");
  EXPECT_EQ(nearest("drian", known), "drain");
  EXPECT_EQ(nearest("export", known), std::nullopt);
  EXPECT_EQ(nearest("", known), std::nullopt);
}

}  // namespace
}  // namespace muster::cli
