// What the loopback tests stand on: replicas and clients in this process, on real sockets of 127.0.0.1, and a
// balancer whose callbacks can be waited for. Every wait has a deadline and a name.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "lb/balancer.h"

namespace muster::lb::test {

inline constexpr std::chrono::seconds patience{
    90};  // far beyond what any of this takes, on a busy machine too

// A blocking socket with a deadline on every call.
class Wire {
 public:
  Wire() = default;
  explicit Wire(Fd fd);
  static Wire to(std::uint16_t port);
  static Wire to_unix(const std::string& path);
  static Wire socket_only();  // connect() later needs no descriptor
  void connect(std::uint16_t port) const;

  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] bool open() const { return fd_.valid(); }
  bool send(std::string_view bytes) const;
  // Up to `max` bytes; "" at the end of the stream; none on a reset or when patience is over.
  std::optional<std::string> some(std::size_t max = 65536);
  // Through `end`; what follows is kept. None when the stream ended before.
  std::optional<std::string> until(std::string_view end);
  std::optional<std::string> exactly(std::size_t count);
  // All up to the end of the stream; none when it was reset.
  std::optional<std::string> rest();
  // The stream ends or is reset; false when patience is over.
  bool at_end();
  void half_close() const;
  void reset();  // closes with RST
  void close() { fd_.reset(); }

 private:
  std::optional<std::string> receive(std::size_t max = 65536) const;

  Fd fd_;
  std::string kept_;
};

struct Message {
  std::string head;  // without its empty line
  std::string body;
  std::string trailers;
  [[nodiscard]] int status() const;
  [[nodiscard]] std::string field(std::string_view name) const;  // "" when absent
  [[nodiscard]] bool has(std::string_view text) const { return head.find(text) != std::string::npos; }
};
// One HTTP message by its own framing. `no_body`: an answer to HEAD. None when it broke off.
std::optional<Message> read_message(Wire& wire, bool no_body = false);

// A server that runs `serve` for each connection on a thread of its own until it returns.
class Replica {
 public:
  using Serve = std::function<void(Wire&)>;
  explicit Replica(Serve serve);
  Replica(Serve serve, const std::string& path);  // on a unix socket
  ~Replica();
  Replica(const Replica&) = delete;
  Replica& operator=(const Replica&) = delete;
  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] int connections() const { return connections_; }
  void kill();                        // as a SIGKILL would: the port and all connections are gone
  void reset_connections();           // the open ones get RST
  bool wait_open(std::size_t count);  // until so many connections are open
  void join();  // until all connections that were accepted have been served; ends the replica

 private:
  void accept_all();
  Serve serve_;
  std::uint16_t port_ = 0;  // before the listener, which sets it
  Fd listener_;
  std::atomic<int> connections_{0};
  std::atomic<bool> dead_{false};
  std::mutex mutex_;
  std::vector<int> open_;
  std::list<std::thread> threads_;
  std::thread acceptor_;
};

// Answers each request with 200 and `body` over keep-alive.
Replica::Serve http_replica(std::string body);

std::uint16_t free_port();
std::size_t heap_bytes();  // in use, of the whole process

class Rig {
 public:
  explicit Rig(int threads = 1, std::vector<std::pair<std::string, int>> systemd_fds = {});
  ~Rig() { balancer.reset(); }  // its callbacks use what is below
  Rig(const Rig&) = delete;
  Rig& operator=(const Rig&) = delete;

  // A listener on a free port of its own, to `app`. A replica has all our patience to be connected to and to answer.
  spec::Listener& add_listener(const std::string& name, const std::string& app,
                               spec::ListenMode mode = spec::ListenMode::http);
  // Instance ids are the ports of the replicas.
  void set_pool(const std::string& app, const std::vector<std::uint16_t>& ports);
  // Waits for the answer: how many requests are in flight at the end of `limit`.
  std::uint64_t quiesce(std::chrono::milliseconds limit);
  // The balancer gives up, and another one takes over with the same listeners and pools.
  Handover give_up();
  void take_over(Handover handover, int threads = 1, HandedSockets unused = HandedSockets::close);
  // Prepares, publishes, and waits until the snapshot is in use.
  void publish(HandedSockets unused = HandedSockets::close);
  [[nodiscard]] Status prepare_only();

  [[nodiscard]] std::uint16_t port(std::size_t listener = 0) const {
    return listeners[listener].bind[0].port;
  }
  Wire client(std::size_t listener = 0) const { return Wire::to(port(listener)); }
  std::optional<Message> get(std::string_view target = "/", std::size_t listener = 0) const;

  bool wait_idle(InstanceId instance);
  bool wait_pong(std::uint64_t token);
  void forget_idle();
  [[nodiscard]] bool is_idle(InstanceId instance);
  bool wait_failure(InstanceId instance);
  [[nodiscard]] std::size_t demands(const std::string& app);  // so far
  bool wait_demands(const std::string& app, std::size_t wanted);
  [[nodiscard]] std::size_t failures();  // reported so far
  // All lines of access logs that were handed over, once there are so many.
  std::vector<std::string> access_lines(std::size_t count);
  bool wait_access_flush();
  bool wait_lost_lines(std::uint64_t count);
  template <typename Condition>
  bool wait_for(Condition condition) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, patience, condition);
  }
  [[nodiscard]] std::uint64_t in_flight(InstanceId instance) const;
  [[nodiscard]] std::uint64_t bytes_from(InstanceId instance) const;
  // These look at stats() until it is so.
  bool wait_requests(std::size_t listener, std::uint64_t wanted) const;
  bool wait_in_flight(InstanceId instance, std::uint64_t wanted) const;

  std::vector<spec::Listener> listeners;
  std::map<std::string, Pool> pools;
  std::unique_ptr<Balancer> balancer;
  std::atomic<bool> refuse_access_lines{false};  // as a writer that cannot keep up

 private:
  void start(Options options);
  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t in_use_ = 0;
  std::uint64_t version_ = 0;
  std::vector<InstanceId> idle_;
  std::map<std::string, std::size_t> demands_;
  std::vector<InstanceId> failed_;
  std::vector<std::uint64_t> pongs_;
  std::vector<std::string> access_lines_;
  std::uint64_t lost_lines_ = 0;
  std::uint64_t access_flushes_ = 0;
};

}  // namespace muster::lb::test
