// The one table of keys: what a spec may say. Errors, suggestions and `explain` are made from it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace muster::spec {

enum class Section : std::uint8_t {
  top,
  app,
  health,  // also `live`
  restart,
  stop,
  update,
  scale,
  volume,
  limits,
  log,
  listen,
  route,
  respond,
  headers,  // also `response_headers`
  tls,
  timeout,
  queue,
  proxy_protocol,
  sticky,
  eject,
  job,
  daemon,
};

struct KeyRow {
  Section section;
  std::string_view name;
  std::string_view type;      // "duration", "string or [string]"
  std::string_view fallback;  // what holds when it is not given
  std::string_view sentence;
  bool built = true;  // false: refused by name, "not in this version"
};

// All of them, by section.
std::span<const KeyRow> key_table();

const KeyRow* find_key(Section section, std::string_view name);

// The key that `name` most likely means, as "did you mean 'replicas'?"; empty when nothing is close.
std::string suggest_key(Section section, std::string_view name);

// The same among any names.
std::string suggest(std::string_view name, std::span<const std::string_view> candidates);

}  // namespace muster::spec
