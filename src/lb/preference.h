// Which replica a request asks for: by the cookie of an earlier answer, or by what `balance` hashes. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lb/http_head.h"
#include "lb/socket_address.h"
#include "spec/spec.h"

namespace muster::lb {

struct Preference {
  std::optional<std::uint64_t> key;    // balance = "hash:…", where the request has what is hashed
  std::optional<std::uint64_t> stuck;  // the replica that the client's cookie names, by its label's hash_of()
};

// `trusted`: the peer is a trusted proxy, so the client is who it says.
Preference preference_of(const spec::Listener& listener, const RequestHead& head, const Peer& peer,
                         bool trusted);
Preference preference_of(const spec::Listener& listener, const Peer& peer);  // of a tcp connection

// The value of the first cookie of that name (RFC 6265 5.4).
std::optional<std::string_view> find_cookie(const HeadFields& fields, std::string_view name);

// "Set-Cookie: NAME=…; Path=/; HttpOnly; SameSite=Lax", CRLF included: for the browser's session.
std::string sticky_cookie_line(std::string_view name, std::uint64_t replica);

}  // namespace muster::lb
