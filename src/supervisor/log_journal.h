// The log journal: a mapped file in the runtime folder, by which a daemon that was killed at any instant loses no line of
// a replica and writes none twice. log_record.h says how and why. For the control thread; one piece of output at a time.
//
// It costs one system call for each piece (how much the pipe holds), memory of one buffer, and a page for each stream.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "base/time.h"
#include "supervisor/log_record.h"

namespace muster::supervisor {

class LogJournal {
 public:
  static constexpr std::size_t buffer_bytes = 64U << 10U;  // a pipe's usual capacity
  enum class SlotId : std::uint32_t {};

  // Goes on with what an earlier daemon left; a file that no muster of this version wrote is begun anew. An error where
  // it cannot be made, mapped, or is another living daemon's.
  static Result<std::unique_ptr<LogJournal>> open(const std::string& path);
  ~LogJournal();  // the file goes when it holds nothing
  LogJournal(const LogJournal&) = delete;
  LogJournal& operator=(const LogJournal&) = delete;

  // The stream's slot, with its rest where it has one already. None: there is no room, it goes without.
  std::optional<SlotId> claim(const LogOwner& owner);
  void release(SlotId id);
  void set_options(SlotId id, const spec::LogOptions& options);
  [[nodiscard]] std::vector<std::pair<SlotId, LogOwner>> owners() const;
  [[nodiscard]] std::optional<LogOwner> owner(SlotId id) const;
  [[nodiscard]] std::string rest(SlotId id) const;

  // read(2) of a pipe, at most `most` bytes: they are in buffer() then. errno as of read(2).
  ssize_t read(SlotId id, int fd, std::size_t most);
  [[nodiscard]] std::string_view buffer() const;  // of the piece
  void flush(SlotId id);                          // a piece without bytes: the rest becomes a line

  // From here on nothing is decided anew: time and format of a piece that an earlier daemon took hold.
  struct Stamp {
    WallTime time;  // whole milliseconds
    spec::LogFormat format = spec::LogFormat::text;
  };
  Stamp stamp(WallTime time, spec::LogFormat format);
  // Around each write(2) of batch[begin, end) of the piece to the end of a file.
  void will_write(const FileIdentity& file, std::uint64_t offset, std::size_t begin, std::size_t end);
  void wrote(std::size_t end);
  // The end of a piece. `rest`: what is incomplete now.
  void commit(std::string_view rest);

  // A piece that an earlier daemon consumed and did not finish. To be taken through stamp(), writes from `done` on,
  // and commit().
  struct Piece {
    SlotId slot{};
    std::string bytes;
    bool flush = false;
    std::size_t done = 0;
    // [done, end) was being written.
    struct Write {
      FileIdentity file;
      std::size_t end = 0;
      std::uint64_t offset = 0;
    };
    std::optional<Write> write;
  };
  [[nodiscard]] std::optional<Piece> unfinished() const;
  // How much of the unfinished write is in its file, which has `size` bytes.
  [[nodiscard]] std::size_t written(std::uint64_t size) const;

  struct Head;

 private:
  LogJournal(std::string path, Fd file) : path_(std::move(path)), file_(std::move(file)) {}
  Status map();
  Result<char*> map_part(std::size_t offset, std::size_t bytes);
  bool grow();
  void settle();
  void step(LogStep to);
  void put_rest(SlotId id, std::string_view rest);
  [[nodiscard]] LogRecord& record() const;
  [[nodiscard]] LogSlotRecord& slot(SlotId id) const;
  [[nodiscard]] char* rest_area(SlotId id, std::uint32_t area, std::size_t bytes) const;
  [[nodiscard]] std::size_t slots() const;

  std::string path_;
  Fd file_;
  Head* head_ = nullptr;
  std::vector<char*> parts_;      // of slots_per_part slots each
  std::vector<bool> long_rests_;  // slots whose areas for long rests have their blocks
  std::uint64_t random_ = 0;
  std::optional<LogRecovery> recovery_;
};

}  // namespace muster::supervisor
