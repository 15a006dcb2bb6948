// The stack of `muster demo`: its spec and its three programs, as text. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace muster::cli {

// Ports in a row that nobody uses: the listener's, three of the storage, then those that replicas get by themselves.
struct DemoPorts {
  static constexpr int count = 40;
  std::uint16_t first = 0;
  [[nodiscard]] std::uint16_t listener() const { return first; }
  [[nodiscard]] std::uint16_t storage(int ordinal) const {
    return static_cast<std::uint16_t>(first + 1 + ordinal);
  }
  [[nodiscard]] std::uint16_t claim() const {
    return static_cast<std::uint16_t>(first + 7);
  }  // held by the demo itself
  [[nodiscard]] std::uint16_t range_first() const { return static_cast<std::uint16_t>(first + 8); }
  [[nodiscard]] std::uint16_t range_last() const { return static_cast<std::uint16_t>(first + count - 1); }
};

inline constexpr int demo_api_replicas = 4;
inline constexpr int demo_storage_replicas = 3;

// The spec; `greeting` is an environment variable of the API: another one is a new revision of that app alone.
std::string demo_spec(const DemoPorts& ports, const std::string& greeting);

// Name and text of each program.
std::vector<std::pair<std::string, std::string>> demo_programs();

}  // namespace muster::cli
