#include "supervisor/event_log.h"

#include <algorithm>

#include "supervisor/text.h"

namespace muster::supervisor {
namespace {

// Not inside a character.
void cut(std::string& text, std::size_t most) {
  if (text.size() <= most) return;
  while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xC0U) == 0x80U) --most;
  text.resize(most);
}

// What is said of an app may have words of the app in it: a line feed there must not begin a line in muster's name.
std::string on_one_line(const std::string& text) {
  std::string made;
  for (const char letter : text) made += letter == '\n' ? std::string("\\x0a") : std::string(1, letter);
  return made;
}

}  // namespace

std::string_view to_string(Severity severity) {
  switch (severity) {
    case Severity::info:
      return "info";
    case Severity::warning:
      return "warning";
    case Severity::error:
      return "error";
  }
  return "error";
}

std::string to_json_line(const LoggedEvent& event) {
  const Note& note = event.note;
  std::string line = R"({"seq":)" + std::to_string(event.seq) + R"(,"time":")";
  append_rfc3339_ms(line, event.time);
  line += R"(","severity":")";
  line += to_string(note.severity);
  line += R"(","kind":)";
  append_json_string(line, note.kind);
  line += R"(,"app":)";
  if (note.app.empty()) {
    line += "null";
  } else {
    append_json_string(line, note.app);
  }
  line += R"(,"ordinal":)" + (note.ordinal ? std::to_string(*note.ordinal) : "null");
  line += R"(,"instance":)" + (note.instance ? std::to_string(raw(*note.instance)) : "null");
  line += R"(,"text":)";
  append_json_string(line, note.text);
  return line + '}';
}

const LoggedEvent& EventLog::add(Note note, WallTime time) {
  if (!note.app.empty() && note.text.find('\n') != std::string::npos) note.text = on_one_line(note.text);
  cut(note.text, limits::event_text_bytes_max);
  ring_.push_back({next_seq_++, time, std::move(note)});
  if (ring_.size() > capacity_) ring_.pop_front();
  const LoggedEvent& added = ring_.back();
  // A hook may end its own subscription or another one: walk by key, and hold the hook while it runs.
  for (auto next = subscribers_.begin(); next != subscribers_.end();) {
    const SubscriberId id = next->first;
    if (!std::exchange(next->second.woken, true)) {
      const std::function<void()> hook = next->second.on_readable;
      if (hook) hook();
    }
    next = subscribers_.upper_bound(id);
  }
  return added;
}

std::vector<LoggedEvent> EventLog::after(std::uint64_t seq, std::size_t max, const std::string& app,
                                         std::optional<int> ordinal) const {
  std::vector<LoggedEvent> found;
  for (auto event = ring_.rbegin(); event != ring_.rend() && event->seq > seq && found.size() < max;
       ++event) {
    const bool fits = (app.empty() || event->note.app == app) && (!ordinal || event->note.ordinal == ordinal);
    if (fits) found.push_back(*event);
  }
  std::reverse(found.begin(), found.end());
  return found;
}

std::optional<EventLog::SubscriberId> EventLog::subscribe(std::uint64_t seq,
                                                          std::function<void()> on_readable) {
  if (subscribers_.size() >= limits::control_clients_max) return std::nullopt;
  const SubscriberId id{next_subscriber_++};
  // A number from the life of an earlier daemon may lie ahead of ours.
  subscribers_.emplace(id, Subscriber{std::min(seq, last_seq()), false, std::move(on_readable)});
  return id;
}

void EventLog::unsubscribe(SubscriberId id) {
  subscribers_.erase(id);
}

EventLog::Taken EventLog::take(SubscriberId id, std::size_t max) {
  Taken taken;
  const auto found = subscribers_.find(id);
  if (found == subscribers_.end()) return taken;
  Subscriber& subscriber = found->second;
  const std::uint64_t oldest = next_seq_ - ring_.size();
  if (subscriber.seen + 1 < oldest) {
    taken.lost = oldest - subscriber.seen - 1;
    subscriber.seen = oldest - 1;
  }
  const std::size_t first = subscriber.seen + 1 - oldest;
  const std::size_t count = std::min(max, ring_.size() - first);
  const auto begin = ring_.begin() + static_cast<std::ptrdiff_t>(first);
  taken.events.assign(begin, begin + static_cast<std::ptrdiff_t>(count));
  subscriber.seen += count;
  taken.more = subscriber.seen < last_seq();
  if (!taken.more) subscriber.woken = false;
  return taken;
}

}  // namespace muster::supervisor
