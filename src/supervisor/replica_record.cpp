#include "supervisor/replica_record.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <limits>

#include "base/limits.h"
#include "supervisor/json_members.h"
#include "supervisor/revision_codec.h"
#include "supervisor/sealed_text.h"

namespace muster::supervisor {
namespace {

namespace json = boost::json;

constexpr Seal record_seal{.kind = "muster_replica",
                           .what = "a record of muster",
                           .version = 1,
                           .bytes_max = limits::state_file_bytes_max};
constexpr Seal life_seal{.kind = "muster_daemon",
                         .what = "a record of muster",
                         .version = 1,
                         .bytes_max = limits::state_file_bytes_max};
constexpr std::int64_t any = std::numeric_limits<std::int64_t>::max();

using Pairs = std::vector<std::pair<std::string, std::string>>;

json::array list_of(const Pairs& pairs) {
  json::array made;
  for (const auto& [name, value] : pairs) made.push_back(json::array{json::value(name), json::value(value)});
  return made;
}

std::optional<std::pair<std::string, std::uint16_t>> port_of(const json::value& entry) {
  const json::array* pair = entry.if_array();
  if (pair == nullptr || pair->size() != 2 || !pair->at(0).is_string()) return std::nullopt;
  const std::int64_t* number = pair->at(1).if_int64();
  if (number == nullptr || *number < 1 || *number > 65535) return std::nullopt;
  return std::pair(std::string(pair->at(0).get_string()), static_cast<std::uint16_t>(*number));
}

Result<json::value> parsed(const Seal& kind, std::string_view text) {
  const auto body = unseal(kind, text);
  if (!body) return body.error();
  boost::system::error_code error;
  json::value value = json::parse(json::string_view(body.value()), error);
  if (error) return Error{.message = "is damaged: it is no JSON"};
  return value;
}

RunMemo run_of(const json::value& value, JsonMembers& record) {
  JsonMembers members(&value);
  RunMemo run;
  run.why = members.text("why");
  run.tries = static_cast<int>(members.number("tries", 0, std::numeric_limits<int>::max()));
  const json::object* apps = members.object("before");
  for (const auto& entry : apps == nullptr ? json::object() : *apps) {
    const std::int64_t* number = entry.value().if_int64();
    if (number == nullptr || *number < 1 || *number > std::numeric_limits<std::uint32_t>::max()) {
      members.wrong("before", "has an entry that is no revision");
    } else {
      run.before[std::string(entry.key())] = Revision{static_cast<std::uint32_t>(*number)};
    }
  }
  if (!members.error().empty()) record.wrong("run", "is wrong: " + members.error());
  return run;
}

// As wait(2) has it; whether it was for want of memory is beside it.
json::object exit_to_json(const ExitStatus& status) {
  json::object made;
  if (status.code) made["code"] = *status.code;
  if (status.signal) made["signal"] = *status.signal;
  if (status.core) made["core"] = true;
  if (status.oom) made["oom"] = true;
  return made;
}

std::optional<ExitStatus> exit_of(const json::value& value, std::string& error) {
  JsonMembers members(&value);
  ExitStatus status;
  if (members.has("code")) status.code = static_cast<int>(members.number("code", 0, 255));
  if (members.has("signal")) status.signal = static_cast<int>(members.number("signal", 1, 127));
  status.core = members.flag_or_not("core");
  status.oom = members.flag_or_not("oom");
  error = members.error();
  return status;
}

}  // namespace

std::string encode_record(const ReplicaRecord& record) {
  const LivingProcess& process = record.process;
  json::object made;
  made["instance"] = raw(process.instance);
  made["name"] = process.replica.app;
  made["ordinal"] = process.replica.ordinal;
  made["revision"] = raw(process.revision);
  made["starts"] = process.starts;
  made["settings"] = settings_to_json(*process.app);
  json::array ports;
  for (const auto& [name, port] : process.ports)
    ports.push_back(json::array{json::value(name), json::value(port)});
  made["ports"] = std::move(ports);
  made["socket"] = process.socket;
  if (process.run) {
    json::object before;
    for (const auto& [app, revision] : process.run->before) before[app] = raw(revision);
    made["run"] = {{"why", process.run->why}, {"tries", process.run->tries}, {"before", std::move(before)}};
  }
  made["boot_id"] = record.boot_id;
  made["cgroup"] = record.cgroup;
  made["token"] = record.token;
  made["replicas"] = record.replicas;
  made["addresses"] = list_of(record.addresses);
  made["volumes"] = list_of(record.volumes);
  made["notify_socket"] = record.notify_socket;
  return seal(record_seal, json::serialize(made) + "\n");
}

Result<ReplicaRecord> decode_record(std::string_view text) {
  const auto value = parsed(record_seal, text);
  if (!value) return value.error();
  JsonMembers members(&value.value());
  ReplicaRecord record;
  LivingProcess& process = record.process;
  process.instance = InstanceId{static_cast<std::uint64_t>(members.number("instance", 1, any))};
  process.replica.app = members.text("name");
  process.replica.ordinal = static_cast<int>(members.number("ordinal", 0, limits::replicas_max));
  process.revision = Revision{
      static_cast<std::uint32_t>(members.number("revision", 0, std::numeric_limits<std::uint32_t>::max()))};
  process.starts = static_cast<int>(members.number("starts", 0, std::numeric_limits<int>::max()));
  process.ports = members.list_of<std::pair<std::string, std::uint16_t>>("ports", port_of);
  process.socket = members.text("socket");
  record.boot_id = members.text("boot_id");
  record.cgroup = members.text("cgroup");
  record.token = members.text("token");
  record.replicas = static_cast<int>(members.number("replicas", 0, limits::replicas_max));
  record.addresses = members.pairs("addresses");
  record.volumes = members.pairs("volumes");
  record.notify_socket = members.text("notify_socket");
  if (members.has("run")) process.run = run_of(*members.find("run"), members);
  const json::value* settings = members.find("settings");
  if (!members.error().empty()) return Error{.message = "is damaged: " + members.error()};
  auto app = settings_from_json(process.replica.app, *settings);
  if (!app) return Error{.message = "is damaged: in 'settings' " + app.error().message};
  process.app = std::make_shared<const spec::App>(std::move(app.value()));
  return record;
}

std::string encode_mark(const ReplicaRecord& record) {
  const ReplicaMark& mark = record.process.mark;
  json::object made;
  made["pid"] = record.process.pid;
  made["ticks"] = record.start_ticks;
  made["started_ms"] = to_file_ms(record.process.started);
  made["started"] = mark.started;
  made["was_ready"] = mark.was_ready;
  made["fit"] = mark.fit;
  made["stopping"] = mark.stopping;
  made["outdated"] = mark.outdated;
  made["address"] = mark.address;
  if (record.process.exit) made["exit"] = exit_to_json(*record.process.exit);
  std::string line = json::serialize(made);
  line.resize(mark_line_bytes - 1, ' ');
  return line + "\n";
}

bool decode_mark(std::string_view line, ReplicaRecord& record) {
  if (line.size() != mark_line_bytes) return false;
  boost::system::error_code error;
  const json::value value = json::parse(json::string_view(line), error);
  if (error) return false;
  JsonMembers members(&value);
  ReplicaMark mark;
  const auto pid = static_cast<int>(members.number("pid", 1, std::numeric_limits<int>::max()));
  const auto ticks = static_cast<std::uint64_t>(members.number("ticks", 1, any));
  const WallTime started = members.time("started_ms");
  mark.started = members.flag("started");
  mark.was_ready = members.flag("was_ready");
  mark.fit = members.flag("fit");
  mark.stopping = members.flag("stopping");
  mark.outdated = members.flag("outdated");
  mark.address = members.text("address");
  // Whoever listens at another one is no replica, and would get its requests.
  if (mark.address != "127.0.0.1" && mark.address != "::1") members.wrong("address", "is not this host");
  std::optional<ExitStatus> exit;
  std::string wrong_exit;
  if (members.has("exit")) exit = exit_of(*members.find("exit"), wrong_exit);
  if (!members.error().empty() || !wrong_exit.empty()) return false;
  record.process.exit = exit;
  record.process.pid = pid;
  record.process.started = started;
  record.process.mark = std::move(mark);
  record.start_ticks = ticks;
  return true;
}

std::string encode_life(const DaemonLife& life) {
  json::object made;
  made["boot_id"] = life.boot_id;
  made["token"] = life.token;
  made["cgroups"] = json::array(life.cgroups.begin(), life.cgroups.end());
  return seal(life_seal, json::serialize(made) + "\n");
}

Result<DaemonLife> decode_life(std::string_view text) {
  const auto value = parsed(life_seal, text);
  if (!value) return value.error();
  JsonMembers members(&value.value());
  DaemonLife life;
  life.boot_id = members.text("boot_id");
  life.token = members.text("token");
  life.cgroups = members.list_of<std::string>("cgroups", [](const json::value& entry) {
    return entry.is_string() ? std::optional(std::string(entry.get_string())) : std::nullopt;
  });
  if (!members.error().empty()) return Error{.message = "is damaged: " + members.error()};
  return life;
}

}  // namespace muster::supervisor
