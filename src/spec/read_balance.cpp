// Which replica is next, for whom it stays, and when one is left out.
#include <algorithm>
#include <array>

#include "fmt/core.h"
#include "spec/draft.h"

namespace muster::spec {

namespace {

constexpr std::string_view hash_prefix = "hash:";

struct HashKey {
  std::string_view written;  // a name follows where it ends with ':'
  Balance::Key key;
};
constexpr std::array hash_keys{
    HashKey{"client", Balance::Key::client},
    HashKey{"path", Balance::Key::path},
    HashKey{"header:", Balance::Key::header},
    HashKey{"cookie:", Balance::Key::cookie},
};

void read_hash(const Reader& reader, const Node& value, std::string_view text, Balance& balance) {
  const auto is_meant = [text](const HashKey& one) {
    return one.written.ends_with(':') ? text.starts_with(one.written) : text == one.written;
  };
  const auto* const found = std::ranges::find_if(hash_keys, is_meant);
  if (found == hash_keys.end())
    return reader.error(value.at, fmt::format("'{}' is nothing to hash by", text),
                        "hash:client, hash:path, hash:header:NAME or hash:cookie:NAME");
  const std::string_view name =
      text.substr(std::min(text.size(), found->written.ends_with(':') ? found->written.size() : text.size()));
  if (found->written.ends_with(':') && !is_token(name))
    return reader.error(value.at, fmt::format("'{}' is no name of a header field or cookie", name));
  balance = {.kind = Balance::Kind::hash, .key = found->key, .name = std::string(name)};
}

}  // namespace

void read_balance(const Reader& reader, const Node& value, Listener& listener,
                  std::vector<NamedMark>& http_only) {
  if (value.is(Node::Kind::text) && value.text.starts_with(hash_prefix)) {
    const auto text = reader.text(value);
    if (!text) return;
    read_hash(reader, value, std::string_view(*text).substr(hash_prefix.size()), listener.balance);
    const bool by_request =
        listener.balance.kind == Balance::Kind::hash && listener.balance.key != Balance::Key::client;
    if (by_request) http_only.push_back({*text, value.at});
    return;
  }
  if (const auto kind =
          reader.word(value, {"round-robin", "least-conn", "p2c", "hash:client"}, {"least-time"}))
    listener.balance.kind = static_cast<Balance::Kind>(*kind);
}

void read_sticky(const Reader& reader, const Node& value, Listener& listener) {
  if (!reader.table(value, "a table { cookie = \"NAME\" }")) return;
  bool given = false;
  reader.each_key(Section::sticky, value, [&](std::string_view /*key*/, const Node& node) {
    given = true;
    const auto name = reader.text_not_empty(node);
    if (!name) return;
    if (!is_token(*name)) return reader.error(node.at, fmt::format("'{}' is no name of a cookie", *name));
    listener.sticky_cookie = *name;
  });
  if (!given) reader.missing(value.at, "`sticky` has no `cookie`");
}

void read_eject(const Reader& reader, const Node& value, Listener& listener) {
  if (value.is(Node::Kind::boolean)) {
    if (reader.boolean(value) == false) {
      listener.eject.reset();
    } else {
      reader.error(value.at, "`eject` is a table { fails, time } or false");
    }
    return;
  }
  if (!reader.table(value, "a table { fails, time } or false")) return;
  Eject eject;
  reader.each_key(Section::eject, value, [&](std::string_view key, const Node& node) {
    if (key == "fails") {
      eject.fails = static_cast<int>(reader.integer(node, 1, 1000).value_or(eject.fails));
    } else {
      eject.time = reader.duration(node, Millis(1)).value_or(eject.time);
    }
  });
  listener.eject = eject;
}

}  // namespace muster::spec
