// The desired state as a value: what a muster.toml says after includes, ${} and defaults are applied and
// every rule of the contract was checked. Immutable once loaded; shared by pointer between the planner, the
// executor and the balancer.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/limits.h"
#include "base/time.h"
#include "spec/certificate.h"
#include "spec/cron.h"
#include "spec/template.h"

namespace muster::spec {

// Where something was said: 1-based line and column (in code points); line 0 = the file as a whole.
struct Position {
  std::string file;
  int line = 0;
  int column = 0;
  bool operator==(const Position&) const = default;
};

enum class AfterCondition { ready, started, completed, completed_ok };

struct Dependency {
  std::string app;
  AfterCondition condition = AfterCondition::ready;
  bool operator==(const Dependency&) const = default;
};

enum class PortKind { none, numbered, automatic, local };

struct Port {
  PortKind kind = PortKind::none;
  std::uint16_t base = 0;  // numbered: replica i gets base + i
  bool operator==(const Port&) const = default;
};

// Local ports: where a process listens, in a folder of its own below `folder`.
std::string socket_path(const std::string& folder, const std::string& app, int ordinal,
                        std::uint64_t instance);

struct StatusRange {
  int from = 200;
  int to = 399;
  bool operator==(const StatusRange&) const = default;
};

// `health` and `live`. All checks that are given must hold. With none of them given and `always` false the
// replica counts as healthy once it has been alive for `alive_for`.
struct HealthCheck {
  bool always = false;             // health = "none": ready as soon as it runs
  bool tcp = false;                // connect to the replica's port
  std::optional<Template> http;    // path of a GET on the replica's port
  std::vector<Template> cmd;       // argv; empty = none. Exit 0 within `timeout` = healthy
  bool notify = false;             // READY=1 by sd_notify(3)
  std::optional<std::string> log;  // ECMAScript regex: a line of output that matches
  Millis alive_for{1000};          // used when nothing above is given
  Millis every{2000};
  Millis timeout{1000};
  int fall = 3;
  int rise = 1;         // after a fall: max(rise, 2)
  Millis start{60000};  // readiness: not ready by then = shown as such; never a kill
  std::vector<StatusRange> expect{StatusRange{}};
  [[nodiscard]] bool alive_only() const { return !always && !tcp && !http && cmd.empty() && !notify && !log; }
  bool operator==(const HealthCheck&) const = default;
};

enum class RestartPolicy { always, on_failure, never };

struct RestartLimit {  // "10 in 5m": `count` restarts within `window`; the next exit in it = failed
  int count = 0;
  Millis window{0};
  bool operator==(const RestartLimit&) const = default;
};

struct Restart {
  RestartPolicy policy = RestartPolicy::always;
  Millis backoff{1000};
  Millis max_backoff{60000};
  double jitter = 0.25;  // each pause gets + 0..jitter of itself
  Millis reset{600000};  // so long of unbroken readiness clears the backoff
  std::optional<RestartLimit> max_restarts;
  std::vector<int> ok_codes{0};
  bool operator==(const Restart&) const = default;
};

struct Stop {
  Millis drain{30000};  // `up` caps it at 2 s when the spec does not say
  bool drain_given = false;
  int signal = 15;             // signal(7) number
  Millis timeout{10000};       // after the signal; then KILL to the whole tree
  std::vector<Template> exec;  // argv run before the signal; empty = none
  bool operator==(const Stop&) const = default;
};

// A number of replicas, as it is written: 2, or "25%" of them.
struct Share {
  int value = 0;
  bool percent = false;
  bool operator==(const Share&) const = default;
};

enum class UpdateStrategy {
  rolling,   // new processes beside old ones
  recreate,  // all old ones end before the first new one starts
  ordered    // one ordinal after the other, the highest first, each ready before the next
};

// How processes are replaced: by a new revision, and by `restart`.
struct Update {
  UpdateStrategy strategy = UpdateStrategy::rolling;
  Share surge{25, true};        // rolling: processes beyond `replicas`; rounds up
  Share unavailable{25, true};  // rolling: replicas that may be missing; rounds down
  // Only what is written lets ready replicas go before their heirs are ready, as long as there is a surge.
  bool unavailable_given = false;
  Millis min_ready{0};      // so long unbroken before a new replica counts
  Millis deadline{600000};  // without a further replica that counts: the revision has failed
  bool rollback = true;
  bool operator==(const Update&) const = default;
};

// As many replicas as the load needs; arithmetic and windows as autoscale.h says.
inline constexpr Millis idle_window_min{1000};  // of an app with `min = 0`

struct Scale {
  int min = 1;  // 0: on demand
  int max = 1;
  std::optional<int> cpu;          // percent of limits.cpu, else of one core
  std::optional<int> in_flight;    // requests at once
  std::optional<int> memory = {};  // percent of limits.memory, which is there
  Millis window{300000};           // down: the largest number of this time holds; the last one ends after it
  Millis cooldown{0};
  // Without a request it has no replica; the first one starts it.
  [[nodiscard]] bool on_demand() const { return min == 0; }
  bool operator==(const Scale&) const = default;
};

struct Volume {
  std::string key;   // the NAME of `volume.NAME`; for `volume = "data"` both are "data"
  std::string name;  // the directory's name
  std::uint32_t mode = 0700;
  std::optional<std::string>
      path;  // the directory that holds the ordinals' directories instead of the state folder
  std::optional<std::uint64_t> size = {};  // bytes that a replica may fill; live
  bool operator==(const Volume&) const = default;
};

struct Limits {
  std::optional<std::uint64_t> files = {};  // RLIMIT_NOFILE
  std::optional<std::uint64_t> core = {};   // RLIMIT_CORE, bytes
  // Those of a replica as a whole, with everything it ever forked. They apply live.
  std::optional<std::uint64_t> memory = {};  // bytes
  std::optional<double> cpu = {};            // processors: 0.5 is half of one
  std::optional<std::uint64_t> pids = {};    // processes and threads
  [[nodiscard]] bool bounds_whole() const { return memory || cpu || pids; }
  [[nodiscard]] bool same_whole(const Limits& other) const {
    return memory == other.memory && cpu == other.cpu && pids == other.pids;
  }
  bool operator==(const Limits&) const = default;
};

enum class LogFormat { text, json, raw };

struct LogOptions {
  std::uint64_t rotate_bytes = 10U << 20U;
  int keep = 5;
  LogFormat format = LogFormat::text;
  bool operator==(const LogOptions&) const = default;
};

struct InheritEnv {
  bool all = false;
  std::vector<std::string> names;  // these too, when not `all`
  bool operator==(const InheritEnv&) const = default;
};

struct NamedPort {
  std::string name;
  Port port;
  bool operator==(const NamedPort&) const = default;
};

struct EnvVar {
  std::string name;
  Template value;
  bool operator==(const EnvVar&) const = default;
};

struct App {
  std::string name;
  Position position;          // of the [app.NAME] header
  std::vector<Template> run;  // argv; with `shell` one element, the script of sh -c
  bool shell = false;
  int replicas = 1;  // with `scale` how many it begins with
  std::optional<Scale> scale;
  Port port;
  std::vector<NamedPort> ports;
  HealthCheck health;  // resolved: tcp filled in where the app has a port and `health` is not given
  std::optional<HealthCheck> live;
  std::optional<Millis> watchdog;
  std::vector<Dependency> after;
  Restart restart;
  Stop stop;
  Update update;
  std::vector<EnvVar> env;                                         // sorted by name; wins over env_files
  std::vector<std::string> env_files;                              // absolute paths
  std::vector<std::pair<std::string, std::string>> env_file_vars;  // their contents as read at load, by name
  Template dir;  // absolute after expansion against the spec's folder
  InheritEnv inherit_env;
  std::string user;   // empty = the daemon's own
  std::string group;  // empty = the user's primary group
  std::uint32_t umask = 022;
  int nice = 0;
  bool no_new_privs = false;
  std::vector<Volume> volumes;
  Limits limits;
  LogOptions log;
  std::vector<std::string> watch;  // globs relative to the spec's folder

  // A slot with a volume or a numbered port never has two tenants; its app updates ordered, highest ordinal
  // first.
  [[nodiscard]] bool exclusive_slots() const;
  [[nodiscard]] int replicas_max() const { return scale ? scale->max : replicas; }  // but by hand
  bool operator==(const App&) const;  // positions are not compared
};

enum class ListenMode { http, tcp };
enum class AccessLogFormat { off, common, combined, json };

struct BindAddress {
  std::string text;  // as written, canonical: "127.0.0.1:8080", "[::1]:80", "unix:/p", "systemd:NAME"
  enum class Kind { inet, unix_path, systemd } kind = Kind::inet;
  std::string host;        // inet: numeric address without brackets
  std::uint16_t port = 0;  // inet
  std::string path;        // unix: absolute path; systemd: the name of the descriptor
  bool operator==(const BindAddress&) const = default;
};

struct ListenTimeouts {
  Millis connect{1000};
  Millis head{10000};
  Millis idle{60000};
  Millis keepalive{4000};
  Millis response{30000};
  Millis tunnel{3600000};
  Millis send{30000};
  bool operator==(const ListenTimeouts&) const = default;
};

struct Respond {  // an answer without a replica
  int status = 200;
  std::string body;
  std::string type;  // Content-Type; empty = none
  bool operator==(const Respond&) const = default;
};

// One rule of a listener. The longest path among the rules of the most exact host wins; rules of the same host and
// path share their requests by weight.
struct Route {
  std::string host;        // lower case, no port; "" = any, "*.example.org" = whatever is below it
  std::string path = "/";  // whole segments: "/api" is "/api" and "/api/…"
  std::string app;         // `to`; empty with one of the next two
  int weight = 1;
  std::optional<Template> redirect;  // variables host and uri; 308
  std::optional<Respond> respond;
  ListenTimeouts timeout;  // the listener's where the route says nothing
  bool operator==(const Route&) const = default;
};

struct HeaderField {
  std::string name;
  std::string value;
  bool operator==(const HeaderField&) const = default;
};

// Changes to the fields of a message: first `remove`, then `set` (in place of all of that name), then `add`.
struct HeaderEdits {
  std::vector<HeaderField> set;
  std::vector<HeaderField> add;
  std::vector<std::string> remove;
  [[nodiscard]] bool empty() const { return set.empty() && add.empty() && remove.empty(); }
  bool operator==(const HeaderEdits&) const = default;
};

// "10.0.0.0/8", "::1": an address and how many of its first bits count.
struct Network {
  std::array<std::uint8_t, 16> address{};  // IPv4 as ::ffff:a.b.c.d
  int bits = 128;                          // IPv4: 96 more than written
  [[nodiscard]] bool contains(const std::array<std::uint8_t, 16>& other) const;
  bool operator==(const Network&) const = default;
};

// Which replica of an app is next.
struct Balance {
  enum class Kind {
    round_robin,
    least_conn,  // the one with the fewest requests in flight
    p2c,         // of two drawn at random the one with fewer
    hash,        // always the same for one `key`, and for most keys the same when replicas come and go
  } kind = Kind::round_robin;
  enum class Key { client, path, header, cookie } key = Key::client;
  std::string name = {};  // of the header field or cookie; a request without it takes its turn
  bool operator==(const Balance&) const = default;
};

struct Eject {
  int fails = 5;  // in a row: connects that failed, no valid answer in time, 502 to 504
  Millis time{30000};
  bool operator==(const Eject&) const = default;
};

enum class TlsVersion { tls1_2, tls1_3 };

// A listener's `tls`. The files were read when the spec was; what they held then is what serves.
struct Tls {
  std::vector<std::shared_ptr<const Certificate>> certificates;  // as written; the first is the default
  std::vector<std::string> files;                                // all that were read, absolute paths
  TlsVersion min = TlsVersion::tls1_2;
  std::vector<CertificatePtr> client_ca;  // not empty: a client needs a certificate that leads to one of them
  bool operator==(const Tls&) const;      // what they hold, not how the files are called
};

// The header of haproxy's proxy-protocol.txt at the beginning of a connection: who the client is.
struct ProxyProtocol {
  enum class Version { none, v1, v2 };
  bool in = false;              // every client of the listener sends it, v1 or v2
  Version out = Version::none;  // what the replicas get
  bool operator==(const ProxyProtocol&) const = default;
};

struct Listener {
  std::string name;  // the short form `listen` of an app gives app, app-2, app-3 …
  Position position;
  std::vector<BindAddress> bind;
  ListenMode mode = ListenMode::http;
  std::string app;            // `to`: gets what no route matches; may be empty where there are routes
  std::vector<Route> routes;  // http only
  ListenTimeouts timeout;
  Balance balance;
  std::string sticky_cookie;  // empty = none
  std::optional<Eject> eject = Eject{};
  int retries = 2;
  int queue_size = 1024;
  Millis queue_timeout{5000};
  std::optional<std::uint64_t> body_max;  // bytes; 413 above
  std::optional<int> max_conns;           // open connections at once
  std::optional<int> max_in_flight;       // requests (tcp: connections) at once at each replica
  ProxyProtocol proxy_protocol;
  HeaderEdits headers;                   // of the request to the replica
  HeaderEdits response_headers;          // of the answer to the client, muster's own answers too
  std::vector<Network> trusted_proxies;  // whose X-Forwarded-* is believed
  AccessLogFormat access_log = AccessLogFormat::off;
  std::shared_ptr<const Tls> tls;  // null: plain

  [[nodiscard]] std::vector<std::string> apps() const;  // all it leads to, each once, `to` first
  [[nodiscard]] bool leads_to(std::string_view app_name) const;
  bool operator==(const Listener&) const;  // positions are not compared
};

enum class LogLevel { debug, info, warn, error };

enum class OnCrash {
  stop,  // the replicas end with it
  keep   // they live on, and the next daemon takes them over
};

struct Daemon {
  int threads = 0;  // 0 = auto: one per core
  std::uint16_t port_range_first = 20000;
  std::uint16_t port_range_last = 29999;
  LogLevel log_level = LogLevel::info;
  std::uint64_t log_budget_bytes = 1U << 30U;
  bool watch_spec = false;           // resolved by mode: true in `up` when not given
  OnCrash on_crash = OnCrash::keep;  // resolved by mode: stop in `up` when not given
  bool operator==(const Daemon&) const = default;
};

enum class Overlap {
  forbid,  // a run that is due while another is under way is left out
  allow,
  replace  // the one under way is stopped first
};

// A program that runs to its end.
struct Job {
  App task;                              // what each run is, as an app of one replica; its name is the job's
  std::optional<Cron> schedule;          // none: once per start of the daemon, or before rollouts
  std::string timezone;                  // as written; empty: the host's
  std::shared_ptr<const TimeZone> zone;  // of the schedule, as its file said when the spec was read
  std::optional<Millis> timeout;         // of one try
  Overlap overlap = Overlap::forbid;
  int retries = 0;                  // tries after the first
  std::vector<std::string> before;  // apps whose new revisions wait for a run that succeeds
  [[nodiscard]] const std::string& name() const { return task.name; }
  [[nodiscard]] bool runs_at_start() const { return !schedule && before.empty(); }
  bool operator==(const Job&) const;
};

struct Spec {
  std::string path;                 // real path of the main file
  std::string folder;               // its folder: `dir`, relative paths
  std::vector<App> apps;            // sorted by name
  std::vector<Listener> listeners;  // sorted by name
  std::vector<Job> jobs;            // sorted by name; none is called as an app is
  Daemon daemon;
  std::vector<std::string> files;  // every file read (main, includes): what a watch must follow
  std::vector<std::string> env_files;
  std::vector<std::string> tls_files;  // certificates and keys

  [[nodiscard]] const App* find_app(std::string_view name) const;
  [[nodiscard]] const Listener* find_listener(std::string_view name) const;
  [[nodiscard]] const Job* find_job(std::string_view name) const;
};

}  // namespace muster::spec
