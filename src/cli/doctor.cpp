// `doctor`: what this host can do, and for each thing that is missing what that costs.
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "boost/json.hpp"
#include "cli/commands_run.h"
#include "cli/doctor_volumes.h"
#include "cli/json_view.h"
#include "cli/output.h"
#include "cli/tables.h"
#include "fmt/core.h"
#include "supervisor/cgroup_controllers.h"
#include "supervisor/cgroup_tree.h"
#include "supervisor/text.h"

namespace muster::cli {

namespace fs = std::filesystem;
namespace json = boost::json;

namespace {

enum class Health { good, costs, broken };

struct Finding {
  std::string what;
  Health health = Health::good;
  std::string found;
  std::string cost;  // what does not work because of it; empty when all is well
};

std::string word(Health health) {
  switch (health) {
    case Health::good:
      return "ok";
    case Health::costs:
      return "note";
    case Health::broken:
      return "BAD";
  }
  return "";
}

Colour colour_of(Health health) {
  switch (health) {
    case Health::good:
      return Colour::green;
    case Health::costs:
      return Colour::yellow;
    case Health::broken:
      return Colour::red;
  }
  return Colour::none;
}

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

Finding kernel() {
  utsname name{};
  int major = 0;
  int minor = 0;
  if (::uname(&name) != 0 || std::sscanf(name.release, "%d.%d", &major, &minor) != 2)
    return {"kernel", Health::costs, "unknown", "5.9 or later is needed"};
  const bool enough = major > 5 || (major == 5 && minor >= 9);
  if (!enough)
    return {"kernel", Health::broken, name.release,
            "5.9 or later is needed: pidfds, close_range(2), clone3(2)"};
  if (major == 5 && minor < 14)
    return {"kernel", Health::costs, name.release,
            "no cgroup.kill before 5.14: replicas are kept together by session and token"};
  return {"kernel", Health::good, name.release, ""};
}

// Made and removed again: whether it can be done is only known by doing it. "" or the reason.
std::string try_group(const std::string& parent) {
  const std::string group = fmt::format("{}/muster-doctor-{}", parent, ::getpid());
  if (::mkdir(group.c_str(), 0755) != 0) return fmt::format("{}: {}", parent, errno_text(errno));
  const bool can_kill = ::access((group + "/cgroup.kill").c_str(), W_OK) == 0;
  ::rmdir(group.c_str());
  return can_kill ? "" : parent + ": no cgroup.kill";
}

Finding control_groups() {
  std::string reasons;
  const auto folders = supervisor::own_cgroup_folders();
  if (!folders) reasons = folders.error().message;
  for (const std::string& parent : folders ? folders.value() : std::vector<std::string>()) {
    const std::string reason = try_group(parent);
    if (reason.empty()) return {"cgroup v2", Health::good, "groups can be made in " + parent, ""};
    reasons += (reasons.empty() ? "" : "; ") + reason;
  }
  return {
      "cgroup v2", Health::costs, reasons.empty() ? "not mounted" : reasons,
      "replicas are kept together by session, subreaper and token instead: a process that changes both its "
      "session and its environment can escape; memory is a sum of RSS"};
}

Finding daemon(const Context& context) {
  const auto client = find_daemon(context);
  if (!client) return {"daemon", Health::good, "none answers here", ""};
  const auto answer = client.value().get("/v1/version", std::chrono::seconds(5));
  if (!answer || answer.value().status != 200)
    return {"daemon", Health::broken, client.value().path(),
            answer ? refusal(answer.value()).message : answer.error().message};
  const auto parsed = parse_object(answer.value().body);
  if (!parsed) return {"daemon", Health::broken, client.value().path(), parsed.error().message};
  const JsonView view(&parsed.value());
  const std::string containment = view["containment"].text();
  const std::string found =
      fmt::format("{}, pid {}, at {}, processes kept together by {}", view["version"].text(),
                  view["pid"].whole().value_or(0), client.value().path(), containment);
  if (view["version"].text() != MUSTER_VERSION)
    return {"daemon", Health::costs, found,
            fmt::format("this program is {}: restart the daemon", MUSTER_VERSION)};
  if (!containment.starts_with("cgroup"))
    return {"daemon", Health::costs, found,
            "a replica's process that changes its environment and session can escape"};
  return {"daemon", Health::good, found, ""};
}

// What a missing controller costs, and what brings it.
std::string cost_of(supervisor::LimitKind kind, const std::string& why) {
  constexpr std::string_view what_to_do =
      "; what helps: cgroup v2 alone on this host, and muster as a unit with Delegate=yes (or in "
      "`systemd-run --scope "
      "-p Delegate=yes`)";
  std::string text = why + ": ";
  switch (kind) {
    case supervisor::LimitKind::memory:
      text += "limits.memory is looked after once a second only, as a sum of RSS";
      break;
    case supervisor::LimitKind::cpu:
      text += "limits.cpu is not enforced";
      break;
    case supervisor::LimitKind::pids:
      text +=
          "limits.pids is looked after once a second only; by RLIMIT_NPROC where a single replica has a user "
          "of "
          "its own";
      break;
  }
  return text.append(what_to_do);
}

Finding limit(supervisor::LimitKind kind, const std::string& why, std::string_view where) {
  const std::string what = fmt::format("limit {}", supervisor::to_string(kind));
  if (why.empty()) return {what, Health::good, fmt::format("enforced by the kernel {}", where), ""};
  return {what, Health::costs, fmt::format("no controller {}", where), cost_of(kind, why)};
}

// What the daemon has found, where there is one; else what one would find here.
std::vector<Finding> limits_of(const Context& context) {
  std::vector<Finding> findings;
  if (const auto client = find_daemon(context)) {
    const auto answer = client.value().get("/v1/version", std::chrono::seconds(5));
    const auto parsed = parse_object(answer && answer.value().status == 200 ? answer.value().body : "");
    if (parsed && parsed.value().as_object().contains("limits")) {
      const JsonView limits = JsonView(&parsed.value())["limits"];
      for (const supervisor::LimitKind kind : supervisor::limit_kinds)
        findings.push_back(
            limit(kind, limits[supervisor::to_string(kind)].text(), "for the daemon's replicas"));
      return findings;
    }
  }
  const auto found = supervisor::own_cgroup_folders();
  const std::vector<std::string> folders = found ? found.value() : std::vector<std::string>();
  const auto report =
      folders.empty() ? supervisor::ControllerReport{} : supervisor::find_controllers(folders.front());
  for (const supervisor::LimitKind kind : supervisor::limit_kinds) {
    const std::string why = folders.empty() ? "cgroup v2 is not mounted" : report.why_not(kind);
    findings.push_back(limit(kind, why, "for replicas of a daemon that is started here"));
  }
  return findings;
}

Finding service_manager() {
  std::error_code problem;
  if (fs::is_directory("/run/systemd/system", problem))
    return {"systemd", Health::good, "runs this host", ""};
  return {"systemd", Health::costs, "not there",
          "nothing restarts `muster daemon` when it dies, unless your own manager does"};
}

Finding first_process() {
  const std::string name = first_line("/proc/1/comm");
  if (::getpid() == 1)
    return {"process 1", Health::costs, "muster itself", "orphans of other programs are not reaped"};
  if (name.empty()) return {"process 1", Health::good, "not shown", ""};
  return {"process 1", Health::good, name, ""};
}

Finding descriptors() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  const std::string found = fmt::format("soft {}, hard {}", limit.rlim_cur, limit.rlim_max);
  if (limit.rlim_max < 4096)
    return {"open files", Health::costs, found,
            fmt::format(
                "room for about {} connections at a time: each takes two; raise LimitNOFILE or ulimit -Hn",
                limit.rlim_max / 2)};
  return {"open files", Health::good, found, ""};
}

// CAP_NET_BIND_SERVICE is bit 10 of CapEff.
bool may_bind_low() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("CapEff:")) return (std::stoull(line.substr(7), nullptr, 16) >> 10U & 1U) != 0;
  }
  return ::geteuid() == 0;
}

Finding low_ports() {
  const std::string start = first_line("/proc/sys/net/ipv4/ip_unprivileged_port_start");
  if (may_bind_low()) return {"low ports", Health::good, "this user may bind all ports", ""};
  if (start == "0") return {"low ports", Health::good, "open to all users", ""};
  return {"low ports", Health::costs, fmt::format("only {} and above", start.empty() ? "1024" : start),
          "`listen` below that is refused: CAP_NET_BIND_SERVICE, a systemd socket, or the sysctl "
          "net.ipv4.ip_unprivileged_port_start"};
}

Finding proc_files() {
  if (first_line("/proc/self/stat").empty())
    return {"/proc", Health::broken, "not mounted",
            "whose port it is and what is left of a replica cannot be seen"};
  std::error_code problem;
  if (::geteuid() != 0 && !fs::exists("/proc/1/stat", problem))
    return {"/proc", Health::costs, "hides other users' processes (hidepid)",
            "who holds a port is not named when it is another user's process"};
  return {"/proc", Health::good, "shows all processes", ""};
}

Finding user() {
  if (::geteuid() == 0) return {"user", Health::good, "root: apps may have `user`", ""};
  return {"user", Health::costs, fmt::format("uid {}", ::geteuid()),
          "`user`, `group` and a negative `nice` need root"};
}

Finding volumes_in(const VolumeFolder& folder) {
  std::string found = folder.path + ": " + folder.found;
  if (folder.enforced) return {"volumes", Health::good, std::move(found), ""};
  return {"volumes", Health::costs, std::move(found),
          "`size` of a volume there is not enforced, only watched: mount ext4 (made with -O quota,project) "
          "or xfs "
          "with prjquota, and run muster as root"};
}

std::vector<Finding> examine(const Context& context) {
  std::vector<Finding> findings{kernel(),          control_groups(), proc_files(), first_process(),
                                service_manager(), descriptors(),    low_ports(),  user()};
  for (Finding& finding : limits_of(context)) findings.push_back(std::move(finding));
  for (const VolumeFolder& folder : volume_folders(context)) findings.push_back(volumes_in(folder));
  findings.push_back(daemon(context));
  return findings;
}

std::string as_json(const std::vector<Finding>& findings) {
  json::array rows;
  for (const Finding& one : findings) {
    rows.push_back(
        json::object{{"check", one.what},
                     {"state", one.health == Health::good    ? "ok"
                               : one.health == Health::costs ? "note"
                                                             : "bad"},
                     {"found", supervisor::escape_for_terminal(one.found)},
                     {"cost", one.cost.empty() ? json::value(nullptr)
                                               : json::value(supervisor::escape_for_terminal(one.cost))}});
  }
  return json::serialize(json::object{{"schema", 1}, {"checks", std::move(rows)}}) + "\n";
}

std::string as_text(const std::vector<Finding>& findings, bool colour) {
  std::string text;
  for (const Finding& one : findings) {
    text += fmt::format("{} {:<12}  {}\n",
                        coloured(fmt::format("{:<4}", word(one.health)), colour_of(one.health), colour),
                        one.what, supervisor::escape_for_terminal(one.found));
    if (!one.cost.empty())
      text += fmt::format("                   {}\n", supervisor::escape_for_terminal(one.cost));
  }
  return text;
}

}  // namespace

int run_doctor(const Context& context) {
  const std::vector<Finding> findings = examine(context);
  print(context.arguments.json() ? as_json(findings) : as_text(findings, colour_wanted(context.arguments)));
  for (const Finding& one : findings) {
    if (one.health == Health::broken) return code_of(ExitCode::failed);
  }
  return 0;
}

}  // namespace muster::cli
