// Text for people and for files: times, masking of secrets, escaping. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"

namespace muster::supervisor {

// RFC 3339 in UTC: "2026-01-01T00:00:00.000Z" (log lines, events) and "2026-01-01T00:00:00Z" (status pages).
std::string rfc3339_ms(WallTime time);
std::string rfc3339_s(WallTime time);
void append_rfc3339_ms(std::string& to, WallTime time);  // without an allocation of its own

// RFC 3339 with "Z" or an offset, 0 to 9 digits of a fraction. None when it is anything else.
std::optional<WallTime> parse_rfc3339(std::string_view text);

// `--since`: a length back from `now` ("250ms" "90s" "5m" "1h30m" "2d") or RFC 3339, of any year: what a
// WallTime cannot say counts as the first or the last that it can. None when it is neither.
std::optional<WallTime> parse_since(std::string_view text, WallTime now);

// Whether the name of a variable says that its value is a secret: it contains PASS, SECRET, TOKEN or KEY, in
// any case.
bool is_secret_name(std::string_view name);

inline constexpr std::string_view masked = "********";

// "NAME=value" -> "NAME=********" when the name is a secret's; also "--api-token=…". Other text unchanged.
std::string mask_assignment(std::string_view text);

// An argument vector for people: joined by spaces, assignments masked, and the word after a bare option whose
// name is a secret's ("--password hunter2") as well. Control bytes are not escaped here.
std::string mask_argv(const std::vector<std::string>& argv);

// Safe to print on a terminal: control bytes (also DEL and C1 in UTF-8) and bytes that are no valid UTF-8 come
// out as \xNN, tab as it is.
std::string escape_for_terminal(std::string_view text);

// A JSON string with its quotes. Bytes that are no valid UTF-8 come out as the four characters \xNN (in JSON:
// "\\xNN"), so the result is always valid JSON.
void append_json_string(std::string& to, std::string_view text);

// The length of the first character of `text`, 1..4; 0 when it is not valid UTF-8 (or there is none).
std::size_t utf8_char_bytes(std::string_view text);

}  // namespace muster::supervisor
