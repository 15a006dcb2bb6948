// Durations, sizes and modes as people write them. A bare number is an error that suggests the unit.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"
#include "spec/spec.h"

namespace muster::spec {

struct Complaint {
  std::string message;
  std::string hint;
};

template <typename T>
using Parsed = Result<T, Complaint>;

// "250ms", "5s", "1h30m", "1.5s": d h m s ms, from the largest unit to the smallest, at most 100 years.
Parsed<Millis> parse_duration(std::string_view text);
// "64MiB", "10GB", "512B"; KiB MiB GiB TiB count 1024, KB MB GB TB 1000.
Parsed<std::uint64_t> parse_size(std::string_view text);
// "022", "0750": octal digits, at most `max`.
Parsed<std::uint32_t> parse_octal(std::string_view text, std::uint32_t max);
// "TERM", "SIGTERM", "15".
Parsed<int> parse_signal(std::string_view text);
// "10 in 5m", "none".
Parsed<std::optional<RestartLimit>> parse_restart_limit(std::string_view text);
// "25%", "2": a share of at most `percent_max`, a number of at most limits::replicas_max.
Parsed<Share> parse_share(std::string_view text, int percent_max);
// "200-399", "204", "200,301-302".
Parsed<std::vector<StatusRange>> parse_status_ranges(std::string_view text);

// Digits only, no sign, at most `max`.
std::optional<std::uint64_t> parse_digits(std::string_view text, std::uint64_t max);

// A regex that muster can match in bounded time: ECMAScript without back-references.
std::optional<std::string> regex_refusal(const std::string& pattern);

}  // namespace muster::spec
