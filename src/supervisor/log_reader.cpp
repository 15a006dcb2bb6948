#include "supervisor/log_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>

#include "base/fd.h"
#include "supervisor/log_files.h"

namespace muster::supervisor {
namespace {

constexpr std::size_t chunk_bytes = 8U << 10U;
constexpr std::size_t call_bytes_max = 1U << 20U;
constexpr std::size_t tail_bytes_max = 8U << 20U;
// A line as we write it: text, prefix; raw bytes without line feeds are cut here.
constexpr std::size_t stored_line_max = 8 * limits::log_line_bytes_max;
// The kernel stamps files by the clock of its last tick: at 100 Hz up to 10 ms before the time in the line.
constexpr Millis stamp_lag{10};
constexpr int rotations_followed = 64;  // how far a file may have been renamed since it was listed

// One slot's files, oldest first, read forward. No descriptor is held between calls: a host may have more slots
// than descriptors, and a file that was renamed is found again by its inode.
class SlotCursor {
 public:
  SlotCursor(std::string folder, std::vector<LogFile> files, const LogQuery& query)
      : folder_(std::move(folder)), files_(std::move(files)), query_(&query) {}

  enum class State { line, again, ended };
  // Reads until head() is the next line, the files end, or `bytes_left` is used up.
  State advance(std::size_t& bytes_left);
  [[nodiscard]] const StoredLine& head() const { return head_; }
  [[nodiscard]] StoredLine& head() { return head_; }

 private:
  bool next_line(std::string_view& line);
  bool refill(std::size_t& bytes_left);
  void seek_tail(std::size_t lines, std::size_t& bytes_left);
  [[nodiscard]] Fd open_file(std::size_t index) const;
  std::size_t read_at(std::size_t index, std::uint64_t offset, std::size_t most, std::string& to) const;

  std::string folder_;
  std::vector<LogFile> files_;
  const LogQuery* query_;
  bool sought_ = false;
  std::size_t file_ = 0;
  std::uint64_t offset_ = 0;
  std::string buffer_;
  std::size_t used_ = 0;  // of buffer_
  bool last_of_file_ = false;
  WallTime last_time_{};
  StoredLine head_;
};

Fd SlotCursor::open_file(std::size_t index) const {
  const LogFile& wanted = files_[index];
  for (int moved = 0; moved < rotations_followed; ++moved) {
    const std::string path = folder_ + "/" + log_file_name(wanted.name.stem, wanted.name.generation + moved);
    Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    struct stat info {};
    if (!file && errno == ENOENT && moved > 0) break;
    if (file && fstat(file.get(), &info) == 0 && info.st_ino == wanted.inode && info.st_dev == wanted.device)
      return file;
  }
  return {};
}

// Appends what is there, 0 at the end or when the file is gone.
std::size_t SlotCursor::read_at(std::size_t index, std::uint64_t offset, std::size_t most,
                                std::string& to) const {
  const std::uint64_t size = files_[index].bytes;
  if (offset >= size) return 0;
  const Fd file = open_file(index);
  if (!file) return 0;
  const std::size_t before = to.size();
  const std::size_t wanted = std::min<std::uint64_t>(most, size - offset);
  to.resize(before + wanted);
  const ssize_t got = pread(file.get(), to.data() + before, wanted, static_cast<off_t>(offset));
  to.resize(before + static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  return to.size() - before;
}

// Goes back from the end until `lines` line feeds are behind it.
void SlotCursor::seek_tail(std::size_t lines, std::size_t& bytes_left) {
  std::size_t scanned = 0;
  std::size_t found = 0;
  for (std::size_t index = files_.size(); index-- > 0;) {
    std::uint64_t end = files_[index].bytes;
    bool at_end_of_file = true;
    while (end > 0) {
      const std::size_t size = std::min<std::uint64_t>(end, 8 * chunk_bytes);
      std::string chunk;
      if (read_at(index, end - size, size, chunk) != size) break;
      scanned += size;
      for (std::size_t i = size; i-- > 0;) {
        // The line feed that ends the file's last line begins no line.
        const bool ends_file = std::exchange(at_end_of_file, false) && chunk[i] == '\n';
        if (chunk[i] != '\n' || ends_file || ++found < lines) continue;
        file_ = index;
        offset_ = end - size + i + 1;
        bytes_left -= std::min(bytes_left, scanned);
        return;
      }
      end -= size;
      if (end == 0 || scanned < tail_bytes_max) continue;
      file_ = index;
      offset_ = end + (chunk.find('\n') + 1);  // none: at the chunk's begin
      bytes_left = 0;
      return;
    }
    if (end == 0 && files_[index].bytes > 0 &&
        ++found >= lines) {  // the first line of a file has none before it
      file_ = index;
      offset_ = 0;
      break;
    }
    if (scanned >= tail_bytes_max) {
      file_ = index;
      break;
    }
  }
  bytes_left -= std::min(bytes_left, scanned);
}

// False when the buffer holds no whole line (and the file goes on).
bool SlotCursor::next_line(std::string_view& line) {
  const std::string_view rest = std::string_view(buffer_).substr(used_);
  const std::size_t end = rest.find('\n');
  if (end != std::string_view::npos) {
    line = rest.substr(0, end);
    used_ += end + 1;
    return true;
  }
  if (rest.empty() || (!last_of_file_ && rest.size() < stored_line_max)) return false;
  line = rest;
  used_ = buffer_.size();
  return true;
}

// False at the end of the last file.
bool SlotCursor::refill(std::size_t& bytes_left) {
  buffer_.erase(0, std::exchange(used_, 0));
  if (last_of_file_) {
    ++file_;
    offset_ = 0;
    last_of_file_ = false;
  }
  if (file_ >= files_.size()) {
    buffer_ = {};
    return false;
  }
  const std::size_t got = read_at(file_, offset_, chunk_bytes, buffer_);
  offset_ += got;
  last_of_file_ = got == 0;
  bytes_left -= std::min(bytes_left, std::max<std::size_t>(got, 512));  // opening costs too
  return true;
}

SlotCursor::State SlotCursor::advance(std::size_t& bytes_left) {
  if (!std::exchange(sought_, true) && query_->tail) {
    if (*query_->tail == 0) return State::ended;
    seek_tail(*query_->tail, bytes_left);
  }
  for (;;) {
    std::string_view line;
    while (next_line(line)) {
      const LogFile& file = files_[std::min(file_, files_.size() - 1)];
      head_ = parse_log_line(*file.name.replica, line, last_time_ == WallTime{} ? file.modified : last_time_);
      last_time_ = head_.time;
      if (!query_->since || head_.time >= *query_->since) return State::line;
    }
    if (bytes_left == 0) return State::again;
    if (!refill(bytes_left)) return State::ended;
  }
}

}  // namespace

struct LogReader::Impl {
  LogQuery query;
  std::vector<std::unique_ptr<SlotCursor>> waiting;  // head not known yet
  std::vector<std::unique_ptr<SlotCursor>> heap;     // by the time of the head
};

namespace {

// For std::*_heap, which keep the largest in front: the earliest line is.
bool later(const std::unique_ptr<SlotCursor>& a, const std::unique_ptr<SlotCursor>& b) {
  const StoredLine& x = a->head();
  const StoredLine& y = b->head();
  return x.time != y.time ? x.time > y.time : x.replica > y.replica;
}

}  // namespace

LogReader::LogReader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LogReader::LogReader(LogReader&&) noexcept = default;
LogReader& LogReader::operator=(LogReader&&) noexcept = default;
LogReader::~LogReader() = default;

Result<LogReader> LogReader::open(const std::string& folder, LogQuery query) {
  auto listed = list_log_files(folder);
  if (!listed && listed.error().errno_value != ENOENT) return std::move(listed).error();
  if (!listed) listed = std::vector<LogFile>{};
  std::map<ReplicaId, std::vector<LogFile>> slots;
  for (LogFile& file : listed.value()) {
    const bool old = query.since && file.modified + stamp_lag < *query.since;
    const std::optional<ReplicaId> replica = file.name.replica;
    if (!replica || query.access_logs.contains(file.name.stem)) continue;
    if (query.covers(*replica) && !old) slots[*replica].push_back(std::move(file));
  }
  auto impl = std::make_unique<Impl>();
  impl->query = std::move(query);
  for (auto& [replica, files] : slots) {
    std::sort(files.begin(), files.end(),
              [](const LogFile& a, const LogFile& b) { return a.name.generation > b.name.generation; });
    impl->waiting.push_back(std::make_unique<SlotCursor>(folder, std::move(files), impl->query));
  }
  return LogReader(std::move(impl));
}

bool LogReader::read_some(std::vector<StoredLine>& to, std::size_t lines_max) {
  std::size_t bytes_left = call_bytes_max;
  std::size_t added = 0;
  while (added < lines_max) {
    while (!impl_->waiting.empty()) {
      const auto state = impl_->waiting.back()->advance(bytes_left);
      if (state == SlotCursor::State::again) return true;
      if (state == SlotCursor::State::line) {
        impl_->heap.push_back(std::move(impl_->waiting.back()));
        std::push_heap(impl_->heap.begin(), impl_->heap.end(), later);
      }
      impl_->waiting.pop_back();
    }
    if (impl_->heap.empty()) return false;
    std::pop_heap(impl_->heap.begin(), impl_->heap.end(), later);
    impl_->waiting.push_back(std::move(impl_->heap.back()));
    impl_->heap.pop_back();
    to.push_back(std::move(impl_->waiting.back()->head()));
    ++added;
  }
  return true;
}

}  // namespace muster::supervisor
