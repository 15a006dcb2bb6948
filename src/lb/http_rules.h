// What the fields of a head mean together (RFC 9110, RFC 9112). Private to http_head.cpp and its tests.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

#include "lb/http_head.h"

namespace muster::lb {

FieldKind kind_of_field(std::string_view name);

namespace detail {
// Two words at most: the last one begins where it has to end with the text.
template <typename Word>
bool same_in_any_case(const char* text, const char* lower_case, std::size_t size) {
  constexpr auto case_bits = static_cast<Word>(0x2020202020202020U);
  const auto differ = [=](std::size_t at) {
    Word ours = 0;
    Word theirs = 0;
    std::memcpy(&ours, text + at, sizeof ours);
    std::memcpy(&theirs, lower_case + at, sizeof theirs);
    return (ours | case_bits) != theirs;
  };
  return !differ(0) && (size == sizeof(Word) || !differ(size - sizeof(Word)));
}

// Whether `name`, which has as many bytes, is this one.
template <std::size_t Size>
bool is(std::string_view name, const char (&lower_case)[Size]) {  // NOLINT(modernize-avoid-c-arrays)
  constexpr std::size_t bytes = Size - 1;
  static_assert(bytes == 2 || (bytes >= 4 && bytes <= 17));
  if constexpr (bytes == 2) return same_in_any_case<std::uint16_t>(name.data(), lower_case, bytes);
  if constexpr (bytes >= 4 && bytes < 8)
    return same_in_any_case<std::uint32_t>(name.data(), lower_case, bytes);
  if constexpr (bytes >= 8 && bytes <= 16)
    return same_in_any_case<std::uint64_t>(name.data(), lower_case, bytes);
  if constexpr (bytes == 17)
    return same_in_any_case<std::uint64_t>(name.data(), lower_case, 16) &&
           (name.back() | 0x20) == lower_case[16];
  return false;
}
}  // namespace detail

// The same of a name that has only letters, digits and '-'. Here, so that the loop over all lines makes no call.
[[gnu::always_inline]] inline FieldKind kind_of_plain_field(std::string_view name) {
  switch (name.size()) {  // the length alone rules out most
    case 2:
      return detail::is(name, "te") ? FieldKind::hop_by_hop : FieldKind::other;
    case 4:
      if (detail::is(name, "host")) return FieldKind::host;
      return detail::is(name, "date") ? FieldKind::date : FieldKind::other;
    case 6:
      return detail::is(name, "expect") ? FieldKind::expect : FieldKind::other;
    case 7:
      if (detail::is(name, "upgrade")) return FieldKind::upgrade;
      return detail::is(name, "trailer") ? FieldKind::trailer : FieldKind::other;
    case 9:
      return detail::is(name, "forwarded") ? FieldKind::forwarded : FieldKind::other;
    case 10:
      if (detail::is(name, "connection")) return FieldKind::connection;
      return detail::is(name, "keep-alive") ? FieldKind::hop_by_hop : FieldKind::other;
    case 12:
      if (detail::is(name, "x-request-id")) return FieldKind::request_id;
      return detail::is(name, "max-forwards") ? FieldKind::max_forwards : FieldKind::other;
    case 14:
      return detail::is(name, "content-length") ? FieldKind::content_length : FieldKind::other;
    case 15:
      return detail::is(name, "x-forwarded-for") ? FieldKind::forwarded_for : FieldKind::other;
    case 16:
      if (detail::is(name, "proxy-connection")) return FieldKind::hop_by_hop;
      return detail::is(name, "x-forwarded-host") ? FieldKind::forwarded_host : FieldKind::other;
    case 17:
      if (detail::is(name, "transfer-encoding")) return FieldKind::transfer_encoding;
      return detail::is(name, "x-forwarded-proto") ? FieldKind::forwarded_proto : FieldKind::other;
    default:
      return FieldKind::other;
  }
}

// Fills in target, authority, framing and expectations, and marks the fields that Connection names.
HeadVerdict judge_request(RequestHead& head);
HeadVerdict judge_response(ResponseHead& head);

}  // namespace muster::lb
