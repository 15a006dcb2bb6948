#include "health/status_line.h"

#include <algorithm>

namespace muster::health {

namespace {
bool digit(char byte) {
  return byte >= '0' && byte <= '9';
}
}  // namespace

std::optional<int> parse_status_line(std::string_view bytes) {
  constexpr std::string_view version = "HTTP/1.";
  constexpr std::size_t needed = version.size() + 6;  // "1 200" and the byte behind it
  const auto common = std::min(bytes.size(), version.size());
  if (bytes.substr(0, common) != version.substr(0, common)) return 0;
  if (bytes.size() < needed) return std::nullopt;
  const std::string_view rest = bytes.substr(version.size());
  if (!digit(rest[0]) || rest[1] != ' ' || !digit(rest[2]) || !digit(rest[3]) || !digit(rest[4])) return 0;
  if (rest[5] != ' ' && rest[5] != '\r') return 0;
  const int status = (rest[2] - '0') * 100 + (rest[3] - '0') * 10 + (rest[4] - '0');
  return status < 100 ? 0 : status;
}

}  // namespace muster::health
