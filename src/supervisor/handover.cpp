#include "supervisor/handover.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <charconv>
#include <limits>
#include <set>

#include "supervisor/sealed_text.h"

namespace muster::supervisor {
namespace {

namespace json = boost::json;

constexpr Seal handover_seal{
    .kind = "muster_handover",
    .what = "a handover of muster",
    .version = handover_version,
    .bytes_max = std::numeric_limits<std::size_t>::max()};  // as much as its connections have left
constexpr std::int64_t whole_max = std::numeric_limits<std::int64_t>::max();
constexpr int first_fd = 3;

// Bytes of anybody's: JSON knows only UTF-8.
std::string to_hex(std::string_view bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const char byte : bytes) {
    const auto number = static_cast<unsigned char>(byte);
    text += digits[number >> 4U];
    text += digits[number & 15U];
  }
  return text;
}

std::int64_t nanos_of(Instant instant) {
  return std::chrono::duration_cast<Nanos>(instant.time_since_epoch()).count();
}

template <typename Item, typename Convert>
json::array list(const std::vector<Item>& items, Convert convert) {
  json::array array;
  for (const Item& item : items) array.emplace_back(convert(item));
  return array;
}

json::array descriptors_to_json(const std::vector<Fd>& fds) {
  return list(fds, [](const Fd& fd) { return fd.get(); });
}

json::object peer_to_json(const lb::Peer& peer) {
  const std::string bytes(peer.bytes.begin(), peer.bytes.end());
  return {{"text", to_hex(peer.text)}, {"bytes", to_hex(bytes)}, {"known", peer.known}};
}

json::object record_to_json(const lb::TunnelRecord& record) {
  json::array texts;
  for (const std::string& text : record.texts) texts.emplace_back(to_hex(text));
  json::object object{{"is_stream", record.is_stream},
                      {"texts", std::move(texts)},
                      {"status", record.status},
                      {"tries", record.tries},
                      {"queued_ns", record.queued.count()},
                      {"connecting_ns", record.connecting.count()},
                      {"age_ns", record.age.count()},
                      {"bytes_in", record.bytes_in},
                      {"bytes_out", record.bytes_out}};
  if (record.first_byte) object["first_byte_ns"] = record.first_byte->count();
  return object;
}

json::object listener_to_json(const lb::HandedListener& listener) {
  return {{"bind", to_hex(listener.bind)},
          {"sockets", descriptors_to_json(listener.sockets)},
          {"file", listener.file}};
}

json::object client_to_json(const lb::HandedClient& client) {
  json::object object{{"fd", client.fd.get()},
                      {"bind", to_hex(client.bind)},
                      {"http", client.mode == spec::ListenMode::http},
                      {"address", peer_to_json(client.address)},
                      {"introduced", client.introduced},
                      {"unread", to_hex(client.unread)}};
  if (client.proxy_header) object["proxy_header"] = to_hex(*client.proxy_header);
  return object;
}

json::object endpoint_to_json(const lb::Endpoint& endpoint) {
  return {{"instance", raw(endpoint.instance)},
          {"label", to_hex(endpoint.label)},
          {"at", to_hex(endpoint.address)},
          {"port", endpoint.port},
          {"ordinal", endpoint.ordinal}};
}

json::object tunnel_to_json(const lb::HandedTunnel& tunnel) {
  return {{"client", tunnel.client.get()},
          {"replica", tunnel.replica.get()},
          {"bind", to_hex(tunnel.bind)},
          {"address", peer_to_json(tunnel.address)},
          {"endpoint", endpoint_to_json(tunnel.endpoint)},
          {"to_replica", to_hex(tunnel.to_replica)},
          {"to_client", to_hex(tunnel.to_client)},
          {"client_ended", tunnel.client_ended},
          {"replica_ended", tunnel.replica_ended},
          {"record", record_to_json(tunnel.record)}};
}

json::object pool_to_json(const lb::Pool& pool) {
  return {{"app", to_hex(pool.app)},
          {"paused", pool.paused},
          {"endpoints", list(pool.endpoints, endpoint_to_json)}};
}

// Reads what is there and remembers the first thing that is not as it must be.
class Reader {
 public:
  explicit Reader(Descriptors descriptors) : descriptors_(descriptors) {}

  [[nodiscard]] const std::string& error() const { return error_; }
  void fail(std::string what) {
    if (error_.empty()) error_ = std::move(what);
  }

  const json::object& object(const json::value* value, std::string_view what) {
    static const json::object empty;
    if (value != nullptr && value->is_object()) return value->get_object();
    fail(fmt::format("'{}' is not an object", what));
    return empty;
  }
  const json::array& array(const json::object& of, std::string_view key) {
    static const json::array empty;
    const json::value* const value = of.if_contains(key);
    if (value != nullptr && value->is_array()) return value->get_array();
    fail(fmt::format("'{}' is not a list", key));
    return empty;
  }
  std::int64_t whole(const json::object& of, std::string_view key, std::int64_t max = whole_max) {
    return whole(of.if_contains(key), key, max);
  }
  std::int64_t whole(const json::value* value, std::string_view key, std::int64_t max = whole_max) {
    std::int64_t number = -1;
    if (value != nullptr && value->is_int64()) number = value->get_int64();
    if (value != nullptr && value->is_uint64() &&
        value->get_uint64() <= static_cast<std::uint64_t>(whole_max))
      number = static_cast<std::int64_t>(value->get_uint64());
    if (number >= 0 && number <= max) return number;
    fail(fmt::format("'{}' is not a number from 0 to {}", key, max));
    return 0;
  }
  bool flag(const json::object& of, std::string_view key) {
    const json::value* const value = of.if_contains(key);
    if (value != nullptr && value->is_bool()) return value->get_bool();
    fail(fmt::format("'{}' is not true or false", key));
    return false;
  }
  std::string bytes(const json::object& of, std::string_view key) { return bytes(of.if_contains(key), key); }
  std::string bytes(const json::value* value, std::string_view key) {
    std::string text;
    const bool fits = value != nullptr && value->is_string() && value->get_string().size() % 2 == 0;
    const std::string_view hex = fits ? std::string_view(value->get_string()) : std::string_view();
    bool good = fits;
    text.reserve(hex.size() / 2);
    for (std::size_t i = 0; i < hex.size() && good; i += 2) {
      unsigned char byte = 0;
      const auto [end, problem] = std::from_chars(hex.data() + i, hex.data() + i + 2, byte, 16);
      good = problem == std::errc{} && end == hex.data() + i + 2;
      text += static_cast<char>(byte);
    }
    if (good) return text;
    fail(fmt::format("'{}' is not bytes as hexadecimal digits", key));
    return {};
  }
  // Each number once.
  Fd descriptor(const json::object& of, std::string_view key) { return descriptor(of.if_contains(key), key); }
  Fd descriptor(const json::value* value, std::string_view key) {
    const std::int64_t number = value != nullptr && value->is_int64() ? value->get_int64() : -1;
    const bool fits = number >= first_fd && number <= std::numeric_limits<int>::max();
    if (!fits || !seen_.insert(number).second) {
      fail(fmt::format("'{}' is not a descriptor of its own", key));
      return {};
    }
    return descriptors_ == Descriptors::owned ? Fd(static_cast<int>(number)) : Fd();
  }
  std::vector<Fd> descriptors(const json::object& of, std::string_view key) {
    std::vector<Fd> fds;
    for (const json::value& value : array(of, key)) fds.push_back(descriptor(&value, key));
    return fds;
  }

 private:
  const Descriptors descriptors_;
  std::string error_;
  std::set<std::int64_t> seen_;
};

lb::Peer read_peer(Reader& reader, const json::object& of) {
  const json::object& object = reader.object(of.if_contains("address"), "address");
  lb::Peer peer;
  peer.text = reader.bytes(object, "text");
  const std::string bytes = reader.bytes(object, "bytes");
  if (bytes.size() == peer.bytes.size()) {
    std::copy(bytes.begin(), bytes.end(), peer.bytes.begin());
  } else {
    reader.fail("'bytes' is not an address");
  }
  peer.known = reader.flag(object, "known");
  return peer;
}

lb::TunnelRecord read_record(Reader& reader, const json::object& of) {
  constexpr std::int64_t int_max = std::numeric_limits<int>::max();
  const json::object& object = reader.object(of.if_contains("record"), "record");
  lb::TunnelRecord record;
  record.is_stream = reader.flag(object, "is_stream");
  const json::array& texts = reader.array(object, "texts");
  if (texts.size() != record.texts.size()) reader.fail("'texts' is not what a line needs");
  for (std::size_t i = 0; i < record.texts.size() && i < texts.size(); ++i)
    record.texts[i] = reader.bytes(&texts[i], "texts");
  record.status = static_cast<int>(reader.whole(object, "status", int_max));
  record.tries = static_cast<int>(reader.whole(object, "tries", int_max));
  record.queued = Nanos(reader.whole(object, "queued_ns"));
  record.connecting = Nanos(reader.whole(object, "connecting_ns"));
  record.age = Nanos(reader.whole(object, "age_ns"));
  if (object.contains("first_byte_ns")) record.first_byte = Nanos(reader.whole(object, "first_byte_ns"));
  record.bytes_in = static_cast<std::uint64_t>(reader.whole(object, "bytes_in"));
  record.bytes_out = static_cast<std::uint64_t>(reader.whole(object, "bytes_out"));
  return record;
}

lb::HandedListener read_listener(Reader& reader, const json::object& object) {
  lb::HandedListener listener;
  listener.bind = reader.bytes(object, "bind");
  listener.sockets = reader.descriptors(object, "sockets");
  if (listener.sockets.empty()) reader.fail("'sockets' is empty");
  listener.file = static_cast<ino_t>(reader.whole(object, "file"));
  return listener;
}

lb::HandedClient read_client(Reader& reader, const json::object& object) {
  lb::HandedClient client;
  client.fd = reader.descriptor(object, "fd");
  client.bind = reader.bytes(object, "bind");
  client.mode = reader.flag(object, "http") ? spec::ListenMode::http : spec::ListenMode::tcp;
  client.address = read_peer(reader, object);
  client.introduced = reader.flag(object, "introduced");
  client.unread = reader.bytes(object, "unread");
  if (object.contains("proxy_header")) client.proxy_header = reader.bytes(object, "proxy_header");
  return client;
}

lb::Endpoint read_endpoint(Reader& reader, const json::object& object) {
  return {.instance = InstanceId{static_cast<std::uint64_t>(reader.whole(object, "instance"))},
          .label = reader.bytes(object, "label"),
          .address = reader.bytes(object, "at"),
          .port = static_cast<std::uint16_t>(reader.whole(object, "port", 65535)),
          .ordinal = static_cast<int>(reader.whole(object, "ordinal", 1'000'000))};
}

lb::Pool read_pool(Reader& reader, const json::object& object) {
  lb::Pool pool{.app = reader.bytes(object, "app"), .endpoints = {}, .paused = reader.flag(object, "paused")};
  for (const json::value& entry : reader.array(object, "endpoints"))
    pool.endpoints.push_back(read_endpoint(reader, reader.object(&entry, "endpoints")));
  return pool;
}

lb::HandedTunnel read_tunnel(Reader& reader, const json::object& object) {
  lb::HandedTunnel tunnel;
  tunnel.client = reader.descriptor(object, "client");
  tunnel.replica = reader.descriptor(object, "replica");
  tunnel.bind = reader.bytes(object, "bind");
  tunnel.address = read_peer(reader, object);
  tunnel.endpoint = read_endpoint(reader, reader.object(object.if_contains("endpoint"), "endpoint"));
  tunnel.to_replica = reader.bytes(object, "to_replica");
  tunnel.to_client = reader.bytes(object, "to_client");
  tunnel.client_ended = reader.flag(object, "client_ended");
  tunnel.replica_ended = reader.flag(object, "replica_ended");
  tunnel.record = read_record(reader, object);
  return tunnel;
}

lb::Handover read_traffic(Reader& reader, const json::object& of) {
  const json::object& object = reader.object(of.if_contains("traffic"), "traffic");
  lb::Handover traffic;
  for (const json::value& entry : reader.array(object, "listeners"))
    traffic.listeners.push_back(read_listener(reader, reader.object(&entry, "listeners")));
  for (const json::value& entry : reader.array(object, "clients"))
    traffic.clients.push_back(read_client(reader, reader.object(&entry, "clients")));
  for (const json::value& entry : reader.array(object, "tunnels"))
    traffic.tunnels.push_back(read_tunnel(reader, reader.object(&entry, "tunnels")));
  for (const json::value& entry : reader.array(object, "pools"))
    traffic.pools.push_back(read_pool(reader, reader.object(&entry, "pools")));
  const json::object& closed = reader.object(object.if_contains("closed"), "closed");
  const auto count = [&](std::string_view key) {
    return static_cast<std::uint64_t>(reader.whole(closed, key));
  };
  traffic.losses = {.requests = count("requests"),
                    .tls_connections = count("tls_connections"),
                    .tls_tunnels = count("tls_tunnels"),
                    .upstreams = count("upstreams")};
  return traffic;
}

DaemonHandover read_body(Reader& reader, const json::object& object) {
  DaemonHandover handover;
  handover.from = reader.bytes(object, "from");
  handover.id = reader.bytes(object, "id");
  handover.started = Instant(Nanos(reader.whole(object, "started_ns")));
  handover.paused_since = Instant(Nanos(reader.whole(object, "paused_since_ns")));
  handover.lock = reader.descriptor(object, "lock");
  handover.group_locks = reader.descriptors(object, "group_locks");
  handover.control = reader.descriptor(object, "control");
  handover.files_soft = static_cast<std::uint64_t>(reader.whole(object, "files_soft"));
  handover.control_device = static_cast<dev_t>(reader.whole(object, "control_device"));
  handover.control_inode = static_cast<ino_t>(reader.whole(object, "control_inode"));
  for (const json::value& entry : reader.array(object, "systemd_fds")) {
    const json::object& named = reader.object(&entry, "systemd_fds");
    std::string name = reader.bytes(named, "name");
    handover.systemd_fds.emplace_back(std::move(name), reader.descriptor(named, "fd"));
  }
  // An earlier muster did not tell: then the store gets it once more.
  if (object.contains("stored_output")) {
    for (const json::value& entry : reader.array(object, "stored_output"))
      handover.stored_output.insert(
          InstanceId{static_cast<std::uint64_t>(reader.whole(&entry, "stored_output"))});
  }
  // Nor of these: they are stopped at once.
  if (object.contains("drains")) {
    for (const json::value& entry : reader.array(object, "drains")) {
      const json::object& drain = reader.object(&entry, "drains");
      handover.drains[InstanceId{static_cast<std::uint64_t>(reader.whole(drain, "instance"))}] =
          Instant(Nanos(reader.whole(drain, "until_ns")));
    }
  }
  handover.slow_to_close = reader.descriptors(object, "slow_to_close");
  handover.traffic = read_traffic(reader, object);
  return handover;
}

Error damaged(std::string what) {
  return {"is damaged: " + std::move(what), ExitCode::failed, 0};
}

std::string counted(std::uint64_t count, std::string_view one, std::string_view many) {
  return fmt::format("{} {}", count, count == 1 ? one : many);
}

}  // namespace

std::string encode_handover(const DaemonHandover& handover, const lb::Handover& handed) {
  json::array named;
  for (const auto& [name, fd] : handover.systemd_fds)
    named.push_back(json::object{{"name", to_hex(name)}, {"fd", fd.get()}});
  json::array stored;
  for (const InstanceId instance : handover.stored_output) stored.push_back(json::value(raw(instance)));
  json::array drains;
  for (const auto& [instance, until] : handover.drains)
    drains.push_back(json::object{{"instance", raw(instance)}, {"until_ns", nanos_of(until)}});
  const lb::HandoverLosses& losses = handed.losses;
  json::object traffic{{"listeners", list(handed.listeners, listener_to_json)},
                       {"clients", list(handed.clients, client_to_json)},
                       {"tunnels", list(handed.tunnels, tunnel_to_json)},
                       {"pools", list(handed.pools, pool_to_json)},
                       {"closed",
                        {{"requests", losses.requests},
                         {"tls_connections", losses.tls_connections},
                         {"tls_tunnels", losses.tls_tunnels},
                         {"upstreams", losses.upstreams}}}};
  const json::object root{{"from", to_hex(handover.from)},
                          {"id", to_hex(handover.id)},
                          {"started_ns", nanos_of(handover.started)},
                          {"paused_since_ns", nanos_of(handover.paused_since)},
                          {"lock", handover.lock.get()},
                          {"group_locks", descriptors_to_json(handover.group_locks)},
                          {"control", handover.control.get()},
                          {"files_soft", handover.files_soft},
                          {"control_device", handover.control_device},
                          {"control_inode", handover.control_inode},
                          {"systemd_fds", std::move(named)},
                          {"stored_output", std::move(stored)},
                          {"drains", std::move(drains)},
                          {"slow_to_close", descriptors_to_json(handover.slow_to_close)},
                          {"traffic", std::move(traffic)}};
  return seal(handover_seal, json::serialize(root) + "\n");
}

std::vector<int> descriptors_of(const DaemonHandover& handover, const lb::Handover& traffic) {
  std::vector<int> numbers{handover.lock.get(), handover.control.get()};
  for (const Fd& lock : handover.group_locks) numbers.push_back(lock.get());
  for (const Fd& fd : handover.slow_to_close) numbers.push_back(fd.get());
  for (const auto& [name, fd] : handover.systemd_fds) numbers.push_back(fd.get());
  for (const lb::HandedListener& listener : traffic.listeners) {
    for (const Fd& socket : listener.sockets) numbers.push_back(socket.get());
  }
  for (const lb::HandedClient& client : traffic.clients) numbers.push_back(client.fd.get());
  for (const lb::HandedTunnel& tunnel : traffic.tunnels) {
    numbers.push_back(tunnel.client.get());
    numbers.push_back(tunnel.replica.get());
  }
  return numbers;
}

Result<DaemonHandover> decode_handover(std::string_view text, Descriptors descriptors) {
  const auto body = unseal(handover_seal, text);
  if (!body) return body.error();
  boost::system::error_code problem;
  const json::value value = json::parse(json::string_view(body.value()), problem);
  if (problem || !value.is_object()) return damaged("it is no JSON object");
  // Nobody's descriptor is closed by a text that is wrong: they are owned once all of it has been read.
  Reader first(Descriptors::numbers_only);
  DaemonHandover handover = read_body(first, value.get_object());
  if (!first.error().empty()) return damaged(first.error());
  if (descriptors == Descriptors::numbers_only) return handover;
  Reader second(Descriptors::owned);
  return read_body(second, value.get_object());
}

std::set<InstanceId> served_by(const lb::Handover& traffic) {
  std::set<InstanceId> served;
  for (const lb::HandedTunnel& tunnel : traffic.tunnels) served.insert(tunnel.endpoint.instance);
  for (const lb::Pool& pool : traffic.pools) {
    for (const lb::Endpoint& endpoint : pool.endpoints) served.insert(endpoint.instance);
  }
  return served;
}

std::string handover_sentence(const lb::Handover& traffic) {
  const lb::HandoverLosses& losses = traffic.losses;
  std::string closed;
  const auto add = [&closed](std::uint64_t count, std::string_view one, std::string_view many) {
    if (count > 0) closed += (closed.empty() ? "" : ", ") + counted(count, one, many);
  };
  add(losses.requests, "request in flight", "requests in flight");
  add(losses.tls_connections, "TLS connection", "TLS connections");
  add(losses.tls_tunnels, "TLS tunnel", "TLS tunnels");
  return fmt::format("kept {}, {} and {}; closed {}",
                     counted(traffic.listeners.size(), "listening address", "listening addresses"),
                     counted(traffic.clients.size(), "connection", "connections"),
                     counted(traffic.tunnels.size(), "tunnel", "tunnels"),
                     closed.empty() ? "nothing" : closed);
}

}  // namespace muster::supervisor
