// Character classes and the byte scanners under http_head.cpp and http_body.cpp. Private to those.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace muster::lb::scan {

enum CharClass : std::uint8_t { token = 1, target = 2, host = 4, digit = 8, plain = 16, plain_host = 32 };

constexpr std::array<std::uint8_t, 256> make_classes() {
  std::array<std::uint8_t, 256> table{};
  const auto add = [&table](std::string_view chars, std::uint8_t bits) {
    for (const char c : chars) {
      auto& entry = table[static_cast<unsigned char>(c)];
      entry = static_cast<std::uint8_t>(entry | bits);
    }
  };
  constexpr std::string_view alnum = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  add(alnum, token | host | plain | plain_host);
  add("-", plain | plain_host);
  add(".", plain_host);
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

inline bool is_control(char c) {  // HTAB is not counted: it is white space in a value
  const auto byte = static_cast<unsigned char>(c);
  return (byte < 0x20 && byte != '\t') || byte == 0x7f;
}

#if defined(__SSE2__)
constexpr std::ptrdiff_t block_bytes = 16;

// The bits of 16 bytes from `at` on that `stops` sets, bit 0 the first.
template <typename Stops>
[[gnu::always_inline]] inline unsigned stops_at(const char* at, Stops stops) {
  return stops(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at)));
}

// The same of less than 16 bytes, by those before the end.
template <typename Stops>
[[gnu::always_inline]] inline const char* find_in_last(const char* at, const char* end, Stops stops) {
  const char* const last = end - block_bytes;
  const unsigned mask = stops_at(last, stops) >> (at - last);  // by 16, where nothing is left: no bit remains
  return mask != 0 ? at + __builtin_ctz(mask) : end;
}

// find_by_16() where the first block has none. Not inline: most texts end before.
template <typename Stops>
[[gnu::noinline]] const char* find_further(const char* at, const char* end, Stops stops) {
  for (; end - at >= block_bytes; at += block_bytes) {
    const unsigned mask = stops_at(at, stops);
    if (mask != 0) return at + __builtin_ctz(mask);
  }
  return find_in_last(at, end, stops);
}

// The first byte at or after `at` whose bit `stops` sets, or `end`; the 16 bytes before the end may be looked at too.
template <typename Stops>
[[gnu::always_inline]] inline const char* find_by_16(const char* at, const char* end, Stops stops) {
  if (end - at < block_bytes) return find_in_last(at, end, stops);
  const unsigned mask = stops_at(at, stops);
  return mask != 0 ? at + __builtin_ctz(mask) : find_further(at + block_bytes, end, stops);
}

// By byte: `first` <= value <= `last`. Moved up so that `last` is the greatest number with a sign, none but those are
// above what comes before `first`.
inline __m128i within(__m128i value, char first, char last) {
  constexpr char greatest = 0x7f;
  const __m128i moved = _mm_add_epi8(value, _mm_set1_epi8(static_cast<char>(greatest - last)));
  return _mm_cmpgt_epi8(moved, _mm_set1_epi8(static_cast<char>(greatest - last + first - 1)));
}
#endif

// Only letters, digits, '-' and '.': what nearly every host is. Of `name_bytes_min` and more.
constexpr std::size_t name_bytes_min = 8;
inline bool is_plain_host(std::string_view text) {
#if defined(__SSE2__)
  const auto is_plain = [](__m128i bytes) {
    const __m128i letters = within(_mm_or_si128(bytes, _mm_set1_epi8(0x20)), 'a', 'z');
    const __m128i marks =
        _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('-')), _mm_cmpeq_epi8(bytes, _mm_set1_epi8('.')));
    const __m128i others = _mm_or_si128(marks, within(bytes, '0', '9'));
    return _mm_movemask_epi8(_mm_or_si128(letters, others)) == 0xffff;
  };
  const auto eight_at = [](const char* at) { return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(at)); };
  const char* at = text.data();
  const char* const last = at + text.size() - 8;
  for (; last - at > 8; at += 16) {
    if (!is_plain(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at)))) return false;
  }
  return is_plain(_mm_unpacklo_epi64(eight_at(std::min(at, last)), eight_at(last)));
#else
  return all_are(text, plain_host);
#endif
}

// In the following the bytes from `begin` on may be looked at too.

// The first byte at or after `at` that is no letter, digit or '-', or `end`.
inline const char* skip_plain(const char* begin, const char* at, const char* end) {
#if defined(__SSE2__)
  if (end - begin >= block_bytes) {
    return find_by_16(at, end, [](__m128i bytes) {
      const __m128i letters = within(_mm_or_si128(bytes, _mm_set1_epi8(0x20)), 'a', 'z');
      const __m128i others = _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('-')), within(bytes, '0', '9'));
      return static_cast<unsigned>(_mm_movemask_epi8(_mm_or_si128(letters, others))) ^ 0xffffU;
    });
  }
#endif
  static_cast<void>(begin);
  return skip(at, end, plain);
}

// The first byte at or after `at` that no request target has, or `end`.
inline const char* skip_target(const char* begin, const char* at, const char* end) {
#if defined(__SSE2__)
  if (end - begin >= block_bytes) {
    return find_by_16(at, end, [](__m128i bytes) {
      const __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x20)), bytes);
      const __m128i high = _mm_cmpeq_epi8(_mm_max_epu8(bytes, _mm_set1_epi8(0x7f)), bytes);
      const __m128i hash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('#'));
      return static_cast<unsigned>(_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(low, high), hash)));
    });
  }
#endif
  static_cast<void>(begin);
  return skip(at, end, target);
}

// The first control byte at or after `at` (CR included, HTAB not), or `end`.
inline const char* find_control(const char* begin, const char* at, const char* end) {
#if defined(__SSE2__)
  if (end - begin >= block_bytes) {
    return find_by_16(at, end, [](__m128i bytes) {
      const __m128i below = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
      const __m128i but_tab = _mm_andnot_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('\t')), below);
      const __m128i del = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f));
      return static_cast<unsigned>(_mm_movemask_epi8(_mm_or_si128(but_tab, del)));
    });
  }
#endif
  static_cast<void>(begin);
  while (at != end && !is_control(*at)) ++at;
  return at;
}

inline std::string_view trim(std::string_view text) {  // OWS: RFC 9110 5.6.3
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

}  // namespace muster::lb::scan
