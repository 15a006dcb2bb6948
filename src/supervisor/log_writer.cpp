#include "supervisor/log_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "supervisor/log_files.h"
#include "supervisor/log_journal.h"
#include "supervisor/safe_path.h"

namespace muster::supervisor {
namespace {

constexpr std::chrono::seconds retry_every{1};
constexpr std::chrono::seconds check_every{1};

std::string live_path(const std::string& folder, const std::string& stem) {
  return folder + "/" + log_file_name(stem, 0);
}

// O_NONBLOCK and the look at the type: a FIFO of that name must not hold up the loop.
Result<Fd> open_log(const std::string& folder, const std::string& stem) {
  const std::string path = live_path(folder, stem);
  constexpr int flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
  const auto opened = open_or_make_folder(folder, 0750);
  if (!opened) return opened.error();
  Fd file(openat(opened.value().get(), log_file_name(stem, 0).c_str(), flags, 0640));
  if (!file) return system_error("open " + path, errno);
  struct stat info {};
  if (fstat(file.get(), &info) != 0) return system_error("fstat " + path, errno);
  if (!S_ISREG(info.st_mode)) return Error{path + " is not a regular file", ExitCode::failed, EINVAL};
  return file;
}

// How many of the lines from `first` on fit into a file that has `size` bytes; one at least into an empty file.
std::size_t lines_that_fit(const LineBatch& batch, std::size_t first, std::uint64_t size,
                           std::uint64_t limit) {
  const std::size_t begin = first == 0 ? 0 : batch.ends[first - 1];
  std::size_t count = 0;
  while (first + count < batch.ends.size()) {
    const std::uint64_t after = size + (batch.ends[first + count] - begin);
    if (after > limit && (size > 0 || count > 0)) break;
    ++count;
  }
  return count;
}

}  // namespace

void LineBatch::add_raw(std::string_view text) {
  for (std::size_t end = text.find('\n'); end != std::string_view::npos; end = text.find('\n')) {
    bytes += text.substr(0, end + 1);
    end_line();
    text.remove_prefix(end + 1);
  }
  bytes += text;
  if (!text.empty()) end_line();
}

LogFileNews LogWriter::write(const LineBatch& batch, const spec::LogOptions& options, Now now,
                             LogJournal* journal, std::size_t from) {
  LogFileNews news;
  check_still_there(now.mono, news);
  std::size_t first = 0;
  while (first < batch.ends.size() && batch.ends[first] <= from) ++first;
  while (first < batch.ends.size()) {
    if (!ensure_open(now, news)) {
      dropped_ += batch.ends.size() - first;
      dropped_once_ += batch.ends.size() - first;
      return news;
    }
    const std::size_t count = lines_that_fit(batch, first, size_, options.rotate_bytes);
    if (count == 0) {
      rotate(options.keep, now, news);
      continue;
    }
    const std::size_t begin = first == 0 ? 0 : batch.ends[first - 1];
    const std::size_t end = batch.ends[first + count - 1];
    std::size_t written = 0;
    if (begin_write()) {
      if (journal != nullptr) journal->will_write(identity_, size_, begin, end);
      written = write_all(std::string_view(batch.bytes).substr(begin, end - begin));
      if (journal != nullptr) journal->wrote(begin + written);
    }
    if (written < end - begin) {
      const int error_number = errno;
      while (batch.ends[first] <= begin + written) ++first;
      fail("write", error_number, batch.ends.size() - first, now, news);
      return news;
    }
    first += count;
  }
  if (failing_) recover(news);
  return news;
}

bool LogWriter::ensure_open(Now now, LogFileNews& news) {
  if (file_) return true;
  if (failing_ && now.mono < retry_at_) return false;
  auto opened = open_log(*folder_, stem_);
  if (!opened) {
    fail("open", opened.error().errno_value, 0, now, news);
    return false;
  }
  file_ = std::move(opened).value();
  struct stat info {};
  if (fstat(file_.get(), &info) == 0) {
    size_ = static_cast<std::uint64_t>(info.st_size);
    identity_ = {info.st_dev, info.st_ino};
  }
  checked_at_ = now.mono;
  return true;
}

// Somebody may remove the file or its folder under us: what is written then is in no file. One look per second.
void LogWriter::check_still_there(Instant now, LogFileNews& news) {
  if (!file_ || now < checked_at_ + check_every) return;
  checked_at_ = now;
  struct stat info {};
  if (fstat(file_.get(), &info) != 0 || info.st_nlink == 0) {
    file_.reset();
    news.remade = true;
    news.text = "the log " + live_path(*folder_, stem_) + " was removed: made again";
    return;
  }
  size_ = static_cast<std::uint64_t>(info.st_size);
}

// web-0.log.4 -> .5 … web-0.log -> .1, from the first number that nobody has: a daemon that is killed half way leaves such
// a gap, and the next one goes on from there. A name that cannot be renamed is overwritten by the next: the newest lines
// count more than the oldest. If not even the live file can be moved it is emptied, so that it never grows on.
void LogWriter::rotate(int keep, Now now, LogFileNews& news) {
  const auto path = [&](int generation) { return *folder_ + "/" + log_file_name(stem_, generation); };
  int last = std::min(keep, 1);
  while (last < keep && access(path(last).c_str(), F_OK) == 0) ++last;
  bool moved = keep > 0;
  for (int generation = last; generation > 0; --generation) {
    const int result = rename(path(generation - 1).c_str(), path(generation).c_str());
    if (generation == 1) moved = result == 0;
  }
  for (int generation = std::max(keep, 0) + 1; unlink(path(generation).c_str()) == 0;) ++generation;
  news.rotated = true;
  if (moved) {
    file_.reset();
    return;
  }
  if (ftruncate(file_.get(), 0) == 0) {
    size_ = 0;
    return;
  }
  fail("rotate", errno, 0, now, news);
  file_.reset();
}

// On a line of its own; false: errno says why.
bool LogWriter::begin_write() {
  if (!torn_) return true;
  if (::write(file_.get(), "\n", 1) != 1) return false;
  torn_ = false;
  ++size_;
  return true;
}

// How much of it; less than all: errno says why.
std::size_t LogWriter::write_all(std::string_view bytes) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t written = ::write(file_.get(), bytes.data() + done, bytes.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return done;
    size_ += static_cast<std::uint64_t>(written);
    done += static_cast<std::size_t>(written);
    torn_ = bytes[done - 1] != '\n';
  }
  torn_ = false;  // raw output may end inside a line: that is its own
  return done;
}

void LogWriter::fail(std::string_view step, int error_number, std::size_t lines, Now now, LogFileNews& news) {
  dropped_ += lines;
  dropped_once_ += lines;
  file_.reset();
  retry_at_ = now.mono + retry_every;
  if (failing_) return;
  failing_ = true;
  news.failed = true;
  news.text = "cannot " + std::string(step) + " the log " + live_path(*folder_, stem_) + ": " +
              errno_text(error_number) + "; lines are dropped until that is mended";
}

void LogWriter::recover(LogFileNews& news) {
  failing_ = false;
  // Failed and mended within one batch: nobody needs to know.
  news.recovered = !news.failed;
  news.failed = false;
  news.text = "the log " + live_path(*folder_, stem_) + " is written again; " +
              std::to_string(dropped_once_) + (dropped_once_ == 1 ? " line was lost" : " lines were lost");
  dropped_once_ = 0;
}

}  // namespace muster::supervisor
