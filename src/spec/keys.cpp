#include "spec/keys.h"

#include <algorithm>
#include <array>
#include <vector>

namespace muster::spec {

namespace {

constexpr bool later = false;  // known, and refused until it is built

constexpr std::array table{
    KeyRow{Section::top, "include", "[glob]", "[]", "Files that are merged into this one."},
    KeyRow{
        Section::top, "defaults", "table", "{}",
        "Keys of an app that hold for every app, and those it shares with a job for every job, that does not "
        "say otherwise."},
    KeyRow{Section::top, "app", "table", "{}", "[app.NAME]: a program and how many of it run."},
    KeyRow{Section::top, "listen", "table", "{}",
           "[listen.NAME]: an address and the app that answers there."},
    KeyRow{Section::top, "daemon", "table", "{}", "muster itself."},
    KeyRow{Section::top, "job", "table", "{}",
           "[job.NAME]: a program that runs to its end, by schedule or before a rollout."},

    KeyRow{Section::app, "run", "string or [string]", "required",
           "The program and its arguments; no shell runs it."},
    KeyRow{Section::app, "replicas", "0..1000", "1", "How many of it run."},
    KeyRow{Section::app, "port", "integer, \"auto\", \"unix\", \"none\"",
           "\"auto\" where {port} or a listener uses it",
           "An integer p gives replica i the port p+i; auto gives each process one of daemon.port_range; "
           "with unix "
           "{port} is the path of a socket."},
    KeyRow{Section::app, "ports", "table name -> integer or \"auto\"", "{}", "Further ports, {port.NAME}."},
    KeyRow{Section::app, "listen", "\"addr:port\", integer, \"tcp://addr:port\", \"unix:/path\", list",
           "none", "Short form of a [listen.NAME] to this app; bare means HTTP, an integer means 127.0.0.1."},
    KeyRow{Section::app, "health",
           "\"/path\", \"tcp\", \"cmd ...\", \"notify\", \"log:REGEX\", \"none\", table",
           "tcp on the port, else alive for 1s", "Readiness: gates traffic and `after`, never kills."},
    KeyRow{Section::app, "live", "as health", "none",
           "Liveness: a replica that falls is restarted, one of an app at once."},
    KeyRow{Section::app, "watchdog", "duration", "none",
           "A replica that sends no WATCHDOG=1 for this long is restarted."},
    KeyRow{Section::app, "after", "[app] or table app -> ready, started, completed, completed-ok", "[]",
           "What must be so before the first start of this app."},
    KeyRow{Section::app, "restart", "\"always\", \"on-failure\", \"never\", table", "\"always\"",
           "What an exit leads to."},
    KeyRow{Section::app, "stop", "table", "{}",
           "How a replica ends: out of rotation, drained, signalled, killed."},
    KeyRow{Section::app, "update", "table", "{}", "How a new revision is rolled out."},
    KeyRow{Section::app, "env", "table", "{}", "Environment variables."},
    KeyRow{Section::app, "env_file", "path or [path]", "none",
           "Files of NAME=VALUE lines; `env` wins over them."},
    KeyRow{Section::app, "dir", "path", "the spec's folder", "Working directory."},
    KeyRow{Section::app, "shell", "bool", "false",
           "`run` is a script of sh -c; variables like {port} are quoted into it."},
    KeyRow{Section::app, "inherit_env", "bool or [name]", "true in `up`, false in `daemon`",
           "What a replica gets of muster's own environment."},
    KeyRow{Section::app, "user", "string", "muster's own", "Who it runs as."},
    KeyRow{Section::app, "group", "string", "the user's", "Its primary group."},
    KeyRow{Section::app, "umask", "octal string", "\"022\"", "File mode creation mask."},
    KeyRow{Section::app, "nice", "-20..19", "0", "Scheduling priority."},
    KeyRow{Section::app, "no_new_privs", "bool", "true in `daemon`, false in `up`",
           "No program it starts gains privileges."},
    KeyRow{Section::app, "volume", "\"NAME\" or table NAME -> \"DIRECTORY\" or table", "none",
           "A directory for each replica, kept for ever."},
    KeyRow{Section::app, "limits", "table", "{}", "What it may use."},
    KeyRow{Section::app, "scale", "table", "off", "As many replicas as the load needs."},
    KeyRow{Section::app, "log", "table", "{}", "Its log files."},
    KeyRow{Section::app, "watch", "[glob]", "[]", "In `up`: a change of these files restarts it."},
    KeyRow{Section::app, "image", "string", "none", "Image name for exports.", later},

    KeyRow{Section::health, "http", "path", "none", "GET of this path on the replica's port."},
    KeyRow{Section::health, "tcp", "bool", "false", "The replica's port accepts a connection."},
    KeyRow{Section::health, "cmd", "string or [string]", "none",
           "This command exits with 0 within `timeout`."},
    KeyRow{Section::health, "notify", "bool", "false", "The replica sends READY=1 by sd_notify."},
    KeyRow{Section::health, "log", "regex", "none", "A line of its output matches."},
    KeyRow{Section::health, "every", "duration", "2s; live: 10s", "Pause between two probes."},
    KeyRow{Section::health, "timeout", "duration", "1s", "Longest wait for one probe."},
    KeyRow{Section::health, "fall", "1..1000", "3", "Failures in a row that make it unhealthy."},
    KeyRow{Section::health, "rise", "1..1000", "1 (2 after a fall)",
           "Successes in a row that make it healthy."},
    KeyRow{Section::health, "start", "duration", "60s",
           "A replica that is not ready by then is shown as such."},
    KeyRow{Section::health, "expect", "\"200-399\"", "\"200-399\"", "HTTP statuses that count as healthy."},

    KeyRow{Section::restart, "policy", "\"always\", \"on-failure\", \"never\"", "\"always\"",
           "Which exits lead to a new start."},
    KeyRow{Section::restart, "backoff", "duration", "1s",
           "Pause before the second restart; doubles with each further one."},
    KeyRow{Section::restart, "max_backoff", "duration", "60s", "Longest pause."},
    KeyRow{Section::restart, "jitter", "0..1", "0.25", "Up to this part of a pause is added to it."},
    KeyRow{Section::restart, "reset", "duration", "10m", "So long of unbroken readiness clears the backoff."},
    KeyRow{Section::restart, "max_restarts", "\"10 in 5m\" or \"none\"", "\"none\"",
           "More restarts than this in the window: failed."},
    KeyRow{Section::restart, "ok_codes", "[0..255]", "[0]", "Exit statuses that are no failure."},

    KeyRow{Section::stop, "drain", "duration", "30s, at most 2s in `up`",
           "Longest wait for requests in flight."},
    KeyRow{Section::stop, "signal", "signal name", "\"TERM\"", "Asks it to end."},
    KeyRow{Section::stop, "timeout", "duration", "10s", "From the signal to KILL."},
    KeyRow{Section::stop, "exec", "string or [string]", "none", "A command that runs before the signal."},

    KeyRow{Section::update, "strategy", "\"rolling\", \"recreate\", \"ordered\"",
           "\"rolling\"; \"ordered\" with a volume or a numbered port",
           "New processes beside old ones; all old ones end first; one ordinal after the other from the "
           "highest."},
    KeyRow{Section::update, "surge", "0..1000 or \"25%\"", "\"25%\"",
           "Processes of the new revision beyond `replicas`; a share is rounded up."},
    KeyRow{Section::update, "unavailable", "0..1000 or \"25%\"", "\"25%\"",
           "Replicas that may be missing meanwhile; a share is rounded down, 1 where the surge is 0 too."},
    KeyRow{Section::update, "min_ready", "duration", "0s",
           "A new replica counts once it was ready for so long."},
    KeyRow{Section::update, "deadline", "duration", "10m",
           "Without a further replica that counts for so long a revision has failed."},
    KeyRow{Section::update, "rollback", "bool", "true",
           "A revision that failed goes back to the last one that was ready."},

    KeyRow{Section::scale, "min", "0..1000", "1",
           "Never fewer replicas; 0: the first request starts one, none is left after a window without any."},
    KeyRow{Section::scale, "max", "1..1000", "required", "Never more replicas."},
    KeyRow{Section::scale, "cpu", "1..1000", "none",
           "Target of the CPU use of a replica, in percent of limits.cpu, else of one core."},
    KeyRow{Section::scale, "in_flight", "1..100000", "none",
           "Target of the requests (tcp: connections) that a replica has at once."},
    KeyRow{Section::scale, "memory", "1..100", "none",
           "Target of the memory of a replica, in percent of limits.memory."},
    KeyRow{Section::scale, "window", "duration", "5m",
           "Replicas end only when they were not needed for so long."},
    KeyRow{Section::scale, "cooldown", "duration", "0s", "So long after a change there is no other."},

    KeyRow{Section::volume, "mode", "octal string", "\"0700\"", "Mode of the directory when it is made."},
    KeyRow{Section::volume, "path", "path", "the state folder",
           "The folder that holds the replicas' directories."},
    KeyRow{Section::volume, "size", "size", "none",
           "Room that a replica may fill: enforced where the file system has project quotas, else watched."},

    KeyRow{Section::limits, "files", "integer", "none", "Open files of a process (RLIMIT_NOFILE)."},
    KeyRow{Section::limits, "core", "size", "none", "Size of a core dump (RLIMIT_CORE)."},
    KeyRow{Section::limits, "memory", "size", "none",
           "Memory of a replica as a whole; above it the replica is ended. Applies live."},
    KeyRow{Section::limits, "cpu", "0.01..1024", "none",
           "Processors of a replica as a whole: 0.5 is half of one. Applies live."},
    KeyRow{Section::limits, "pids", "1..4194304", "none",
           "Processes and threads of a replica as a whole. Applies live."},

    KeyRow{Section::log, "rotate", "size", "10MiB", "A log file of this size makes room for the next."},
    KeyRow{Section::log, "keep", "0..1000", "5", "How many full files stay."},
    KeyRow{Section::log, "format", "\"text\", \"json\", \"raw\"", "\"text\"",
           "What a line of the file looks like."},

    KeyRow{Section::listen, "bind", "address or [address]", "required",
           "\"addr:port\", \"unix:/path\", \"systemd:NAME\"."},
    KeyRow{Section::listen, "mode", "\"http\", \"tcp\"", "\"http\"",
           "What is balanced: requests or connections."},
    KeyRow{Section::listen, "to", "app", "required without routes",
           "The app whose replicas answer what no route matches."},
    KeyRow{Section::listen, "balance",
           "\"round-robin\", \"least-conn\", \"p2c\", \"hash:client|path|header:N|cookie:N\"",
           "\"round-robin\"", "Which replica is next."},
    KeyRow{Section::listen, "timeout", "table", "{}", "Longest waits."},
    KeyRow{Section::listen, "retries", "0..10", "2", "Further replicas that a request may be tried on."},
    KeyRow{Section::listen, "queue", "table", "{}", "Where requests wait while no replica is ready or free."},
    KeyRow{Section::listen, "body_max", "size", "none", "Largest body of a request; 413 above."},
    KeyRow{Section::listen, "route", "[table]", "none",
           "Apps by host and path: the most exact host, then the longest path."},
    KeyRow{Section::listen, "sticky", "table", "none",
           "A client stays with the replica that answered it first."},
    KeyRow{Section::listen, "eject", "table or false", "{}",
           "Replicas that fail again and again are left out for a while."},
    KeyRow{Section::listen, "max_conns", "1..10000000", "none",
           "Connections at once; further ones wait in the kernel's backlog."},
    KeyRow{Section::listen, "max_in_flight", "1..10000000", "none",
           "Requests (tcp: connections) at once at each replica; further ones wait in the queue."},
    KeyRow{Section::listen, "proxy_protocol", "table", "none",
           "Who the client is, in front of the stream: of another proxy, or for the replicas."},
    KeyRow{Section::listen, "headers", "table", "none", "Header fields of the request to the replica."},
    KeyRow{Section::listen, "response_headers", "table", "none", "Header fields of the answer."},
    KeyRow{Section::listen, "trusted_proxies", "network or [network]", "none",
           "Whose X-Forwarded-For, -Proto and -Host are believed."},
    KeyRow{Section::listen, "access_log", "\"off\", \"common\", \"combined\", \"json\"", "\"off\"",
           "A line for each request (tcp: for each connection) in access-NAME.log among the logs."},
    KeyRow{Section::listen, "tls", "table", "none",
           "What the listener encrypts with; without it, it does not."},
    KeyRow{Section::listen, "http2", "bool", "false", "HTTP/2.", later},
    KeyRow{Section::listen, "compress", "bool", "false", "Compressed answers.", later},
    KeyRow{Section::listen, "rate", "table", "none", "Requests per client and time.", later},

    KeyRow{Section::route, "host", "\"example.org\", \"*.example.org\"", "any",
           "Host of the request, without a port."},
    KeyRow{Section::route, "path", "\"/path\"", "\"/\"", "Whole segments at the beginning of the path."},
    KeyRow{Section::route, "to", "app", "none", "The app whose replicas answer."},
    KeyRow{Section::route, "weight", "0..1000", "1",
           "Share of the requests among routes of the same host and path."},
    KeyRow{Section::route, "redirect", "\"https://{host}{uri}\"", "none",
           "Where the client is sent, by 308."},
    KeyRow{Section::route, "respond", "table", "none", "An answer without a replica."},
    KeyRow{Section::route, "timeout", "duration or table", "the listener's",
           "As the listener's `timeout`; a duration is that of the response."},

    KeyRow{Section::respond, "status", "200..599", "200", "Status code."},
    KeyRow{Section::respond, "body", "string", "\"\"", "What is sent."},
    KeyRow{Section::respond, "type", "string", "\"text/plain; charset=utf-8\"", "Its Content-Type."},

    KeyRow{Section::headers, "set", "table name -> value", "{}", "In place of all fields of this name."},
    KeyRow{Section::headers, "add", "table name -> value or [value]", "{}", "Beside those that are there."},
    KeyRow{Section::headers, "remove", "name or [name]", "[]", "Left out."},

    KeyRow{Section::tls, "cert", "path or [path]", "required",
           "PEM files: a certificate and what leads to its root. Chosen by the name the client asks for."},
    KeyRow{Section::tls, "key", "path or [path]", "required",
           "PEM files: the private key of each, in order."},
    KeyRow{Section::tls, "min", "\"1.2\", \"1.3\"", "\"1.2\"", "The oldest version of TLS that is spoken."},
    KeyRow{Section::tls, "client_ca", "path", "none",
           "PEM file: only clients with a certificate of one of these authorities are served."},

    KeyRow{Section::timeout, "connect", "duration", "1s", "For a connection to a replica."},
    KeyRow{Section::timeout, "head", "duration", "10s", "For the head of a request; for a TLS handshake."},
    KeyRow{Section::timeout, "idle", "duration", "60s", "Between two requests of a client."},
    KeyRow{Section::timeout, "keepalive", "duration", "4s",
           "How long an idle connection to a replica is used again."},
    KeyRow{Section::timeout, "response", "duration", "30s", "For a replica's answer to begin."},
    KeyRow{Section::timeout, "tunnel", "duration", "1h", "Between two bytes of a tunnel."},
    KeyRow{Section::timeout, "send", "duration", "30s", "For a peer to take what it is sent."},

    KeyRow{Section::sticky, "cookie", "string", "required", "Name of the cookie that says which replica."},

    KeyRow{Section::eject, "fails", "1..1000", "5", "Failures in a row."},
    KeyRow{Section::eject, "time", "duration", "30s", "For how long."},

    KeyRow{Section::queue, "size", "0..1000000", "1024", "Requests that may wait."},
    KeyRow{Section::queue, "timeout", "duration", "5s", "How long one waits."},

    KeyRow{Section::proxy_protocol, "in", "bool", "false",
           "Every connection begins with a header, v1 or v2; its client is the client. Others are closed."},
    KeyRow{Section::proxy_protocol, "out", "\"v1\", \"v2\"", "none",
           "Each connection to a replica begins with this header."},

    KeyRow{Section::job, "run", "string or [string]", "required",
           "The program and its arguments; no shell runs it."},
    KeyRow{Section::job, "schedule", "\"30 2 * * *\", \"@daily\"", "none",
           "When it is due, as in crontab(5). Without it: once per start of the daemon, or `before` apps."},
    KeyRow{Section::job, "timezone", "\"Europe/Berlin\"", "the host's", "Whose clocks the schedule goes by."},
    KeyRow{Section::job, "timeout", "duration", "none",
           "A try that takes longer is stopped, and has failed."},
    KeyRow{Section::job, "overlap", "\"forbid\", \"allow\", \"replace\"", "\"forbid\"",
           "What a run does that is due while another is under way."},
    KeyRow{Section::job, "retries", "0..1000", "0",
           "Further tries of a run that failed, with growing pauses."},
    KeyRow{Section::job, "after", "[app] or table app -> ready, started, completed, completed-ok", "[]",
           "What must be so before the first run."},
    KeyRow{Section::job, "before", "app or [app]", "[]",
           "Apps whose new revisions start only after a run of this job that succeeded."},
    KeyRow{Section::job, "stop", "table", "{}", "How a run is stopped: command, signal, then killed."},
    KeyRow{Section::job, "env", "table", "{}", "Environment variables."},
    KeyRow{Section::job, "env_file", "path or [path]", "none",
           "Files of NAME=VALUE lines; `env` wins over them."},
    KeyRow{Section::job, "dir", "path", "the spec's folder", "Working directory."},
    KeyRow{Section::job, "shell", "bool", "false",
           "`run` is a script of sh -c; variables like {volume} are quoted into it."},
    KeyRow{Section::job, "inherit_env", "bool or [name]", "true in `up`, false in `daemon`",
           "What a run gets of muster's own environment."},
    KeyRow{Section::job, "user", "string", "muster's own", "Who it runs as."},
    KeyRow{Section::job, "group", "string", "the user's", "Its primary group."},
    KeyRow{Section::job, "umask", "octal string", "\"022\"", "File mode creation mask."},
    KeyRow{Section::job, "nice", "-20..19", "0", "Scheduling priority."},
    KeyRow{Section::job, "no_new_privs", "bool", "true in `daemon`, false in `up`",
           "No program it starts gains privileges."},
    KeyRow{Section::job, "volume", "\"NAME\" or table NAME -> \"DIRECTORY\" or table", "none",
           "A directory that outlives the runs."},
    KeyRow{Section::job, "limits", "table", "{}", "What it may use."},
    KeyRow{Section::job, "log", "table", "{}", "Its log files."},

    KeyRow{Section::daemon, "threads", "1..1024 or \"auto\"", "\"auto\"",
           "Traffic threads; auto means one for each processor."},
    KeyRow{Section::daemon, "port_range", "\"20000-29999\"", "\"20000-29999\"",
           "Where automatic ports come from."},
    KeyRow{Section::daemon, "log_level", "\"debug\", \"info\", \"warn\", \"error\"", "\"info\"",
           "What muster itself logs."},
    KeyRow{Section::daemon, "log_budget", "size", "1GiB", "Room for the logs of all apps."},
    KeyRow{Section::daemon, "watch_spec", "bool", "true in `up`, false in `daemon`",
           "A saved change takes effect by itself."},
    KeyRow{Section::daemon, "on_crash", "\"keep\", \"stop\"", "\"keep\"; \"stop\" in `up`",
           "What becomes of the replicas when muster itself dies: the next daemon takes them over, or they "
           "end with "
           "it. Counts from the next start of the daemon."},
    KeyRow{Section::daemon, "metrics", "address", "off", "Where metrics are served.", later},
    KeyRow{Section::daemon, "dashboard", "address", "off", "Where the dashboard is served.", later},
};

// Names longer than this are nobody's misspelling, and comparing them costs the product of the lengths.
constexpr std::size_t compared_chars_max = 40;

// Letters to change, add or leave out, or neighbours to swap.
std::size_t edits_between(std::string_view one, std::string_view other) {
  std::vector<std::size_t> before;  // the row above the one above
  std::vector<std::size_t> above;
  std::vector<std::size_t> row(other.size() + 1);
  for (std::size_t j = 0; j < row.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= one.size(); ++i) {
    before = std::move(above);
    above = row;
    row[0] = i;
    for (std::size_t j = 1; j <= other.size(); ++j) {
      const std::size_t change = above[j - 1] + (one[i - 1] == other[j - 1] ? 0 : 1);
      row[j] = std::min({change, above[j] + 1, row[j - 1] + 1});
      const bool swapped = i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1];
      if (swapped) row[j] = std::min(row[j], before[j - 2] + 1);
    }
  }
  return row.back();
}

std::string_view where_it_belongs(Section section) {
  switch (section) {
    case Section::top:
      return "the top of the file";
    case Section::app:
      return "[app.NAME]";
    case Section::listen:
      return "[listen.NAME]";
    case Section::job:
      return "[job.NAME]";
    case Section::daemon:
      return "[daemon]";
    case Section::health:
      return "`health`";
    case Section::restart:
      return "`restart`";
    case Section::stop:
      return "`stop`";
    case Section::update:
      return "`update`";
    case Section::scale:
      return "`scale`";
    case Section::volume:
      return "`volume.NAME`";
    case Section::limits:
      return "`limits`";
    case Section::log:
      return "`log`";
    case Section::timeout:
      return "`timeout` of a listener";
    case Section::queue:
      return "`queue` of a listener";
    case Section::proxy_protocol:
      return "`proxy_protocol` of a listener";
    case Section::sticky:
      return "`sticky` of a listener";
    case Section::eject:
      return "`eject` of a listener";
    case Section::route:
      return "[[listen.NAME.route]]";
    case Section::respond:
      return "`respond` of a route";
    case Section::headers:
      return "`headers` and `response_headers` of a listener";
    case Section::tls:
      return "`tls` of a listener";
  }
  return "";
}

}  // namespace

std::span<const KeyRow> key_table() {
  return table;
}

const KeyRow* find_key(Section section, std::string_view name) {
  const auto* found = std::ranges::find_if(
      table, [&](const KeyRow& row) { return row.section == section && row.name == name; });
  return found == table.end() ? nullptr : found;
}

std::string suggest(std::string_view name, std::span<const std::string_view> candidates) {
  if (name.empty() || name.size() > compared_chars_max) return "";
  std::string_view best;
  std::size_t best_edits = std::min(std::max<std::size_t>(1, name.size() / 3), name.size() - 1) + 1;
  for (const std::string_view candidate : candidates) {
    // A word that was cut short or carried on is as likely as a slip: "replica", "environment".
    const bool cut = name.size() >= 3 && (candidate.starts_with(name) || name.starts_with(candidate));
    const std::size_t edits = cut ? 1 : edits_between(name, candidate);
    if (edits >= best_edits) continue;
    best = candidate;
    best_edits = edits;
  }
  return best.empty() ? "" : "did you mean '" + std::string(best) + "'?";
}

std::string suggest_key(Section section, std::string_view name) {
  std::vector<std::string_view> names;
  for (const KeyRow& row : table)
    if (row.section == section) names.push_back(row.name);
  std::string close = suggest(name, names);
  if (!close.empty()) return close;
  const auto* elsewhere = std::ranges::find(table, name, &KeyRow::name);
  if (elsewhere == table.end()) return "";
  return "'" + std::string(name) + "' belongs to " + std::string(where_it_belongs(elsewhere->section));
}

}  // namespace muster::spec
