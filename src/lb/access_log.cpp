#include "lb/access_log.h"

#include <utility>

namespace muster::lb {

namespace {
constexpr Millis kept_at_most{
    500};  // then lines are handed over: a reader of the file waits no longer than a second
constexpr std::size_t buffer_bytes = 64U << 10U;
constexpr std::size_t full_bytes = buffer_bytes - (4U << 10U);  // one more usual line may not fit
constexpr std::size_t spares_max = 64;
constexpr std::size_t spare_bytes_max = 4U << 10U;
}  // namespace

void AccessEntry::remember(std::string_view request, std::string_view host, std::string_view request_id,
                           std::string_view user_agent, std::string_view referer) {
  texts_.clear();
  std::size_t i = 0;
  for (const std::string_view text : {request, host, request_id, user_agent, referer}) {
    texts_ += text;
    ends_[i++] = texts_.size();
  }
}

std::array<std::string, 5> AccessEntry::texts() const {
  std::array<std::string, 5> parts;
  std::size_t begin = 0;
  for (std::size_t i = 0; i < parts.size(); begin = ends_[i++])
    parts[i] = texts_.substr(begin, ends_[i] - begin);
  return parts;
}

void AccessEntry::begin(Ref<AccessLog> to, spec::AccessLogFormat as) {
  log = std::move(to);
  format = as;
  queued = connecting = Nanos::zero();
  tries = 0;
  texts_.clear();
  ends_ = {};
}

void AccessEntry::fill(AccessRecord& record) const {
  std::size_t begin = 0;
  std::size_t i = 0;
  for (std::string_view* text :
       {&record.request, &record.host, &record.request_id, &record.user_agent, &record.referer}) {
    *text = std::string_view(texts_).substr(begin, ends_[i] - begin);
    begin = ends_[i++];
  }
  record.queued = queued;
  record.connecting = connecting;
  record.tries = tries;
}

void ReturnAccessEntry::operator()(AccessEntry* entry) const noexcept {
  std::unique_ptr<AccessEntry> owned(entry);
  const Ref<AccessLog> log = std::exchange(owned->log, {});
  if (log->spares_.size() < spares_max && owned->bytes() <= spare_bytes_max)
    log->spares_.push_back(std::move(owned));
}

AccessLog::AccessLog(Loop& loop, const Callbacks& callbacks, std::string listener)
    : WheelNode(&AccessLog::on_due), loop_(loop), callbacks_(callbacks) {
  lines_.listener = std::move(listener);
  lines_.bytes.reserve(buffer_bytes);
  spares_.reserve(spares_max);
}

AccessLog::~AccessLog() {
  hand_over(true);
  loop_.disarm(*this);
}

AccessEntryRef AccessLog::begin(spec::AccessLogFormat format) {
  std::unique_ptr<AccessEntry> entry;
  if (spares_.empty()) {
    entry = std::make_unique<AccessEntry>();
  } else {
    entry = std::move(spares_.back());
    spares_.pop_back();
  }
  entry->begin(Ref<AccessLog>(this), format);
  return AccessEntryRef(entry.release());
}

void AccessLog::write(spec::AccessLogFormat format, AccessRecord record) {
  record.listener = lines_.listener;
  record.time =
      std::chrono::time_point_cast<WallTime::duration>(std::chrono::system_clock::now() - record.total);
  writer_.append(lines_.bytes, format, record);
  ++lines_.count;
  if (lines_.bytes.size() >= full_bytes) {
    hand_over();
  } else if (!armed()) {
    loop_.arm(*this, loop_.now() + kept_at_most);
  }
}

void AccessLog::hand_over(bool last) {
  loop_.disarm(*this);
  if (lines_.count == 0 && lines_.lost == 0) return;
  lines_.last = last;
  if (callbacks_.on_access_lines(lines_)) {
    lines_.lost = 0;
  } else {
    lines_.lost += lines_.count;
    loop_.arm(*this, loop_.now() + kept_at_most);  // that they are lost is told as soon as it can be
  }
  lines_.count = 0;
  lines_.bytes.clear();
  if (lines_.bytes.capacity() < buffer_bytes) lines_.bytes.reserve(buffer_bytes);
}

}  // namespace muster::lb
