// One log file, of a slot or of a listener: append, rotate, reopen. Errors of the disk never reach the replica: lines are
// dropped and counted, the file is tried again each second, and its folder is made again when it is gone.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "spec/spec.h"
#include "supervisor/event.h"
#include "supervisor/log_record.h"

namespace muster::supervisor {

class LogJournal;

// Whole lines in the order of the file: `bytes` with the end of each line. Shared by all writers of a loop turn.
struct LineBatch {
  std::string bytes;
  std::vector<std::size_t> ends;

  [[nodiscard]] bool empty() const { return ends.empty(); }
  void clear() {
    bytes.clear();
    ends.clear();
  }
  void end_line() { ends.push_back(bytes.size()); }
  void add_raw(std::string_view text);  // cut behind each line feed; the last piece may have none
};

// What happened to the file; the texts are sentences for people.
struct LogFileNews {
  bool failed = false;     // lines are being lost since now
  bool recovered = false;  // it is written again
  bool rotated = false;
  bool remade = false;  // somebody had removed it
  std::string text;
};

class LogWriter {
 public:
  // `folder` is shared and outlives the writer. Nothing is opened before the first line.
  LogWriter(const std::string& folder, std::string stem) : folder_(&folder), stem_(std::move(stem)) {}

  // Writes whole lines, rotating before the one that would bring the file over options.rotate_bytes (a file has
  // one line at least). Files over options.keep are removed. Never fails: see LogFileNews. With a journal it is told of
  // each write(2); `from`: so many bytes, ends of a line, are in files already.
  LogFileNews write(const LineBatch& batch, const spec::LogOptions& options, Now now,
                    LogJournal* journal = nullptr, std::size_t from = 0);
  void reopen() { file_.reset(); }  // the next line opens the path anew (somebody moved the file)
  void close() { file_.reset(); }
  [[nodiscard]] bool is_open() const { return file_.valid(); }
  void truncated() { size_ = 0; }  // the budget emptied the file
  [[nodiscard]] std::uint64_t dropped_lines() const { return dropped_; }

 private:
  bool ensure_open(Now now, LogFileNews& news);
  void check_still_there(Instant now, LogFileNews& news);
  void rotate(int keep, Now now, LogFileNews& news);
  bool begin_write();
  std::size_t write_all(std::string_view bytes);
  void fail(std::string_view step, int error_number, std::size_t lines, Now now, LogFileNews& news);
  void recover(LogFileNews& news);

  const std::string* folder_;
  const std::string stem_;  // of the file's name
  Fd file_;
  FileIdentity identity_;
  std::uint64_t size_ = 0;
  std::uint64_t dropped_ = 0;       // in this daemon's life
  std::uint64_t dropped_once_ = 0;  // since it began to fail
  Instant retry_at_{};
  Instant checked_at_{};
  bool failing_ = false;
  bool torn_ = false;  // the last write ended inside a line
};

}  // namespace muster::supervisor
