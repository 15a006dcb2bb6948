// What is written down of a process, as text and back.
#include "supervisor/replica_record.h"

#include "gtest/gtest.h"
#include "spec/load.h"

namespace muster::supervisor {
namespace {

ReplicaRecord record_of(int pid) {
  auto app = std::make_shared<spec::App>();
  app->name = "web";
  app->run = {spec::Template("./web")};
  ReplicaRecord record;
  record.process.instance = InstanceId{7};
  record.process.replica = {"web", 2};
  record.process.revision = Revision{3};
  record.process.app = app;
  record.process.pid = pid;
  record.process.started = WallTime{} + Millis{1'700'000'000'123};
  record.process.ports = {{"", 8080}, {"admin", 9000}};
  record.process.socket = "/run/muster/web.2.7.sock";
  record.process.mark = {.started = true, .was_ready = true, .fit = true, .address = "::1"};
  record.boot_id = "boot";
  record.cgroup = "/sys/fs/cgroup/web.2.7";
  record.token = "token";
  record.start_ticks = 12345;
  record.replicas = 4;
  record.addresses = {{"db", "127.0.0.1:5432"}};
  record.volumes = {{"data", "/var/lib/muster/volumes/web/2/data"}};
  return record;
}

TEST(ReplicaRecord, ComesBackAsItWasWritten) {
  const ReplicaRecord record = record_of(812);
  const auto read = decode_record(encode_record(record));
  ASSERT_TRUE(read) << read.error().message;
  const ReplicaRecord& back = read.value();
  EXPECT_EQ(back.process.instance, record.process.instance);
  EXPECT_EQ(back.process.replica, record.process.replica);
  EXPECT_EQ(back.process.revision, record.process.revision);
  EXPECT_EQ(back.process.ports, record.process.ports);
  EXPECT_EQ(back.process.socket, record.process.socket);
  EXPECT_EQ(spec::revision_text(*back.process.app), spec::revision_text(*record.process.app));
  EXPECT_EQ(back.boot_id, "boot");
  EXPECT_EQ(back.cgroup, record.cgroup);
  EXPECT_EQ(back.token, "token");
  EXPECT_EQ(back.replicas, 4);
  EXPECT_EQ(back.addresses, record.addresses);
  EXPECT_EQ(back.volumes, record.volumes);
}

std::string flipped(std::string text, std::size_t byte, unsigned bit) {
  text[byte] = static_cast<char>(static_cast<unsigned char>(text[byte]) ^ (1U << bit));
  return text;
}

// For each cut and each flipped bit.
template <typename Decode>
void expect_damage_is_refused(const std::string& whole, Decode decode) {
  ASSERT_TRUE(decode(whole));
  for (std::size_t size = 0; size < whole.size(); ++size)
    EXPECT_FALSE(decode(whole.substr(0, size))) << "cut at " << size;
  for (std::size_t byte = 0; byte < whole.size(); ++byte) {
    for (unsigned bit = 0; bit < 8; ++bit)
      EXPECT_FALSE(decode(flipped(whole, byte, bit))) << "byte " << byte << " bit " << bit;
  }
}

TEST(ReplicaRecord, CutOrFlippedAnywhereItIsDamaged) {
  expect_damage_is_refused(encode_record(record_of(812)),
                           [](const std::string& text) { return decode_record(text).ok(); });
}

TEST(DaemonLife, CutOrFlippedAnywhereItIsDamaged) {
  const DaemonLife life{.boot_id = "boot", .cgroups = {"/sys/fs/cgroup/muster-1"}, .token = "token"};
  ASSERT_EQ(decode_life(encode_life(life)).value(), life);
  expect_damage_is_refused(encode_life(life), [](const std::string& text) { return decode_life(text).ok(); });
}

TEST(ReplicaMark, IsALineOfFixedLength) {
  ReplicaRecord record = record_of(std::numeric_limits<int>::max());
  record.process.mark.stopping = record.process.mark.outdated = true;
  record.process.mark.address = "127.0.0.1";
  record.process.exit = ExitStatus{.code = std::nullopt, .signal = 64, .core = true, .oom = true};
  record.start_ticks = std::numeric_limits<std::int64_t>::max();
  const std::string line = encode_mark(record);
  ASSERT_EQ(line.size(), mark_line_bytes);
  EXPECT_EQ(line.find('\n'), mark_line_bytes - 1);
  ReplicaRecord back = record_of(1);
  ASSERT_TRUE(decode_mark(line, back));
  EXPECT_EQ(back.process.pid, record.process.pid);
  EXPECT_EQ(back.process.started, record.process.started);
  EXPECT_EQ(back.process.mark, record.process.mark);
  EXPECT_EQ(back.start_ticks, record.start_ticks);
  ASSERT_TRUE(back.process.exit);
  EXPECT_EQ(back.process.exit->code, std::nullopt);
  EXPECT_EQ(back.process.exit->signal, 64);
  EXPECT_TRUE(back.process.exit->core);
  EXPECT_TRUE(back.process.exit->oom);
}

TEST(ReplicaMark, TellsAnEndFromALife) {
  ReplicaRecord record = record_of(812);
  ReplicaRecord back = record_of(1);
  ASSERT_TRUE(decode_mark(encode_mark(record), back));
  EXPECT_FALSE(back.process.exit);
  record.process.exit = ExitStatus{.code = 0, .signal = std::nullopt};
  ASSERT_TRUE(decode_mark(encode_mark(record), back));
  ASSERT_TRUE(back.process.exit);
  EXPECT_EQ(back.process.exit->code, 0);
  EXPECT_EQ(back.process.exit->signal, std::nullopt);
}

TEST(ReplicaMark, OneThatIsDamagedChangesNothing) {
  const std::string line = encode_mark(record_of(812));
  ReplicaRecord back = record_of(1);
  EXPECT_FALSE(decode_mark(line.substr(0, mark_line_bytes - 1), back));
  EXPECT_FALSE(decode_mark(std::string(mark_line_bytes, '\0'), back));
  for (const auto& [from, to] :
       {std::pair{"\"pid\":812", "\"pid\":-12"}, std::pair{"\"fit\":true", "\"fit\":1234"},
        std::pair{"\"ticks\"", "\"tacks\""}, std::pair{"::1", "::2"}, std::pair{"{", "["}}) {
    std::string other = line;
    other.replace(other.find(from), std::string_view(from).size(), to);
    EXPECT_FALSE(decode_mark(other, back)) << to;
  }
  EXPECT_EQ(back.process.pid, 1);
}

// It has no checksum, for it is written over and over. A process is adopted by number and start time together, so who
// has one of both wrong is not found; and nothing else of a mark may send signals or requests elsewhere.
TEST(ReplicaMark, AFlippedBitLeadsToNobodyElse) {
  for (const char* address : {"::1", "127.0.0.1"}) {
    ReplicaRecord record = record_of(812);
    record.process.mark.address = address;
    const std::string line = encode_mark(record);
    for (std::size_t size = 0; size < line.size(); ++size) {
      ReplicaRecord back = record_of(1);
      EXPECT_FALSE(decode_mark(line.substr(0, size), back)) << size;
    }
    int taken = 0;
    for (std::size_t byte = 0; byte < line.size(); ++byte) {
      for (unsigned bit = 0; bit < 8; ++bit) {
        ReplicaRecord back = record_of(1);
        if (!decode_mark(flipped(line, byte, bit), back)) continue;
        ++taken;
        EXPECT_TRUE(back.process.pid == 812 || back.start_ticks == 12345) << byte << " bit " << bit;
        EXPECT_EQ(back.process.mark, record.process.mark) << byte << " bit " << bit;
        EXPECT_FALSE(back.process.exit) << byte << " bit " << bit;
      }
    }
    EXPECT_GT(taken, 0);
  }
}

}  // namespace
}  // namespace muster::supervisor
