// The shells of the network probes, on the control loop: a TCP connect, or one HTTP/1.1 GET on a connection of its own.
// What the result means is decided elsewhere (verdict.h).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "health/outcome.h"
#include "spec/spec.h"

struct uv_loop_s;

namespace muster::health {

struct NetworkProbe {
  std::uint16_t port = 0;
  std::string socket = {};                  // the path of a unix socket, in place of a port
  std::string first_address = "127.0.0.1";  // tried first, the other loopback address second
  std::optional<std::string> http_path;     // none: connecting is enough
  std::string preface = {};                 // sent in front of the GET
  std::vector<spec::StatusRange> expect{spec::StatusRange{}};
  Millis timeout{1000};  // for all of it
  // Called once the connection stands and before a byte is sent, with the address that answered: an outcome given
  // here ends the probe.
  std::function<std::optional<Outcome>(const std::string& address)> veto;
};

class Prober {
 public:
  enum class ProbeId : std::uint64_t {};

  explicit Prober(uv_loop_s* loop) : loop_(loop) {}
  // Cancels what is under way. The loop must run once more after it.
  ~Prober();
  Prober(const Prober&) = delete;
  Prober& operator=(const Prober&) = delete;

  // `done` is called exactly once, never inside this call, unless the probe is cancelled.
  ProbeId start(NetworkProbe probe, std::function<void(Outcome)> done);
  void cancel(ProbeId id);

  struct Run;

 private:
  uv_loop_s* loop_;
  std::map<ProbeId, Run*> runs_;
  std::uint64_t next_ = 1;
};

}  // namespace muster::health
