#include "supervisor/log_journal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "base/check.h"
#include "base/limits.h"

namespace muster::supervisor {

struct LogJournal::Head {
  std::array<char, 24> magic{};
  std::uint32_t slots = 0;  // that were ever used
  std::uint32_t unused = 0;
  LogRecord record;
};

namespace {

constexpr std::array<char, 24> magic_text{"muster log journal 1\n"};
constexpr std::size_t page_bytes = 4096;
constexpr std::size_t head_bytes = page_bytes + LogJournal::buffer_bytes;
constexpr std::size_t slot_bytes = page_bytes + 2 * limits::log_line_bytes_max;
constexpr std::size_t slots_per_part = 32;
constexpr std::size_t part_bytes = slots_per_part * slot_bytes;
constexpr std::uint32_t slots_max = 1U << 16U;
static_assert(sizeof(LogSlotRecord) <= page_bytes);

// Not before anything that was stored earlier, and before everything that is stored later: only the compiler could
// turn that around, for whoever is killed has done what it has done in order.
void store_in_order(std::uint32_t& to, std::uint32_t value) {
  std::atomic_signal_fence(std::memory_order_seq_cst);
  std::atomic_ref<std::uint32_t>(to).store(value, std::memory_order_relaxed);
  std::atomic_signal_fence(std::memory_order_seq_cst);
}

std::uint64_t random_bits() {
  std::uint64_t bits = 0;
  if (getrandom(&bits, sizeof bits, 0) != sizeof bits) {
    // It need not be secret, only another one than the last daemon's.
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    bits = static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'007U + static_cast<std::uint64_t>(now.tv_nsec);
  }
  return bits | 1U;
}

// Blocks are taken before they are touched: a full disk is an error here and would be SIGBUS there.
bool take_blocks(const Fd& file, std::size_t offset, std::size_t bytes) {
  return posix_fallocate(file.get(), static_cast<off_t>(offset), static_cast<off_t>(bytes)) == 0;
}

std::size_t offset_of_slot(std::size_t slot) {
  return head_bytes + slot * slot_bytes;
}

}  // namespace

Result<std::unique_ptr<LogJournal>> LogJournal::open(const std::string& path) {
  Fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK, 0600));
  if (!file) return system_error(path, errno);
  struct stat info {};
  if (fstat(file.get(), &info) != 0) return system_error(path, errno);
  if (!S_ISREG(info.st_mode) || info.st_uid != geteuid())
    return Error{.message = path + " is not a file of muster's"};
  if (flock(file.get(), LOCK_EX | LOCK_NB) != 0) return system_error("lock " + path, errno);
  std::unique_ptr<LogJournal> journal(new LogJournal(path, std::move(file)));
  if (Status mapped = journal->map(); !mapped) return std::move(mapped).error();
  journal->settle();
  return journal;
}

LogJournal::~LogJournal() {
  if (head_ == nullptr) return;
  if (!recovery_ && owners().empty()) unlink(path_.c_str());
  for (char* part : parts_) munmap(part, part_bytes);
  munmap(head_, head_bytes);
}

Result<char*> LogJournal::map_part(std::size_t offset, std::size_t bytes) {
  void* at =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file_.get(), static_cast<off_t>(offset));
  if (at == MAP_FAILED) return system_error("map " + path_, errno);
  return static_cast<char*>(at);
}

Status LogJournal::map() {
  std::array<char, magic_text.size()> found{};
  struct stat info {};
  const bool whole =
      pread(file_.get(), found.data(), found.size(), 0) == static_cast<ssize_t>(found.size()) &&
      found == magic_text && fstat(file_.get(), &info) == 0 &&
      static_cast<std::size_t>(info.st_size) >= head_bytes;
  if (!whole && ftruncate(file_.get(), 0) != 0) return system_error(path_, errno);
  if (!take_blocks(file_, 0, head_bytes)) return system_error("make room for " + path_, ENOSPC);
  auto head = map_part(0, head_bytes);
  if (!head) return std::move(head).error();
  head_ = reinterpret_cast<Head*>(head.value());
  // So that read(2) into the buffer meets no fault half way; where it is not allowed the pages are merely likely there.
  static_cast<void>(mlock(head_, head_bytes));
  if (!whole) std::memcpy(head_->magic.data(), magic_text.data(), magic_text.size());
  random_ = random_bits();
  if (!whole) return Unit{};
  const std::size_t room =
      (static_cast<std::size_t>(info.st_size) - head_bytes) / part_bytes * slots_per_part;
  if (head_->slots > std::min<std::size_t>(room, slots_max)) head_->slots = 0;
  while (parts_.size() * slots_per_part < head_->slots) {
    auto part = map_part(offset_of_slot(parts_.size() * slots_per_part), part_bytes);
    if (!part) return std::move(part).error();
    parts_.push_back(part.value());
  }
  return Unit{};
}

// What an earlier daemon left half done, but for what has to be written.
void LogJournal::settle() {
  long_rests_.assign(slots(), false);
  const std::string_view start(reinterpret_cast<const char*>(head_) + page_bytes, log_pattern_bytes);
  const LogRecovery found = recovery_of(record(), start, slots(), buffer_bytes);
  const bool owned = record().slot < slots() && owner(SlotId{record().slot});
  if (found.work == LogRecovery::Work::finish && owned) {
    recovery_ = found;
    return;
  }
  if (found.work == LogRecovery::Work::areas && owned)
    store_in_order(slot(SlotId{record().slot}).active, record().area & 1U);
  step(LogStep::idle);
}

LogRecord& LogJournal::record() const {
  return head_->record;
}

std::size_t LogJournal::slots() const {
  return head_->slots;
}

LogSlotRecord& LogJournal::slot(SlotId id) const {
  const std::size_t index = raw(id);
  char* part = parts_.at(index / slots_per_part);
  return *reinterpret_cast<LogSlotRecord*>(part + index % slots_per_part * slot_bytes);
}

void LogJournal::step(LogStep to) {
  store_in_order(record().step, static_cast<std::uint32_t>(to));
}

// One slot more, unused.
bool LogJournal::grow() {
  const std::uint32_t next = head_->slots;
  if (next == slots_max) return false;
  if (next == parts_.size() * slots_per_part) {
    const auto size = static_cast<off_t>(offset_of_slot(next + slots_per_part));
    if (ftruncate(file_.get(), size) != 0) return false;
    auto part = map_part(offset_of_slot(next), part_bytes);
    if (!part) return false;
    parts_.push_back(part.value());
  }
  if (!take_blocks(file_, offset_of_slot(next), page_bytes)) return false;
  slot(SlotId{next}).used = 0;
  store_in_order(head_->slots, next + 1);
  long_rests_.push_back(false);
  return true;
}

std::optional<LogJournal::SlotId> LogJournal::claim(const LogOwner& owner) {
  std::optional<SlotId> free;
  for (std::uint32_t index = 0; index < slots(); ++index) {
    const LogSlotRecord& known = slot(SlotId{index});
    if (known.used == 0) {
      free = SlotId{index};
    } else if (known.instance == raw(owner.instance) &&
               known.stream == static_cast<std::uint32_t>(owner.stream)) {
      set_options(SlotId{index}, owner.options);
      return SlotId{index};
    }
  }
  if (!free && grow()) free = SlotId{head_->slots - 1};
  if (!free || !put_owner(slot(*free), owner)) return std::nullopt;
  store_in_order(slot(*free).used, 1);
  return free;
}

void LogJournal::release(SlotId id) {
  store_in_order(slot(id).used, 0);
}

void LogJournal::set_options(SlotId id, const spec::LogOptions& options) {
  put_options(slot(id), options);
}

std::optional<LogOwner> LogJournal::owner(SlotId id) const {
  return owner_of(slot(id));
}

std::vector<std::pair<LogJournal::SlotId, LogOwner>> LogJournal::owners() const {
  std::vector<std::pair<SlotId, LogOwner>> found;
  for (std::uint32_t index = 0; index < slots(); ++index) {
    if (auto owner = owner_of(slot(SlotId{index}))) found.emplace_back(SlotId{index}, std::move(*owner));
  }
  return found;
}

char* LogJournal::rest_area(SlotId id, std::uint32_t area, std::size_t bytes) const {
  LogSlotRecord& of = slot(id);
  if (bytes <= log_short_rest_max) return of.rests.at(area).data();
  return reinterpret_cast<char*>(&of) + page_bytes + area * limits::log_line_bytes_max;
}

std::string LogJournal::rest(SlotId id) const {
  const LogSlotRecord& of = slot(id);
  const std::size_t bytes = of.rest_bytes.at(of.active);
  return {rest_area(id, of.active, bytes), bytes};
}

ssize_t LogJournal::read(SlotId id, int fd, std::size_t most) {
  int waiting = 0;
  if (ioctl(fd, FIONREAD, &waiting) != 0) return -1;
  // An empty pipe is read too: that tells whether it has ended.
  const std::size_t bytes =
      std::clamp<std::size_t>(static_cast<std::size_t>(waiting), 1, std::min(most, buffer_bytes));
  random_ ^= random_ << 13U;  // xorshift64
  random_ ^= random_ >> 7U;
  random_ ^= random_ << 17U;
  LogRecord& now = record();
  now.slot = raw(id);
  now.bytes = static_cast<std::uint32_t>(bytes);
  now.flush = now.timed = 0;
  now.done = 0;
  now.pattern = make_log_pattern(random_);
  char* const buffer = reinterpret_cast<char*>(head_) + page_bytes;
  std::memcpy(buffer, now.pattern.data(), std::min(bytes, log_pattern_bytes));
  step(LogStep::reading);
  ssize_t got = 0;
  do {
    got = ::read(fd, buffer, bytes);
  } while (got < 0 && errno == EINTR);
  if (got <= 0) {
    const int error = errno;
    step(LogStep::idle);
    errno = error;
    return got;
  }
  now.bytes = static_cast<std::uint32_t>(got);
  return got;
}

std::string_view LogJournal::buffer() const {
  return {reinterpret_cast<const char*>(head_) + page_bytes, record().bytes};
}

void LogJournal::flush(SlotId id) {
  LogRecord& now = record();
  now.slot = raw(id);
  now.bytes = now.timed = 0;
  now.flush = 1;
  now.done = 0;
  step(LogStep::taken);
}

LogJournal::Stamp LogJournal::stamp(WallTime time, spec::LogFormat format) {
  LogRecord& now = record();
  if (now.timed == 0) {
    now.time_ms = std::chrono::floor<Millis>(time).time_since_epoch().count();
    now.format = static_cast<std::uint32_t>(format);
    store_in_order(now.timed, 1);
  }
  if (static_cast<LogStep>(now.step) == LogStep::reading) step(LogStep::taken);
  return {WallTime{Millis{now.time_ms}}, static_cast<spec::LogFormat>(now.format)};
}

void LogJournal::will_write(const FileIdentity& file, std::uint64_t offset, std::size_t begin,
                            std::size_t end) {
  LogRecord& now = record();
  now.file = file;
  now.offset = offset;
  now.begin = begin;
  now.end = end;
  step(LogStep::writing);
}

void LogJournal::wrote(std::size_t end) {
  record().done = end;
  step(LogStep::taken);
}

// Into the area that does not hold.
void LogJournal::put_rest(SlotId id, std::string_view rest) {
  LogSlotRecord& of = slot(id);
  const std::uint32_t spare = 1U - of.active;
  if (rest.size() > log_short_rest_max && !long_rests_.at(raw(id))) {
    const std::size_t offset = offset_of_slot(raw(id)) + page_bytes;
    const bool room = take_blocks(file_, offset, 2 * limits::log_line_bytes_max);
    long_rests_.at(raw(id)) = room;
    if (!room) rest = {};  // kept in memory alone
  }
  std::memcpy(rest_area(id, spare, rest.size()), rest.data(), rest.size());
  of.rest_bytes.at(spare) = static_cast<std::uint32_t>(rest.size());
  record().area = spare;
}

void LogJournal::commit(std::string_view rest) {
  recovery_.reset();
  const SlotId id{record().slot};
  LogSlotRecord& of = slot(id);
  if (!rest.empty() || of.rest_bytes.at(of.active) != 0) {
    put_rest(id, rest);
    step(LogStep::written);
    store_in_order(of.active, record().area);
  }
  step(LogStep::idle);
}

std::optional<LogJournal::Piece> LogJournal::unfinished() const {
  if (!recovery_) return std::nullopt;
  const LogRecord& then = record();
  Piece piece;
  piece.slot = SlotId{then.slot};
  piece.bytes = buffer();
  piece.flush = then.flush != 0;
  piece.done = then.done;
  if (recovery_->in_file) {
    piece.done = then.begin;
    piece.write = Piece::Write{then.file, then.end, then.offset};
  }
  return piece;
}

std::size_t LogJournal::written(std::uint64_t size) const {
  return written_before(record(), size);
}

}  // namespace muster::supervisor
