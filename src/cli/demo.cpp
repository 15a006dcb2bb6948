// `demo`: a stack of its own, and each promise of it shown on this machine. The first proof that fails ends it with
// exit 1 and the daemon's log; the stack and its folder are removed in any case.
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <set>

#include "base/fd.h"
#include "cli/commands_run.h"
#include "cli/demo_host.h"
#include "cli/demo_leftovers.h"
#include "cli/demo_load.h"
#include "cli/output.h"
#include "cli/tables.h"
#include "fmt/core.h"
#include "supervisor/text.h"

namespace muster::cli {

namespace fs = std::filesystem;

namespace {

constexpr Millis ready_limit{60'000};  // a loaded machine is slow; usually it is one or two seconds
constexpr Millis stop_limit{60'000};
constexpr Millis look_every{20};
constexpr int load_clients = 3;
constexpr int attempts_max = 5;  // each with other ports

volatile std::sig_atomic_t interrupted = 0;

Error broken(std::string message) {
  return Error{.message = std::move(message)};
}

// Seconds since `begin`, as text.
std::string since(Instant begin) {
  return fmt::format("{:.1f} s",
                     std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
}

bool has_python() {
  const char* path = std::getenv("PATH");
  std::string folders = path != nullptr ? path : "/usr/bin:/bin";
  for (std::size_t at = 0; at <= folders.size();) {
    const std::size_t end = std::min(folders.find(':', at), folders.size());
    if (::access((folders.substr(at, end - at) + "/python3").c_str(), X_OK) == 0) return true;
    at = end + 1;
  }
  return false;
}

class Demo {
 public:
  Demo(DemoHost& host, bool colour) : host_(host), colour_(colour) {}

  // The proofs, one after the other.
  Status run() {
    for (const auto proof : {&Demo::comes_up, &Demo::answers_in_turn, &Demo::keeps_volumes,
                             &Demo::survives_kill, &Demo::rolls_out_an_edit, &Demo::stops_in_order}) {
      if (Status done = (this->*proof)(); !done) return done;
    }
    return Unit{};
  }
  // Bad luck instead of a broken promise: somebody took a port between our look and the start.
  [[nodiscard]] bool port_taken() const { return port_taken_; }

 private:
  Status comes_up();
  Status answers_in_turn();
  Status keeps_volumes();
  Status survives_kill();
  Status rolls_out_an_edit();
  Status stops_in_order();

  void proved(const std::string& sentence) const {
    print(fmt::format("{} {}\n", coloured("ok", Colour::green, colour_),
                      supervisor::escape_for_terminal(sentence)));
  }
  // Looks again and again until `probe` says yes. The last status is kept in status_.
  template <typename Probe>
  Status wait_for(const std::string& what, Millis limit, Probe probe);
  Status look();
  Status no_failures(const Load::Counts& counts) const;

  DemoHost& host_;
  const bool colour_;
  bool port_taken_ = false;
  DemoStatus status_;
  std::set<std::pair<int, std::string>>
      seen_;  // every process that ever was in the status, with its start time
};

Status Demo::look() {
  auto status = host_.status();
  if (!status) return status.error();
  status_ = std::move(status).value();
  for (const DemoReplica& replica : status_.replicas) {
    if (replica.pid > 0) seen_.emplace(replica.pid, process_start(replica.pid));
  }
  return Unit{};
}

template <typename Probe>
Status Demo::wait_for(const std::string& what, Millis limit, Probe probe) {
  const Instant end = std::chrono::steady_clock::now() + limit;
  std::string last;
  while (std::chrono::steady_clock::now() < end) {
    if (interrupted != 0) return broken("interrupted");
    const Status looked = look();
    if (looked && probe()) return Unit{};
    last = looked ? "" : ": " + looked.error().message;
    if (!host_.running()) return broken(fmt::format("{}: the daemon has ended by itself", what));
    ::poll(nullptr, 0, static_cast<int>(look_every.count()));
  }
  return broken(fmt::format("not within {} s: {}{}", limit.count() / 1000, what, last));
}

Status Demo::comes_up() {
  const Instant begin = std::chrono::steady_clock::now();
  bool storage_was_ready = false;
  bool early = false;  // an app that needs the storage ran before the storage was ready
  Status ready = wait_for("every replica ready", ready_limit, [&] {
    const DemoApp* storage = status_.find_app("storage");
    const bool storage_ready = storage != nullptr && storage->state == "ready";
    const bool others_run = !status_.pids_of("api").empty() || !status_.pids_of("worker").empty();
    early = early || (others_run && !storage_was_ready && !storage_ready);
    storage_was_ready = storage_was_ready || storage_ready;
    port_taken_ = status_.port_taken();
    return port_taken_ || status_.all_ready();
  });
  if (!ready) return ready;
  if (port_taken_) return broken("a port was taken meanwhile");
  if (early) return broken("api or worker was started before the storage was ready");
  proved(fmt::format(
      "{} API replicas, {} storage replicas and a worker are ready after {}; storage first, as `after` says",
      demo_api_replicas, demo_storage_replicas, since(begin)));
  return Unit{};
}

Status Demo::answers_in_turn() {
  constexpr int rounds = 3;
  std::map<std::string, int> counts;
  std::string sequence;
  for (int i = 0; i < rounds * demo_api_replicas; ++i) {
    const auto answer = http_get(host_.ports().listener());
    if (!answer) return broken("a request failed: " + answer.error().message);
    const std::string who = answer.value().substr(answer.value().rfind(' ') + 1);
    ++counts[who];
    sequence += (sequence.empty() ? "" : " ") + who;
  }
  const bool even = counts.size() == demo_api_replicas &&
                    std::ranges::all_of(counts, [](const auto& entry) { return entry.second == rounds; });
  if (!even) return broken("the requests were not spread evenly: " + sequence);
  proved(fmt::format("http://127.0.0.1:{} asks each in turn: {}", host_.ports().listener(), sequence));
  return Unit{};
}

Status Demo::keeps_volumes() {
  std::string values;
  for (int i = 0; i < demo_storage_replicas; ++i) {
    const auto stored = ask_line(host_.ports().storage(i), fmt::format("SET value-{}", i));
    if (!stored) return broken(fmt::format("storage/{} did not store: {}", i, stored.error().message));
  }
  for (int i = 0; i < demo_storage_replicas; ++i) {
    const std::string wanted = fmt::format("value-{}", i);
    const auto read = ask_line(host_.ports().storage(i), "GET");
    if (!read || read.value() != wanted)
      return broken(fmt::format("storage/{} has {} instead of {}", i,
                                read ? read.value() : read.error().message, wanted));
    if (!fs::exists(host_.volume(i) + "/value")) return broken("no file in " + host_.volume(i));
    values += fmt::format("{}storage/{} on port {} has {}", values.empty() ? "" : ", ", i,
                          host_.ports().storage(i), wanted);
  }
  proved(fmt::format("a volume each: {}", values));
  return Unit{};
}

Status Demo::no_failures(const Load::Counts& counts) const {
  if (counts.requests == 0) return broken("no request was sent");
  if (counts.failed > 0)
    return broken(fmt::format("{} of {} requests failed, the first: {}", counts.failed, counts.requests,
                              counts.first_error));
  return Unit{};
}

Status Demo::survives_kill() {
  constexpr const char* victim_id = "api/2";
  Load load(host_.ports().listener(), load_clients);
  const std::uint64_t enough = 100;
  if (Status busy = wait_for("requests under way", ready_limit, [&] { return load.requests() >= enough; });
      !busy)
    return busy;
  const DemoReplica* victim = status_.find(victim_id);
  if (victim == nullptr || victim->pid <= 0) return broken("api/2 has no process");
  const int killed = victim->pid;
  const Instant begin = std::chrono::steady_clock::now();
  if (::kill(killed, SIGKILL) != 0) return system_error("kill", errno);
  Status back = wait_for("api/2 ready again", ready_limit, [&] {
    const DemoReplica* now = status_.find(victim_id);
    return now != nullptr && now->state == "ready" && now->pid > 0 && now->pid != killed;
  });
  if (!back) return back;
  const std::string length = since(begin);
  const std::uint64_t until_now = load.requests();
  // It must also take traffic again, still without a failure.
  if (Status more =
          wait_for("more requests", ready_limit, [&] { return load.requests() >= until_now + enough; });
      !more)
    return more;
  const Load::Counts counts = load.stop();
  if (Status clean = no_failures(counts); !clean) return clean;
  proved(fmt::format(
      "killed {} (pid {}) with -9 under load: ready again as pid {} after {}; {} requests, 0 failed",
      victim_id, killed, status_.find(victim_id)->pid, length, counts.requests));
  return Unit{};
}

Status Demo::rolls_out_an_edit() {
  if (Status looked = look(); !looked) return looked;
  const DemoStatus before = status_;
  const DemoApp* api = before.find_app("api");
  if (api == nullptr) return broken("no app api");
  Load load(host_.ports().listener(), load_clients);
  const Instant begin = std::chrono::steady_clock::now();
  if (Status written = host_.write_spec("good day from"); !written) return written;
  Status done = wait_for("the edited spec rolled out", ready_limit, [&] {
    const DemoApp* now = status_.find_app("api");
    return status_.spec_revision > before.spec_revision && now != nullptr && now->revision > api->revision &&
           status_.all_ready();
  });
  if (!done) return done;
  const std::string length = since(begin);
  const Load::Counts counts = load.stop();
  if (Status clean = no_failures(counts); !clean) return clean;
  if (status_.spec_revision != before.spec_revision + 1) return broken("one edit was read as several");
  const auto answer = http_get(host_.ports().listener());
  if (!answer || !answer.value().starts_with("good day from"))
    return broken("the edit is not in the answers");
  for (const char* kept : {"storage", "worker"}) {
    if (status_.pids_of(kept) != before.pids_of(kept))
      return broken(fmt::format("{} was restarted by an edit of api", kept));
  }
  std::set<int> old_pids;
  for (const auto& [id, pid] : before.pids_of("api")) old_pids.insert(pid);
  for (const auto& [id, pid] : status_.pids_of("api")) {
    if (old_pids.contains(pid)) return broken(id + " still runs the old revision");
  }
  proved(
      fmt::format("edited muster.toml, one reload: the {} API replicas replaced one after the other in {}, "
                  "storage and worker kept "
                  "their PIDs; {} requests, 0 failed",
                  demo_api_replicas, length, counts.requests));
  return Unit{};
}

Status Demo::stops_in_order() {
  const Instant begin = std::chrono::steady_clock::now();
  if (Status asked = host_.ask_to_stop(); !asked) return asked;
  while (host_.running()) {
    if (interrupted != 0) return broken("interrupted");
    if (std::chrono::steady_clock::now() > begin + stop_limit)
      return broken("the stack did not stop in time");
    if (look()) {
      const bool storage_leaves = status_.pids_of("storage").size() < demo_storage_replicas;
      if (storage_leaves && !(status_.pids_of("api").empty() && status_.pids_of("worker").empty()))
        return broken("a storage replica was stopped before those that need it");
    }
    ::poll(nullptr, 0, static_cast<int>(look_every.count()));
  }
  const auto code = host_.wait_end(stop_limit);
  if (code != 0) return broken(fmt::format("the daemon ended with exit code {}", code.value_or(-1)));
  const std::string length = since(begin);
  if (const std::string left = processes_left(seen_, host_.folder()); !left.empty())
    return broken("left behind: " + left);
  if (const std::string open = ports_open(host_.ports()); !open.empty()) return broken("still open: " + open);
  proved(fmt::format("stopped in order in {}: none of {} processes is left, no port is open", length,
                     seen_.size()));
  return Unit{};
}

void catch_interrupts() {
  struct sigaction action {};
  action.sa_handler = [](int) { interrupted = 1; };
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::sigaction(signal, &action, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
}

enum class Outcome { shown, failed, again };

Outcome show(DemoHost& host, bool colour) {
  print(fmt::format("muster demo: a stack in {}\n", host.folder()));
  Demo demo(host, colour);
  Status done = host.start();
  if (done) done = demo.run();
  if (done) return Outcome::shown;
  const std::string log = host.log_tail();
  // The listener's port, when it was taken, ends the daemon before it has a status.
  const bool bad_luck = demo.port_taken() || log.find("in use") != std::string::npos;
  if (bad_luck && interrupted == 0) return Outcome::again;
  complain(done.error().message);
  if (interrupted == 0) complain("the daemon's log:\n" + log);
  return Outcome::failed;
}

}  // namespace

int run_demo(const Context& context) {
  if (!has_python()) return fail(broken("the demo's programs need python3, which is not in PATH"));
  catch_interrupts();
  const Instant begin = std::chrono::steady_clock::now();
  for (int attempt = 1; attempt <= attempts_max; ++attempt) {
    auto host = DemoHost::create(context.environment);
    if (!host) return fail(host.error());
    const std::string folder = host.value()->folder();
    const Outcome outcome = show(*host.value(), colour_wanted(context.arguments));
    host.value().reset();
    std::error_code ignored;
    if (fs::exists(folder, ignored)) return fail(broken(folder + " could not be removed"));
    if (outcome == Outcome::failed) return code_of(ExitCode::failed);
    if (outcome == Outcome::again) {
      print("a port was taken by another program meanwhile; once more with others\n");
      continue;
    }
    print(fmt::format("all of it shown in {}; {} is removed\n", since(begin), folder));
    return 0;
  }
  return fail(broken("no ports stay free long enough on this machine"));
}

}  // namespace muster::cli
