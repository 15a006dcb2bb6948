#include "supervisor/volume_record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "supervisor/volume_list.h"
#include "supervisor/volume_tree.h"

namespace muster::supervisor {
namespace {

using testing::HasSubstr;
using Kind = VolumeSight::Kind;
using Lock = VolumeSight::Lock;
using Verdict = VolumeVerdict;

VolumeRecord record() {
  return {.path = "/state/volumes/db/1/data",
          .replica = {.app = "db", .ordinal = 1},
          .key = "data",
          .id = "00112233445566778899aabbccddeeff",
          .directory = {.device = 0xffff'ffff'ffff'fff0, .inode = 42},
          .boot_id = "boot-1",
          .uid = 65534,
          .gid = 0xffff'fffe,
          .made_ms = 1'700'000'000'000,
          .project = 0x4d550001,
          .removing = true};
}

VolumeBook book() {
  VolumeRecord plain = record();
  plain.path = "/srv/pg/1";
  plain.project = 0;
  plain.removing = false;
  return {.volumes = {record(), plain}, .incomplete = true};
}

TEST(VolumeBook, ComesBackAsItWas) {
  const auto back = decode_volumes(encode_volumes(book(), "/state"), "/state");
  ASSERT_TRUE(back.ok()) << back.error().message;
  EXPECT_EQ(back.value().volumes, book().volumes);
  EXPECT_TRUE(back.value().incomplete);
  EXPECT_FALSE(decode_volumes(encode_volumes({}, "/state"), "/state").value().incomplete);
}

TEST(VolumeBook, FollowsItsFolder) {
  const auto back = decode_volumes(encode_volumes(book(), "/state"), "/moved");
  EXPECT_EQ(back.value().volumes.at(0).path, "/moved/volumes/db/1/data");
  EXPECT_EQ(back.value().volumes.at(1).path, "/srv/pg/1");
  // A folder whose name only begins alike is another.
  VolumeBook near;
  near.volumes = {record()};
  near.volumes[0].path = "/state2/x";
  EXPECT_EQ(decode_volumes(encode_volumes(near, "/state"), "/moved").value().volumes.at(0).path, "/state2/x");
}

TEST(VolumeBook, CutOrFlippedAnywhereItIsDamaged) {
  const std::string text = encode_volumes(book(), "/state");
  for (std::size_t size = 0; size < text.size(); ++size)
    EXPECT_FALSE(decode_volumes(std::string_view(text).substr(0, size), "/state").ok()) << size;
  for (std::size_t byte = 0; byte < text.size(); ++byte) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      std::string damaged = text;
      damaged[byte] = static_cast<char>(static_cast<unsigned char>(damaged[byte]) ^ (1U << bit));
      EXPECT_FALSE(decode_volumes(damaged, "/state").ok()) << byte << " bit " << bit;
    }
  }
}

TEST(VolumeStamp, IsWholeOrNone) {
  const VolumeStamp stamp{.id = "abc", .directory = {.device = 7, .inode = 0xffff'ffff'ffff'ffff}};
  const std::string text = encode_stamp(stamp);
  EXPECT_EQ(decode_stamp(text), stamp);
  for (std::size_t size = 0; size < text.size(); ++size)
    EXPECT_EQ(decode_stamp(std::string_view(text).substr(0, size)), std::nullopt) << size;
  for (std::size_t byte = 0; byte < text.size(); ++byte) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      std::string damaged = text;
      damaged[byte] = static_cast<char>(static_cast<unsigned char>(damaged[byte]) ^ (1U << bit));
      EXPECT_EQ(decode_stamp(damaged), std::nullopt) << byte << " bit " << bit;
    }
  }
  EXPECT_EQ(decode_stamp(text + "x"), std::nullopt);
  EXPECT_EQ(decode_stamp(std::string(2000, 'x')), std::nullopt);
}

// --- what is there against what is known

struct Seen {
  const char* what;
  bool known;
  VolumeSight sight;
  Verdict verdict;
  bool incomplete = false;
};

VolumeSight directory(std::uint64_t device, std::uint64_t inode, std::uint32_t uid, bool empty,
                      Lock lock = Lock::none, std::uint64_t stamped_inode = 0, const char* id = "other") {
  return {.kind = Kind::directory,
          .directory = {.device = device, .inode = inode},
          .uid = uid,
          .empty = empty,
          .lock = lock,
          .stamp = {.id = id, .directory = {.device = device, .inode = stamped_inode}}};
}
VolumeSight nothing(Lock lock) {
  VolumeSight sight;
  sight.lock = lock;
  return sight;
}

constexpr std::uint32_t www = 33;

TEST(VolumeVerdict, OfEverythingThatCanBeThere) {
  VolumeRecord known = record();
  known.directory = {.device = 5, .inode = 42};
  known.removing = false;
  VolumeSight link;
  link.kind = Kind::other;
  const std::string id = known.id;
  const std::array table{
      Seen{"itself", true, directory(5, 42, www, false), Verdict::use},
      Seen{"itself, now of another user", true, directory(5, 42, 0, false), Verdict::use},
      Seen{"gone", true, nothing(Lock::none), Verdict::missing},
      Seen{"gone, its lock is there", true, nothing(Lock::stamped), Verdict::missing},
      Seen{"a link", true, link, Verdict::not_a_directory},
      Seen{"another", true, directory(5, 43, www, false), Verdict::replaced},
      Seen{"an empty one", true, directory(5, 43, www, true, Lock::blank), Verdict::replaced},
      Seen{"of another disk", true, directory(6, 42, www, false), Verdict::replaced},
      Seen{"of another disk with another's stamp", true, directory(6, 42, www, false, Lock::stamped, 42),
           Verdict::replaced},
      Seen{"never there", false, nothing(Lock::none), Verdict::make},
      Seen{"killed as it was made", false, nothing(Lock::blank), Verdict::make},
      Seen{"its list and itself lost", false, nothing(Lock::stamped), Verdict::missing},
      Seen{"itself lost and a list that was lost", false, nothing(Lock::blank), Verdict::missing, true},
      Seen{"never there, with a list that was lost", false, nothing(Lock::none), Verdict::make, true},
      Seen{"a link", false, link, Verdict::not_a_directory},
      Seen{"empty and the user's", false, directory(5, 1, www, true), Verdict::enroll},
      Seen{"empty and root's", false, directory(5, 1, 0, true), Verdict::foreign},
      Seen{"full and the user's", false, directory(5, 1, www, false), Verdict::foreign},
      Seen{"full, the user's, with our lock", false, directory(5, 1, www, false, Lock::blank),
           Verdict::enroll},
      Seen{"full, root's, with our lock", false, directory(5, 1, 0, false, Lock::blank), Verdict::foreign},
      Seen{"with its stamp", false, directory(5, 1, 0, false, Lock::stamped, 1), Verdict::enroll},
      Seen{"empty, with the stamp of another", false, directory(5, 1, www, true, Lock::stamped, 2),
           Verdict::foreign},
  };
  for (const Seen& seen : table) {
    EXPECT_EQ(judge_volume({.record = seen.known ? &known : nullptr,
                            .sight = seen.sight,
                            .uid = www,
                            .boot_id = "boot-1",
                            .incomplete = seen.incomplete}),
              seen.verdict)
        << (seen.known ? "known: " : "unknown: ") << seen.what;
  }
}

TEST(VolumeVerdict, ADiskThatHasAnotherNumberSinceTheBootIsTheSame) {
  VolumeRecord known = record();
  known.directory = {.device = 5, .inode = 42};
  known.removing = false;
  const auto verdict = [&](const VolumeSight& sight, std::string_view boot) {
    return judge_volume({.record = &known, .sight = sight, .uid = www, .boot_id = boot});
  };
  const VolumeSight same = directory(6, 42, www, false, Lock::stamped, 42, known.id.c_str());
  EXPECT_EQ(verdict(same, "boot-2"), Verdict::renumbered);
  EXPECT_EQ(verdict(same, "boot-1"), Verdict::replaced);
  EXPECT_EQ(verdict(directory(6, 43, www, false, Lock::stamped, 42, known.id.c_str()), "boot-2"),
            Verdict::replaced);
  EXPECT_EQ(verdict(directory(6, 42, www, false, Lock::blank), "boot-2"), Verdict::replaced);
}

TEST(VolumeVerdict, WhatIsHalfRemovedIsNoVolume) {
  const VolumeRecord half = record();
  for (const VolumeSight& sight : {directory(half.directory.device, 42, www, true), nothing(Lock::none)})
    EXPECT_EQ(judge_volume({.record = &half, .sight = sight, .boot_id = "boot-1"}), Verdict::half_removed);
}

TEST(VolumeVerdict, EachRefusalSaysWhatToDo) {
  for (const Verdict verdict : {Verdict::missing, Verdict::replaced, Verdict::not_a_directory,
                                Verdict::foreign, Verdict::half_removed}) {
    EXPECT_FALSE(is_usable(verdict));
    const std::string text = refusal_sentence({.verdict = verdict,
                                               .replica = {.app = "db", .ordinal = 1},
                                               .key = "data",
                                               .path = "/srv/1",
                                               .owner = "root",
                                               .wanted_owner = "www"});
    EXPECT_THAT(text, HasSubstr("volume data of db/1"));
    EXPECT_THAT(text, HasSubstr("; "));
    const char* const does =
        verdict == Verdict::not_a_directory ? "put the directory back" : "`muster volumes ";
    EXPECT_THAT(text, HasSubstr(does));
  }
  EXPECT_THAT(refusal_sentence({.verdict = Verdict::foreign,
                                .replica = {.app = "db", .ordinal = 1},
                                .key = "data",
                                .path = "/srv/1",
                                .owner = "root",
                                .wanted_owner = "www"}),
              HasSubstr("belongs to root, not to www"));
  for (const Verdict verdict : {Verdict::use, Verdict::renumbered, Verdict::enroll, Verdict::make})
    EXPECT_TRUE(is_usable(verdict));
}

TEST(VolumeState, NamesWhatNeedsALookFirst) {
  EXPECT_EQ(volume_state(Verdict::use, true, true), "in use");
  EXPECT_EQ(volume_state(Verdict::use, true, false), "in use");
  EXPECT_EQ(volume_state(Verdict::enroll, false, true), "idle");
  EXPECT_EQ(volume_state(Verdict::use, false, false), "orphan");
  EXPECT_EQ(volume_state(Verdict::missing, true, true), "missing");
  EXPECT_EQ(volume_state(Verdict::replaced, true, true), "foreign");
  EXPECT_EQ(volume_state(Verdict::not_a_directory, false, false), "foreign");
  EXPECT_EQ(volume_state(Verdict::half_removed, false, true), "removing");
}

TEST(VolumeState, LocksAreFoundInTheKernelsList) {
  constexpr std::string_view locks =
      "1: POSIX  ADVISORY  WRITE 700 fd:00:99 0 EOF\n"
      "2: FLOCK  ADVISORY  WRITE 812 fd:01:1234 0 EOF\n"
      "2: -> FLOCK  ADVISORY  WRITE 813 fd:01:77 0 EOF\n";
  EXPECT_TRUE(is_locked(locks, 0xfd01, 1234));
  EXPECT_FALSE(is_locked(locks, 0xfd01, 123));
  EXPECT_FALSE(is_locked(locks, 0xfd00, 1234));
  EXPECT_FALSE(is_locked(locks, 0xfd00, 99));  // another kind of lock
  EXPECT_FALSE(is_locked(locks, 0xfd01, 77));  // one that waits
  EXPECT_FALSE(is_locked("", 0xfd01, 1234));
}

TEST(MountBelow, FindsWhatIsMountedInAFolder) {
  constexpr std::string_view mounts =
      "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
      "30 22 8:2 / /srv/a\\040b/c rw - ext4 /dev/sdb1 rw\n"
      "31 22 8:3 / /srv/ab rw - ext4 /dev/sdc1 rw";
  EXPECT_EQ(mount_below(mounts, "/srv/a b"), "/srv/a b/c");
  EXPECT_EQ(mount_below(mounts, "/srv/a b/c"), "/srv/a b/c");
  EXPECT_EQ(mount_below(mounts, "/srv/a"), "");
  EXPECT_EQ(mount_below(mounts, "/srv/ab"), "/srv/ab");
  EXPECT_EQ(mount_below("", "/srv"), "");
  EXPECT_EQ(mount_below("short\n\n30 22\n", "/srv"), "");
}

}  // namespace
}  // namespace muster::supervisor
