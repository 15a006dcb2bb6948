// An upgrade in place, up to the moment in which this image ends: the installed binary is asked, requests are held at a
// moment without one in flight, the balancer gives up. Whatever fails, this image goes on as if nothing had been asked.
#pragma once

#include <functional>
#include <string>

#include "supervisor/next_image.h"
#include "supervisor/process_host.h"
#include "supervisor/traffic.h"
#include "supervisor/uv_handles.h"

namespace muster::supervisor {

struct UpgradeRequest {
  Millis grace{2000};  // for requests in flight, and starts under way
  std::string id;      // of who asks; the next image knows it
};

struct UpgradeHooks {
  // What the binary is to take, written to the file that is named.
  std::function<Result<HandoverQuestion>()> write_question;
  // A bounded command of the daemon's own.
  std::function<void(std::vector<std::string> argv, Millis limit, std::function<void(CommandResult)> done)>
      run;
  // The listeners of the spec that the binary takes can be opened; what they need more than is open is open then.
  std::function<Status()> open_listeners;
  std::function<void(const std::string& version)> on_agreed;  // it will be tried now
  // A process is being started: the next image could not tell what has become of that, and would start it anew.
  std::function<bool()> is_starting;
  // Becomes the next image, or returns why not.
  std::function<Error(const UpgradeRequest&, Instant paused_since, const lb::Handover&)> become;
};

class Upgrade {
 public:
  using Done = std::function<void(const Error&)>;  // only when it has failed
  // Both outlive this. The loop must run once more after the destructor.
  Upgrade(uv_loop_s* loop, Traffic& traffic, std::string binary, UpgradeHooks hooks);

  [[nodiscard]] bool under_way() const { return static_cast<bool>(done_); }
  // Not while one is under way.
  void begin(UpgradeRequest request, Done done);

 private:
  void on_answer(const CommandResult& answer);
  void try_pause();
  [[nodiscard]] bool must_wait() const;
  void on_quiesced(std::uint64_t in_flight);
  void go();
  void fail(const Error& error);

  Traffic& traffic_;
  const std::string binary_;
  UpgradeHooks hooks_;
  UvTimer next_try_;
  UpgradeRequest request_;
  Done done_;
  Instant deadline_{};
  Instant paused_since_{};
};

}  // namespace muster::supervisor
