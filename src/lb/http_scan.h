// Character classes and the byte scanners under http_head.cpp and http_body.cpp. Private to those.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace muster::lb::scan {

enum CharClass : std::uint8_t { token = 1, target = 2, host = 4, digit = 8 };

constexpr std::array<std::uint8_t, 256> make_classes() {
  std::array<std::uint8_t, 256> table{};
  const auto add = [&table](std::string_view chars, std::uint8_t bits) {
    for (const char c : chars) {
      auto& entry = table[static_cast<unsigned char>(c)];
      entry = static_cast<std::uint8_t>(entry | bits);
    }
  };
  constexpr std::string_view alnum = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  add(alnum, token | host);
  add("0123456789", digit);
  add("!#$%&'*+-.^_`|~", token);       // RFC 9110 5.6.2
  add("-._~%!$&'()*+,;=", host);       // RFC 3986 3.2.2 reg-name
  for (int c = 0x21; c < 0x7f; ++c) {  // every visible character but '#', which never travels in a target
    if (c != '#') table[static_cast<std::size_t>(c)] |= target;
  }
  return table;
}
inline constexpr std::array<std::uint8_t, 256> classes = make_classes();

inline bool is(char c, CharClass wanted) {
  return (classes[static_cast<unsigned char>(c)] & wanted) != 0;
}

inline bool all_are(std::string_view text, CharClass wanted) {
  for (const char c : text) {
    if (!is(c, wanted)) return false;
  }
  return true;
}

// The first byte at or after `at` that is not of the class.
inline const char* skip(const char* at, const char* end, CharClass wanted) {
  while (at != end && is(*at, wanted)) ++at;
  return at;
}

#if defined(__SSE2__)
// The first byte at or after `at` whose bit `stops` sets, or `end`; the bytes from `begin` on may be looked at too.
// `stops`: 16 bytes to a mask, bit 0 the first.
template <typename Stops>
const char* find_by_16(const char* begin, const char* at, const char* end, Stops stops) {
  for (; end - at >= 16; at += 16) {
    const unsigned mask = stops(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at)));
    if (mask != 0) return at + __builtin_ctz(mask);
  }
  if (at == end || end - begin < 16) return at;
  const char* const last = end - 16;
  const unsigned mask = stops(_mm_loadu_si128(reinterpret_cast<const __m128i*>(last))) >> (at - last);
  return mask != 0 ? at + __builtin_ctz(mask) : end;
}
#endif

// The first byte at or after `at` that is no token character, or `end`. Names are mostly letters, digits and '-'.
inline const char* skip_name(const char* begin, const char* at, const char* end) {
#if defined(__SSE2__)
  at = find_by_16(begin, at, end, [](__m128i bytes) {
    const auto within = [](__m128i value, char first, char last) {
      const __m128i offset = _mm_sub_epi8(value, _mm_set1_epi8(first));
      return _mm_cmpeq_epi8(_mm_min_epu8(offset, _mm_set1_epi8(static_cast<char>(last - first))), offset);
    };
    const __m128i letters = within(_mm_or_si128(bytes, _mm_set1_epi8(0x20)), 'a', 'z');
    const __m128i others = _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('-')), within(bytes, '0', '9'));
    return static_cast<unsigned>(_mm_movemask_epi8(_mm_or_si128(letters, others))) ^ 0xffffU;
  });
#endif
  return skip(at, end, token);
}

// The first byte at or after `at` that no request target has, or `end`; the bytes from `begin` on may be looked at too.
inline const char* skip_target(const char* begin, const char* at, const char* end) {
#if defined(__SSE2__)
  at = find_by_16(begin, at, end, [](__m128i bytes) {
    const __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x20)), bytes);
    const __m128i high = _mm_cmpeq_epi8(_mm_max_epu8(bytes, _mm_set1_epi8(0x7f)), bytes);
    const __m128i hash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('#'));
    return static_cast<unsigned>(_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(low, high), hash)));
  });
#endif
  return skip(at, end, target);
}

inline bool is_control(char c) {  // HTAB is not counted: it is white space in a value
  const auto byte = static_cast<unsigned char>(c);
  return (byte < 0x20 && byte != '\t') || byte == 0x7f;
}

// The first control byte at or after `at` (CR included, HTAB not), or `end`; the bytes from `begin` on may be looked at
// too.
inline const char* find_control(const char* begin, const char* at, const char* end) {
#if defined(__SSE2__)
  at = find_by_16(begin, at, end, [](__m128i bytes) {
    const __m128i below = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
    const __m128i but_tab = _mm_andnot_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('\t')), below);
    const __m128i del = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f));
    return static_cast<unsigned>(_mm_movemask_epi8(_mm_or_si128(but_tab, del)));
  });
#endif
  while (at != end && !is_control(*at)) ++at;
  return at;
}

inline std::string_view trim(std::string_view text) {  // OWS: RFC 9110 5.6.3
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

}  // namespace muster::lb::scan
