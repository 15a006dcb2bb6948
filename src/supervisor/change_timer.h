// Collects paths that changed and names each once it has been quiet for a while. For the control thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "base/time.h"
#include "supervisor/uv_handles.h"

namespace muster::supervisor {

// Whether more is sure to come: the end of the writing.
enum class Writing : std::uint8_t { over, going_on };
// Of a path whose name has just come. What is no file, and a file that came by link(2), is complete.
[[nodiscard]] Writing writing_to(const std::string& path);

class ChangeTimer {
 public:
  static constexpr std::size_t pending_max = 1000;
  static constexpr int patience = 10;  // so many times `quiet`, and what still changes is named all the same

  ChangeTimer(uv_loop_t* loop, Millis quiet, std::function<void()> on_due);

  // Paths beyond pending_max are not kept: so much has changed already that one more says nothing new.
  void mark(const std::string& path, Writing writing, Instant now);
  // One path that is due; empty when there is none: then the timer waits for the next.
  [[nodiscard]] std::string take_due(Instant now);
  void clear();

 private:
  struct Change {
    Instant first;
    Instant last;
    Writing writing;
  };
  [[nodiscard]] Instant due(const Change& change) const;
  void arm(Instant at, Instant now);

  Millis quiet_;
  std::map<std::string, Change> changes_;
  Instant armed_for_;  // while the timer is armed
  UvTimer timer_;
};

}  // namespace muster::supervisor
