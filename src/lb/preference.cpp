#include "lb/preference.h"

#include <array>
#include <charconv>

#include "lb/http_scan.h"
#include "lb/pick.h"
#include "lb/router.h"

namespace muster::lb {

namespace {
constexpr int hex = 16;

// The client as the proxy in front of us names it: the last address that it added.
std::string_view named_client(const HeadFields& fields) {
  std::string_view last;
  for (const Field& field : fields.all()) {
    if (field.kind == FieldKind::forwarded_for && !field.value.empty()) last = field.value;
  }
  const std::size_t comma = last.rfind(',');
  return scan::trim(comma == std::string_view::npos ? last : last.substr(comma + 1));
}

std::string_view address_bytes(const Peer& peer) {
  return {reinterpret_cast<const char*>(peer.bytes.data()), peer.bytes.size()};
}

std::optional<std::string_view> hashed_part(const spec::Balance& balance, const RequestHead& head,
                                            const Peer& peer, bool trusted) {
  switch (balance.key) {
    case spec::Balance::Key::client: {
      const std::string_view named = trusted ? named_client(head.fields) : std::string_view{};
      return named.empty() ? address_bytes(peer) : named;
    }
    case spec::Balance::Key::path:
      return path_of(head.target);
    case spec::Balance::Key::header:
      for (const Field& field : head.fields.all()) {
        if (same_name(field.name, balance.name)) return field.value;
      }
      return std::nullopt;
    case spec::Balance::Key::cookie:
      return find_cookie(head.fields, balance.name);
  }
  return std::nullopt;
}
}  // namespace

std::optional<std::string_view> find_cookie(const HeadFields& fields, std::string_view name) {
  for (const Field& field : fields.all()) {
    if (!same_name(field.name, "cookie")) continue;
    for (std::string_view rest = field.value; !rest.empty();) {
      const std::size_t end = rest.find(';');
      const std::string_view pair = scan::trim(rest.substr(0, end));
      rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
      const std::size_t equals = pair.find('=');
      if (equals != std::string_view::npos && pair.substr(0, equals) == name) return pair.substr(equals + 1);
    }
  }
  return std::nullopt;
}

Preference preference_of(const spec::Listener& listener, const RequestHead& head, const Peer& peer,
                         bool trusted) {
  Preference preference;
  if (!listener.sticky_cookie.empty()) {
    const auto value = find_cookie(head.fields, listener.sticky_cookie).value_or("");
    std::uint64_t replica = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), replica, hex);
    if (error == std::errc{} && end == value.data() + value.size()) preference.stuck = replica;
  }
  if (listener.balance.kind == spec::Balance::Kind::hash) {
    const auto part = hashed_part(listener.balance, head, peer, trusted);
    if (part) preference.key = hash_of(*part);
  }
  return preference;
}

Preference preference_of(const spec::Listener& listener, const Peer& peer) {
  Preference preference;
  if (listener.balance.kind == spec::Balance::Kind::hash) preference.key = hash_of(address_bytes(peer));
  return preference;
}

std::string sticky_cookie_line(std::string_view name, std::uint64_t replica) {
  std::array<char, hex> digits{};
  const auto* const end = std::to_chars(digits.data(), digits.data() + digits.size(), replica, hex).ptr;
  std::string line = "Set-Cookie: ";
  line.append(name).append("=").append(digits.data(), static_cast<std::size_t>(end - digits.data()));
  line += "; Path=/; HttpOnly; SameSite=Lax\r\n";
  return line;
}

}  // namespace muster::lb
