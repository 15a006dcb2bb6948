// The access log of one listener as one traffic thread keeps it: lines are formatted into a buffer and handed over
// when that is full, and within a second. No system call, no lock and in the long run no allocation for a request.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lb/access_line.h"
#include "lb/balancer.h"
#include "lb/local_ref.h"
#include "lb/loop.h"

namespace muster::lb {

class AccessLog;

// A request or connection that will have a line: what has to be remembered of it until its end.
struct AccessEntry {
  void begin(Ref<AccessLog> to, spec::AccessLogFormat as);
  // Texts are taken from what lives for one stretch only, all at once.
  void remember(std::string_view request, std::string_view host, std::string_view request_id,
                std::string_view user_agent, std::string_view referer);
  void fill(AccessRecord& record) const;                   // with what is known here
  [[nodiscard]] std::array<std::string, 5> texts() const;  // as they were remembered
  [[nodiscard]] std::size_t bytes() const { return texts_.capacity(); }

  Ref<AccessLog> log;
  spec::AccessLogFormat format = spec::AccessLogFormat::off;
  Nanos queued{0};
  Nanos connecting{0};
  int tries = 0;

 private:
  std::string texts_;
  std::array<std::size_t, 5> ends_{};
};

// Goes back to its log, for the next request.
struct ReturnAccessEntry {
  void operator()(AccessEntry* entry) const noexcept;
};
using AccessEntryRef = std::unique_ptr<AccessEntry, ReturnAccessEntry>;

class AccessLog : public LocalCounted, private WheelNode {
 public:
  AccessLog(Loop& loop, const Callbacks& callbacks, std::string listener);
  ~AccessLog();  // hands over what is left

  AccessEntryRef begin(spec::AccessLogFormat format);
  // Writes the line. Of `record`, time and listener are filled in here.
  void write(spec::AccessLogFormat format, AccessRecord record);
  // `last`: no more lines will come, these are to be taken in any case.
  void hand_over(bool last = false);

 private:
  friend struct ReturnAccessEntry;
  static void on_due(WheelNode& node) { static_cast<AccessLog&>(node).hand_over(); }

  Loop& loop_;
  const Callbacks& callbacks_;
  AccessLineWriter writer_;
  AccessLines lines_;
  std::vector<std::unique_ptr<AccessEntry>> spares_;
};

}  // namespace muster::lb
