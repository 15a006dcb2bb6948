#include "cli/volumes_table.h"

#include "cli/volume_names.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::string_view body = R"({"schema":1,"volumes":[
  {"app":"db","ordinal":0,"name":"data","path":"/s/volumes/db/0/data","state":"in use","reason":null,
   "registered":true,"made":"2026-01-01T00:00:00Z","owner":"www","size_bytes":1073741824,"size_enforced":true,
   "size_note":null,"used_bytes":4096,"used_complete":true},
  {"app":"db","ordinal":0,"name":"wal","path":"/srv/wal/0","state":"idle","reason":null,
   "registered":true,"made":"2026-01-01T00:00:00Z","owner":"www","size_bytes":1048576,"size_enforced":false,
   "size_note":"ext4 without project quota","used_bytes":2097152,"used_complete":false},
  {"app":"db","ordinal":1,"name":"data","path":"/s/volumes/db/1/data","state":"missing",
   "reason":"volume data of db/1 is missing\u001b[31m","registered":true,"made":null,"owner":null,
   "size_bytes":null,"size_enforced":false,"size_note":null,"used_bytes":null,"used_complete":true}]})";

TEST(VolumesTable, ShowsWhereTheyAreAndHowFull) {
  const auto parsed = parse_object(body);
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(volumes_table(JsonView(&parsed.value()), {}),
            "VOLUME     STATE    USED     SIZE              PATH\n"
            "db/0/data  in use   4.0KiB   1.0GiB            /s/volumes/db/0/data\n"
            "db/0/wal   idle     2.0MiB+  1.0MiB (watched)  /srv/wal/0\n"
            "db/1/data  missing  -        -                 /s/volumes/db/1/data\n"
            "\n"
            "volume data of db/1 is missing\\x1b[31m\n");
  const std::string wide = volumes_table(JsonView(&parsed.value()), {.wide = true, .colour = false});
  EXPECT_THAT(wide, HasSubstr("OWNER"));
  EXPECT_THAT(wide, HasSubstr("size of db/0/wal is not enforced: ext4 without project quota"));
}

TEST(VolumesTable, SaysThatThereAreNone) {
  const auto parsed = parse_object(R"({"schema":1,"volumes":[]})");
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(volumes_table(JsonView(&parsed.value()), {}), "no volumes\n");
}

TEST(VolumeNames, AreAppOrdinalAndName) {
  EXPECT_EQ(parse_volume_name("db").value(),
            (VolumeName{.app = "db", .ordinal = {}, .name = "", .path = ""}));
  EXPECT_EQ(parse_volume_name("db/2").value(),
            (VolumeName{.app = "db", .ordinal = 2, .name = "", .path = ""}));
  EXPECT_EQ(parse_volume_name("db/2/wal").value(),
            (VolumeName{.app = "db", .ordinal = 2, .name = "wal", .path = ""}));
  EXPECT_EQ(parse_volume_name("/srv/x/0").value(),
            (VolumeName{.app = "", .ordinal = {}, .name = "", .path = "/srv/x/0"}));
  for (const char* const wrong :
       {"", "db/", "db//data", "db/x/data", "db/0/", "db/0/a/b", "db/0/..", "../0/data"})
    EXPECT_FALSE(parse_volume_name(wrong).ok()) << wrong;
}

TEST(VolumeNames, MeanRowsOfTheList) {
  const auto parsed = parse_object(body);
  ASSERT_TRUE(parsed.ok());
  const JsonView rows = JsonView(&parsed.value())["volumes"];
  const auto meant = [&](const char* word) { return rows_named(rows, parse_volume_name(word).value()); };
  EXPECT_THAT(meant("db"), ElementsAre(0, 1, 2));
  EXPECT_THAT(meant("db/0"), ElementsAre(0, 1));
  EXPECT_THAT(meant("db/0/wal"), ElementsAre(1));
  EXPECT_THAT(meant("/srv/wal/0"), ElementsAre(1));
  EXPECT_THAT(meant("db/2"), IsEmpty());
}

}  // namespace
}  // namespace muster::cli
