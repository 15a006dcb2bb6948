// The access logs of listeners: files among the logs of the replicas, written, rotated and reopened like those. For the
// control thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "base/time.h"
#include "spec/spec.h"
#include "supervisor/action.h"
#include "supervisor/log_writer.h"

namespace muster::supervisor {

// Which listeners of the spec have one. Size and number of files are those of the `log` of the app that the listener
// leads to (`to`, else its first route's); a listener to no app has the defaults.
std::map<std::string, spec::LogOptions> access_logs_of(const spec::Spec& spec);

class AccessLogs {
 public:
  // `folder` outlives it.
  AccessLogs(const std::string& folder, std::function<void(Note)> on_note)
      : folder_(&folder), on_note_(std::move(on_note)) {}

  // These have one from now on. Lines of others still come while their last requests end.
  void set(const std::map<std::string, spec::LogOptions>& listeners);
  // Whole lines. `lost`: lines that the traffic threads had to drop before them; they are told at most every ten
  // seconds for a listener.
  void write(const std::string& listener, std::string_view lines, std::uint64_t lost, Now now);
  void tell_lost(Now now);  // what is due of it
  void reopen();

  [[nodiscard]] std::set<std::string> stems() const;  // of all that were set in this daemon's life
  [[nodiscard]] LogWriter* find(const std::string& stem);
  [[nodiscard]] std::uint64_t dropped_lines() const;

 private:
  struct File {
    LogWriter writer;
    spec::LogOptions options;
    bool listed = true;
    std::uint64_t lost = 0;  // by the traffic threads, in this daemon's life
    std::uint64_t lost_untold = 0;
    Instant tell_not_before{};
  };
  File& file_of(const std::string& listener);
  void tell_lost(const std::string& listener, File& file, Now now);
  void note(Severity severity, std::string text) const;

  const std::string* folder_;
  std::function<void(Note)> on_note_;
  std::map<std::string, File> files_;  // by listener
  LineBatch batch_;
};

}  // namespace muster::supervisor
