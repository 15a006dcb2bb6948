// The balancer's one door: N traffic threads that carry HTTP/1.1 and TCP from listeners to replicas. The
// control thread tells it everything (snapshots, listeners, questions); it answers by callbacks. Nothing here
// knows what a process is.
//
// Threads: every member function is for the one control thread. Callbacks run on traffic threads (or inside
// the call that caused them), must be thread-safe, return at once and never call back into the Balancer: put
// a letter in a Mailbox.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"
#include "lb/handover.h"
#include "lb/histogram.h"
#include "spec/spec.h"

namespace muster::lb {

// The whole routing at one moment, complete and const once it is published.
struct Snapshot {
  SnapshotVersion version{};
  std::vector<spec::Listener> listeners;
  std::vector<Pool> pools;
};

// Whole lines of a listener's access log, from one traffic thread: those of another may be older.
struct AccessLines {
  std::string listener;
  std::string bytes;
  std::uint64_t count = 0;  // lines in `bytes`
  std::uint64_t lost = 0;   // lines before them that could not be handed over
  bool last = false;        // of this thread: to be taken in any case
};

struct Callbacks {
  // Every traffic thread has swapped to this version: no request is picked by an older one any more.
  std::function<void(SnapshotVersion)> on_snapshot_in_use;
  // Answers watch_idle(): nothing is in flight at the instance on any thread. Once per question.
  std::function<void(InstanceId)> on_idle;
  // Connecting to it, or waiting for its answer, failed. At most ten times per second, thread and instance.
  std::function<void(InstanceId, std::string)> on_upstream_failed;
  // A request or connection waits for a replica of this app, which is on demand and has none. At most ten times per
  // second, thread and app; again after each snapshot without a replica while one waits.
  std::function<void(std::string)> on_demand;
  // Answers ping(): the token has been through every traffic thread.
  std::function<void(std::uint64_t)> on_pong;
  // Lines for an access log, handed over within a second. True: the bytes were taken, and an empty buffer was left
  // in their place (best one that has been there before: so none is allocated in the long run). False: there is no
  // room; the lines are dropped and counted.
  std::function<bool(AccessLines&)> on_access_lines;
  // Answers flush_access_logs(): all lines of before have been handed over.
  std::function<void()> on_access_logs_flushed;
};

struct Options {
  int threads = 1;
  // Listening sockets of the service manager by name (`systemd:NAME`): borrowed, duplicated when used.
  std::vector<std::pair<std::string, int>> systemd_fds;
  Callbacks callbacks;
  // What another balancer gave up. The first snapshot that is published takes the connections of its listeners, before
  // anything new is accepted; the other connections are closed.
  std::optional<Handover> handover = std::nullopt;
};

// Listening sockets that prepare() opened and publish() has not taken yet. Dropping it closes what no
// published snapshot uses.
class PreparedListeners {
 public:
  struct Impl;
  PreparedListeners();
  explicit PreparedListeners(std::unique_ptr<Impl> impl);
  PreparedListeners(PreparedListeners&&) noexcept;
  PreparedListeners& operator=(PreparedListeners&&) noexcept;
  PreparedListeners(const PreparedListeners&) = delete;
  PreparedListeners& operator=(const PreparedListeners&) = delete;
  ~PreparedListeners();

 private:
  friend class Balancer;
  std::unique_ptr<Impl> impl_;
};

// By the first digit of the status, from 1xx on.
using StatusClasses = std::array<std::uint64_t, 5>;

// Counts are of http only where a stream has no such thing. A tunnel's latencies are those of its 101.
struct ListenerStats {
  std::string name;
  std::uint64_t connections = 0;  // open now
  std::uint64_t requests = 0;     // http: requests whose head was read; tcp: connections
  StatusClasses responses{};      // sent to clients, muster's own too
  std::uint64_t bytes_in = 0;     // of bodies and streams, from clients
  std::uint64_t bytes_out = 0;    // the same, to clients
  std::uint64_t retries = 0;      // tries after a request's first
  std::uint64_t queued = 0;       // requests and connections that had to wait for a replica
  std::uint64_t refused = 0;  // by muster itself: a bad head, no route, too large, no room or time to wait
  Histogram first_byte = {};  // from the request's head to the answer's
  Histogram total = {};       // to the answer's end
};

struct InstanceStats {
  InstanceId instance{};
  std::uint64_t in_flight = 0;   // requests, tunnels and TCP connections
  std::uint64_t requests = 0;    // picked for it, retries included
  std::uint64_t bytes_to = 0;    // written to the replica
  std::uint64_t bytes_from = 0;  // read from it
  std::uint64_t failures = 0;    // connects and answers that failed
  std::uint64_t retries = 0;     // tries that failed here and were made again
  StatusClasses responses{};     // its answers
  Histogram first_byte = {};     // as a listener's, of the requests that it answered
  Histogram total = {};
};

struct Stats {
  std::vector<ListenerStats> listeners;  // of the published snapshot, by its order
  std::vector<InstanceStats> instances;  // in rotation, or still with something in flight
};

// The sockets of a handover that nobody has prepared until then.
enum class HandedSockets : std::uint8_t { close, keep };

class Balancer {
 public:
  // Starts the threads (all signals blocked in them). Fails when the host has no descriptors or threads left.
  static Result<std::unique_ptr<Balancer>> start(Options options);
  ~Balancer();  // stop(0) when it was not stopped
  Balancer(const Balancer&) = delete;
  Balancer& operator=(const Balancer&) = delete;

  // First phase of a reload: opens every address of `listeners` that is not open yet; what is open stays as
  // it is (same sockets, also for another app or other timeouts). All or nothing. An address in use is an
  // Error that names it ("127.0.0.1:8080: Address already in use", errno_value EADDRINUSE); the caller may
  // add who holds it. Also makes what `tls` of each needs; what holds the same certificates as before stays, with its
  // session tickets.
  Result<PreparedListeners> prepare(const std::vector<spec::Listener>& listeners);

  // A unix address whose file at `path` is not its socket any more: nobody can connect. prepare() opens it anew.
  [[nodiscard]] bool has_lost(const std::string& path) const;

  // Second phase, and each change of the ready set: from now on route by `snapshot`. Its listeners' addresses and
  // certificates must have been prepared, here or earlier (one that was not is not served). Addresses that no listener
  // names any more are closed after a last round of accept; their requests in flight finish. Answered by
  // on_snapshot_in_use.
  void publish(std::shared_ptr<const Snapshot> snapshot, PreparedListeners prepared = {},
               HandedSockets unused = HandedSockets::close);

  // Ask once a snapshot without the instance is in use. Answered by on_idle, at once for an instance never
  // seen.
  void watch_idle(InstanceId instance);

  // A round trip through every traffic thread, for the watchdog. Answered by on_pong.
  void ping(std::uint64_t token);

  // Every thread hands over what it holds of access logs. Answered by on_access_logs_flushed.
  void flush_access_logs();

  // A consistent picture is not promised: counters are read while the threads count on.
  [[nodiscard]] Stats stats() const;

  // Every thread accepts no more and begins no request; what comes waits in the kernel, and so do those in the queue.
  // What is in flight goes on. `done` is called like the callbacks, with the number of requests that are still in
  // flight: once that is 0, or after `patience`. Streams and tunnels go on and count for none.
  void quiesce(Millis patience, std::function<void(std::uint64_t)> done);
  void resume();  // as if quiesce() had not been called

  // Ends the threads and leaves what they had to whoever is next; see Handover. Requests that are in flight are cut,
  // unless no replica has seen a byte of them. No callback comes after it returns.
  [[nodiscard]] Handover give_up();

  // In two steps: accepts no more, closes idle connections, lets what is in flight finish; after `grace`
  // closes everything. Joins the threads, which hand over the rest of their access logs; no callback comes after it
  // returns.
  void stop(Millis grace);

 private:
  struct Impl;
  explicit Balancer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace muster::lb
