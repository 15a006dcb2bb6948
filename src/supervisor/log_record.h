// What the log journal holds, as it lies in its file, and what it means after a daemon was killed. Pure.
//
// The output of replicas goes through the journal one piece at a time:
//
//   idle -> reading   `bytes` bytes lie in the pipe, and a random pattern where the first of them will be put; read(2)
//        -> taken     they are in the buffer; with the stream's rest before them they make lines
//        -> writing   batch[begin, end) is being written at `offset` of that file; then `taken` again, with done = end
//        -> written   all lines are in files, the new rest lies in the slot's spare area; only the change of areas is left
//        -> idle
//
// The file is mapped MAP_SHARED: what one thread stored before it was killed is there for the next daemon, in that order.
// In each state it is known which bytes have been consumed and which have been written, so each line is written once:
// - reading: read(2) of exactly as many bytes as the pipe holds takes all or none of them. The pattern is none that UTF-8
//   text can begin with, so it is still there only if nothing was taken.
// - taken: the lines are made from the same bytes, the same rest, time and format again, byte for byte what they were;
//   those before `done` are in files already.
// - writing: the file is only appended to, by us alone; its size says how much of the write has been done.
// - written: nothing but the change of areas, which may be done twice.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "spec/spec.h"
#include "supervisor/log_line.h"

namespace muster::supervisor {

enum class LogStep : std::uint32_t { idle, reading, taken, writing, written };

inline constexpr std::size_t log_pattern_bytes = 16;
using LogPattern = std::array<unsigned char, log_pattern_bytes>;

// One log file, whatever it is called by now.
struct FileIdentity {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  bool operator==(const FileIdentity&) const = default;
};

struct LogRecord {
  std::uint32_t step = 0;  // LogStep; stored last
  std::uint32_t slot = 0;
  std::uint32_t bytes = 0;  // in the buffer
  std::uint32_t flush = 0;  // the rest is a line too
  std::uint32_t area = 0;   // of the new rest
  std::uint32_t timed = 0;  // time and format hold
  std::uint32_t format = 0;
  std::uint32_t unused = 0;
  std::int64_t time_ms = 0;
  std::uint64_t done = 0;  // of the batch, in files
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  std::uint64_t offset = 0;
  FileIdentity file;
  LogPattern pattern{};
};

// Whose output a slot keeps, with what is needed to write its last lines when nothing else is known of it.
struct LogOwner {
  InstanceId instance{};
  Stream stream = Stream::out;
  ReplicaId replica;
  spec::LogOptions options;
};

inline constexpr std::size_t log_app_bytes_max = 128;
inline constexpr std::size_t log_short_rest_max = 1900;  // longer ones have areas of their own

struct LogSlotRecord {
  std::uint32_t used = 0;    // stored last
  std::uint32_t active = 0;  // 0 or 1: the area of the rest that holds
  std::array<std::uint32_t, 2> rest_bytes{};
  std::uint64_t instance = 0;
  std::uint32_t stream = 0;
  std::uint32_t format = 0;
  std::uint64_t rotate_bytes = 0;
  std::int32_t keep = 0;
  std::int32_t ordinal = 0;
  std::array<char, log_app_bytes_max> app{};  // ends with NUL
  std::array<std::array<char, log_short_rest_max>, 2> rests{};
};

// An app's name that is too long for the slot is refused: false.
[[nodiscard]] bool put_owner(LogSlotRecord& slot, const LogOwner& owner);
void put_options(LogSlotRecord& slot, const spec::LogOptions& options);
// None: the slot is free, or holds what no muster wrote.
[[nodiscard]] std::optional<LogOwner> owner_of(const LogSlotRecord& slot);

// Bytes that UTF-8 never has, from random bits.
[[nodiscard]] LogPattern make_log_pattern(std::uint64_t random);

// What is to be done after a daemon was killed.
struct LogRecovery {
  enum class Work : std::uint8_t {
    none,    // nothing was under way, or nothing had been consumed
    areas,   // the slot's areas are changed
    finish,  // the lines of the bytes from `done` on are written
  };
  Work work = Work::none;
  bool in_file = false;  // [begin, end) may be in `file`, all or part of it: see written_before()
};
// `buffer`: the first log_pattern_bytes of it. A record that no muster wrote is none.
[[nodiscard]] LogRecovery recovery_of(const LogRecord& record, std::string_view buffer, std::size_t slots,
                                      std::size_t buffer_bytes);

// How much of the write of `record` is in its file, which has `size` bytes now.
[[nodiscard]] std::uint64_t written_before(const LogRecord& record, std::uint64_t size);

}  // namespace muster::supervisor
