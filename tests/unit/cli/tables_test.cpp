#include "cli/tables.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster::cli {
namespace {

TEST(Table, AlignsByCodePoints) {
  Table table({"ID", "STATE", "REASON"});
  table.add({{"wéb/0"}, {"ready"}, {}});
  table.add({{"db"}, {"backoff"}, {"exited"}});
  EXPECT_EQ(table.text(false),
            "ID     STATE    REASON\n"
            "wéb/0  ready\n"
            "db     backoff  exited\n");
}

TEST(Table, EmptyCellsLeaveTheirRoom) {
  Table table({"A", "B", "C"});
  table.add({{"1"}, {}, {"3"}});
  table.add({{}, {"2"}});
  EXPECT_EQ(table.text(false),
            "A  B  C\n"
            "1     3\n"
            "   2\n");
}

TEST(Table, ColoursDoNotMoveColumns) {
  Table table({"A", "B"});
  table.add({{"x", Colour::red}, {"y"}});
  EXPECT_EQ(table.text(true), "\x1b[1mA\x1b[0m  \x1b[1mB\x1b[0m\n\x1b[31mx\x1b[0m  y\n");
}

TEST(Table, ControlBytesAreEscaped) {
  Table table({"A"});
  table.add({{"\x1b[2Jx\n\ty"}});
  EXPECT_EQ(table.text(false), "A\n\\x1b[2Jx\\x0a y\n");
}

TEST(Tables, AgesAndSizesAreShort) {
  EXPECT_EQ(short_age(0.04), "0.0s");
  EXPECT_EQ(short_age(9.1), "9.1s");
  EXPECT_EQ(short_age(12), "12s");
  EXPECT_EQ(short_age(303), "5m03s");
  EXPECT_EQ(short_age(3 * 3600 + 12 * 60), "3h12m");
  EXPECT_EQ(short_age(4 * 86400 + 2 * 3600), "4d02h");
  EXPECT_EQ(short_age(-1), "0.0s");
  EXPECT_EQ(short_bytes(512), "512B");
  EXPECT_EQ(short_bytes(1048576), "1.0MiB");
  EXPECT_EQ(short_bytes(67108864), "64MiB");
  EXPECT_EQ(short_bytes(1023.9 * 1024), "1.0MiB");
}

TEST(Tables, AnAppKeepsItsColour) {
  EXPECT_EQ(app_colour("web"), app_colour("web"));
  EXPECT_NE(app_colour("web"), Colour::red);
  EXPECT_EQ(state_colour("ready"), Colour::green);
  EXPECT_EQ(state_colour("backoff"), Colour::red);
}

}  // namespace
}  // namespace muster::cli
