#include "supervisor/log_record.h"

#include <gtest/gtest.h>

#include <cstring>

namespace muster::supervisor {
namespace {

using Work = LogRecovery::Work;

LogRecord record(LogStep step, std::uint32_t bytes = 100) {
  LogRecord made;
  made.step = static_cast<std::uint32_t>(step);
  made.bytes = bytes;
  made.pattern = make_log_pattern(0x0123456789ABCDEF);
  return made;
}

std::string as_text(const LogPattern& pattern) {
  return {reinterpret_cast<const char*>(pattern.data()), pattern.size()};
}

LogRecovery recover(const LogRecord& of, const std::string& buffer) {
  return recovery_of(of, buffer, 4, 65'536);
}

TEST(LogRecord, APatternIsNoText) {
  for (std::uint64_t random = 1; random < 1'000'000'000; random = random * 3 + 1) {
    for (const unsigned char byte : make_log_pattern(random)) ASSERT_GE(byte, 0xF8);
  }
  EXPECT_NE(make_log_pattern(1), make_log_pattern(2));
}

TEST(LogRecord, WhatIsToBeDoneInEachState) {
  const std::string pattern = as_text(record(LogStep::idle).pattern);
  const std::string text = "2026 some output";
  EXPECT_EQ(recover(record(LogStep::idle), text).work, Work::none);
  EXPECT_EQ(recover(record(LogStep::reading), pattern).work, Work::none);
  EXPECT_EQ(recover(record(LogStep::reading), text).work, Work::finish);
  EXPECT_EQ(recover(record(LogStep::taken), text).work, Work::finish);
  EXPECT_FALSE(recover(record(LogStep::taken), text).in_file);
  EXPECT_EQ(recover(record(LogStep::writing), text).work, Work::finish);
  EXPECT_TRUE(recover(record(LogStep::writing), text).in_file);
  EXPECT_EQ(recover(record(LogStep::written), text).work, Work::areas);
}

// A short read touches only the begin of the pattern, and only that is looked at.
TEST(LogRecord, AReadOfFewBytes) {
  for (std::uint32_t bytes = 1; bytes <= 16; ++bytes) {
    std::string buffer = as_text(record(LogStep::idle).pattern);
    EXPECT_EQ(recover(record(LogStep::reading, bytes), buffer).work, Work::none) << bytes;
    std::fill(buffer.begin(), buffer.begin() + bytes, 'x');
    EXPECT_EQ(recover(record(LogStep::reading, bytes), buffer).work, Work::finish) << bytes;
    buffer = as_text(record(LogStep::idle).pattern);
    if (bytes < 16) buffer[bytes] = 'x';  // of an earlier, longer one
    EXPECT_EQ(recover(record(LogStep::reading, bytes), buffer).work, Work::none) << bytes;
  }
}

TEST(LogRecord, WhatNoMusterWroteIsNothing) {
  const std::string text(16, 'x');
  LogRecord wrong = record(LogStep::taken);
  wrong.slot = 4;
  EXPECT_EQ(recover(wrong, text).work, Work::none);
  wrong = record(LogStep::taken, 65'537);
  EXPECT_EQ(recover(wrong, text).work, Work::none);
  wrong = record(LogStep::writing);
  wrong.begin = 2;
  wrong.end = 1;
  EXPECT_EQ(recover(wrong, text).work, Work::none);
  wrong = record(LogStep::taken);
  wrong.format = 99;
  EXPECT_EQ(recover(wrong, text).work, Work::none);
  wrong.step = 77;
  EXPECT_EQ(recover(wrong, text).work, Work::none);
}

TEST(LogRecord, TheSizeOfAFileSaysWhatIsInIt) {
  LogRecord writing = record(LogStep::writing);
  writing.offset = 1000;
  writing.begin = 50;
  writing.end = 80;
  EXPECT_EQ(written_before(writing, 1000), 0U);
  EXPECT_EQ(written_before(writing, 1001), 1U);
  EXPECT_EQ(written_before(writing, 1029), 29U);
  EXPECT_EQ(written_before(writing, 1030), 30U);
  EXPECT_EQ(written_before(writing, 4000), 30U) << "somebody else appended";
  EXPECT_EQ(written_before(writing, 10), 0U) << "somebody emptied it";
}

TEST(LogRecord, WhoseSlotItIs) {
  const LogOwner owner{
      InstanceId{9}, Stream::err, {"web", 2}, {.rotate_bytes = 7, .keep = 3, .format = spec::LogFormat::raw}};
  LogSlotRecord slot;
  ASSERT_TRUE(put_owner(slot, owner));
  EXPECT_FALSE(owner_of(slot)) << "not used yet";
  slot.used = 1;
  const auto found = owner_of(slot);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->instance, owner.instance);
  EXPECT_EQ(found->stream, owner.stream);
  EXPECT_EQ(found->replica, owner.replica);
  EXPECT_EQ(found->options, owner.options);
  EXPECT_FALSE(put_owner(slot, {InstanceId{9}, Stream::err, {std::string(200, 'x'), 2}, {}}));
  std::strcpy(slot.app.data(), "../etc");
  EXPECT_FALSE(owner_of(slot)) << "a name that leads elsewhere";
  slot.app.fill('x');
  EXPECT_FALSE(owner_of(slot)) << "a name without an end";
}

}  // namespace
}  // namespace muster::supervisor
