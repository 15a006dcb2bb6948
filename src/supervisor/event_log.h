// The events that people see (`muster events`, `why`): a ring of the newest limits::events_kept_max with
// sequence numbers. A subscriber is a place in the ring, so a slow one costs no memory: when the ring has
// overtaken it, it is told how many it lost and goes on at the oldest that is left. Pure.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/limits.h"
#include "base/time.h"
#include "supervisor/action.h"

namespace muster::supervisor {

struct LoggedEvent {
  std::uint64_t seq = 0;  // from 1, without gaps, in a daemon's life
  WallTime time;
  Note note;
};

std::string_view to_string(Severity severity);  // "info", "warning", "error"

// {"seq":1,"time":"…","severity":"info","kind":"ready","app":"web","ordinal":0,"instance":7,"text":"…"} without a
// line feed; app, ordinal and instance are null where the event has none.
std::string to_json_line(const LoggedEvent& event);

class EventLog {
 public:
  explicit EventLog(std::size_t capacity = limits::events_kept_max)
      : capacity_(capacity > 0 ? capacity : 1) {}

  // Texts over limits::event_text_bytes_max are cut. Wakes the subscribers that had read everything.
  const LoggedEvent& add(Note note, WallTime time);

  [[nodiscard]] std::uint64_t last_seq() const { return next_seq_ - 1; }
  // What is kept after `seq`, oldest first, the newest `max` of it; filtered by app and ordinal when given.
  [[nodiscard]] std::vector<LoggedEvent> after(std::uint64_t seq, std::size_t max,
                                               const std::string& app = "",
                                               std::optional<int> ordinal = std::nullopt) const;

  enum class SubscriberId : std::uint64_t {};
  // Starts after `seq` (last_seq() = only new ones, 0 = all that are kept). `on_readable` is called by add(), once
  // until take() has emptied it again; it may call take() or unsubscribe(). Nothing when there are
  // limits::control_clients_max subscribers.
  std::optional<SubscriberId> subscribe(std::uint64_t seq, std::function<void()> on_readable);
  void unsubscribe(SubscriberId id);

  struct Taken {
    std::vector<LoggedEvent> events;
    std::uint64_t lost = 0;  // overtaken before these
    bool more = false;
  };
  Taken take(SubscriberId id, std::size_t max);

 private:
  struct Subscriber {
    std::uint64_t seen = 0;
    bool woken = false;
    std::function<void()> on_readable;
  };
  const std::size_t capacity_;
  std::deque<LoggedEvent> ring_;
  std::uint64_t next_seq_ = 1;
  std::map<SubscriberId, Subscriber> subscribers_;
  std::uint64_t next_subscriber_ = 1;
};

}  // namespace muster::supervisor
