// [listen.NAME] and the short form in an app.
#include "fmt/core.h"
#include "spec/draft.h"

namespace muster::spec {

namespace {

class ListenerReader {
 public:
  ListenerReader(const Reader& reader, const Member& member) : reader_(reader), member_(member) {
    draft_.listener.name = member.key;
    draft_.listener.position = reader.report().position(member.at);
    draft_.at = member.at;
    draft_.to_at = member.at;
  }

  ListenerDraft read() {
    reader_.each_key(Section::listen, member_.value,
                     [this](std::string_view key, const Node& value) { set(key, value); });
    if (!bind_given_) reader_.missing(member_.at, fmt::format("listener '{}' has no `bind`", member_.key));
    if (route_ != nullptr) read_routes(reader_, *route_, draft_);  // once the listener's timeouts are known
    if (!to_given_ && route_ == nullptr)
      reader_.missing(member_.at, fmt::format("listener '{}' has neither `to` nor `route`", member_.key));
    if (draft_.listener.mode == ListenMode::tcp) {
      for (const NamedMark& key : http_only_)
        reader_.error(key.at,
                      fmt::format("'{}' is for mode \"http\": a tcp stream has no requests", key.name));
    }
    return std::move(draft_);
  }

 private:
  void set(std::string_view key, const Node& value) {
    Listener& listener = draft_.listener;
    if (key == "bind") return bind(value);
    if (key == "mode") {
      if (const auto mode = reader_.word(value, {"http", "tcp"}, {"direct"}))
        listener.mode = static_cast<ListenMode>(*mode);
    } else if (key == "to") {
      to_given_ = true;
      draft_.to_at = value.at;
      listener.app = reader_.text(value).value_or("");
    } else if (key == "balance") {
      read_balance(reader_, value, listener, http_only_);
    } else if (key == "sticky") {
      http_only(key, value);
      read_sticky(reader_, value, listener);
    } else if (key == "eject") {
      read_eject(reader_, value, listener);
    } else if (key == "timeout") {
      if (!reader_.table(value, "a table")) return;
      read_timeouts(reader_, value, listener.timeout);
    } else if (key == "retries") {
      listener.retries = static_cast<int>(reader_.integer(value, 0, 10).value_or(listener.retries));
    } else if (key == "queue") {
      if (!reader_.table(value, "a table")) return;
      reader_.each_key(Section::queue, value,
                       [this](std::string_view name, const Node& node) { queue(name, node); });
    } else if (key == "max_conns") {
      listener.max_conns = count(value);
    } else if (key == "max_in_flight") {
      listener.max_in_flight = count(value);
    } else if (key == "proxy_protocol") {
      if (!reader_.table(value, "a table { in, out }")) return;
      reader_.each_key(Section::proxy_protocol, value,
                       [this](std::string_view name, const Node& node) { proxy_protocol(name, node); });
    } else if (key == "body_max") {
      listener.body_max = reader_.size(value);
      http_only(key, value);
    } else if (key == "route") {
      http_only(key, value);
      route_ = &value;
    } else if (key == "headers") {
      http_only(key, value);
      listener.headers = read_headers(reader_, value, true);
    } else if (key == "response_headers") {
      http_only(key, value);
      listener.response_headers = read_headers(reader_, value, false);
    } else if (key == "trusted_proxies") {
      http_only(key, value);
      networks(value, listener.trusted_proxies);
    } else if (key == "access_log") {
      draft_.access_log_at = value.at;
      if (const auto format = reader_.word(value, {"off", "common", "combined", "json"}))
        listener.access_log = static_cast<AccessLogFormat>(*format);
    } else if (key == "tls") {
      listener.tls = read_tls(reader_, value, listener.name);
    }
  }

  [[nodiscard]] std::optional<int> count(const Node& value) const {
    const auto number = reader_.integer(value, 1, 10'000'000);
    return number ? std::optional(static_cast<int>(*number)) : std::nullopt;
  }

  void http_only(std::string_view key, const Node& value) {
    http_only_.push_back({std::string(key), value.at});
  }

  void networks(const Node& value, std::vector<Network>& into) const {
    for (const Node* item : Reader::listed(value)) {
      const auto text = reader_.text_not_empty(*item);
      const auto network = text ? reader_.checked(parse_network(*text), item->at) : std::nullopt;
      if (network) into.push_back(*network);
    }
  }

  void bind(const Node& value) {
    bind_given_ = true;
    if (!reader_.few_enough(value.items.size(), value.at, "addresses")) return;
    for (const Node* item : Reader::listed(value)) {
      const auto written = reader_.text(*item);
      if (!written) continue;
      auto address = reader_.checked(parse_bind(*written, reader_.folder()), item->at);
      if (!address) continue;
      draft_.listener.bind.push_back(std::move(*address));
      draft_.bind_at.push_back(item->at);
    }
    if (value.is(Node::Kind::list) && value.items.empty())
      reader_.error(value.at, "a listener needs an address");
  }

  void queue(std::string_view key, const Node& value) {
    Listener& listener = draft_.listener;
    if (key == "size") {
      listener.queue_size =
          static_cast<int>(reader_.integer(value, 0, 1000000).value_or(listener.queue_size));
    } else if (const auto duration = reader_.duration(value, Millis(0))) {
      listener.queue_timeout = *duration;
    }
  }

  void proxy_protocol(std::string_view key, const Node& value) {
    ProxyProtocol& protocol = draft_.listener.proxy_protocol;
    if (key == "in") {
      protocol.in = reader_.boolean(value).value_or(false);
    } else if (const auto version = reader_.word(value, {"v1", "v2"})) {
      protocol.out = *version == 0 ? ProxyProtocol::Version::v1 : ProxyProtocol::Version::v2;
    }
  }

  const Reader& reader_;
  const Member& member_;
  ListenerDraft draft_;
  std::vector<NamedMark> http_only_;  // keys that were given and mean nothing to a stream
  bool bind_given_ = false;
  bool to_given_ = false;
  const Node* route_ = nullptr;
};

std::optional<ListenerDraft> read_short(const Reader& reader, const Node& node) {
  ListenerDraft draft;
  draft.at = node.at;
  draft.to_at = node.at;
  std::string address;
  if (node.is(Node::Kind::integer)) {
    const auto port = reader.integer(node, 1, 65535);
    if (!port) return std::nullopt;
    address = fmt::format("127.0.0.1:{}", *port);
  } else if (node.is(Node::Kind::text)) {
    const auto written = reader.text(node);
    if (!written) return std::nullopt;
    address = *written;
  } else {
    reader.wrong_type(node, "an address or a port");
    return std::nullopt;
  }
  if (address.starts_with("tcp://")) {
    draft.listener.mode = ListenMode::tcp;
    address = address.substr(6);
  } else if (address.starts_with("http://")) {
    reader.error(node.at, fmt::format("'{}' is no address", address),
                 fmt::format("did you mean \"{}\"? A bare address means HTTP", address.substr(7)));
    return std::nullopt;
  } else if (address.starts_with("https://")) {
    reader.error(node.at, "the short form has no place for a certificate",
                 "write a [listen.NAME] with `tls = { cert, key }`");
    return std::nullopt;
  }
  auto bind = reader.checked(parse_bind(address, reader.folder()), node.at);
  if (!bind) return std::nullopt;
  draft.listener.bind.push_back(std::move(*bind));
  draft.bind_at.push_back(node.at);
  return draft;
}

}  // namespace

ListenerDraft read_listener(const Reader& reader, const Member& member) {
  return ListenerReader(reader, member).read();
}

std::vector<ListenerDraft> read_short_listeners(const Reader& reader, const std::string& app,
                                                const Node& node) {
  std::vector<ListenerDraft> drafts;
  if (!reader.few_enough(node.items.size(), node.at, "addresses")) return drafts;
  int number = 0;
  for (const Node* item : Reader::listed(node)) {
    ++number;
    auto draft = read_short(reader, *item);
    if (!draft) continue;
    draft->listener.name = number == 1 ? app : fmt::format("{}-{}", app, number);
    draft->listener.app = app;
    draft->listener.position = reader.report().position(item->at);
    drafts.push_back(std::move(*draft));
  }
  return drafts;
}

}  // namespace muster::spec
