// Strong ids: no bare int for a process, a revision or an instance.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <string>

namespace muster {

// One slot of an app: "web/0". Volume, numbered port and log belong to the slot; a process is its tenant.
struct ReplicaId {
  std::string app;
  int ordinal = 0;
  auto operator<=>(const ReplicaId&) const = default;  // NOLINT(modernize-use-nullptr): there is no 0
};
inline std::string to_string(const ReplicaId& id) {
  return id.app + "/" + std::to_string(id.ordinal);
}

// One tenancy of a slot, from its planning to the end of its last process. Never used twice in a daemon's
// life.
enum class InstanceId : std::uint64_t {};

// The n-th text of an app that needs other processes, counted from 1 and kept over reload and daemon restart.
enum class Revision : std::uint32_t {};

// Versions of the routing snapshot, counted from 1.
enum class SnapshotVersion : std::uint64_t {};

// A request of the control API that waits for its answer.
enum class CommandId : std::uint64_t {};

template <typename Id>
requires std::is_enum_v<Id>
constexpr auto raw(Id id) noexcept {
  return static_cast<std::underlying_type_t<Id>>(id);
}

}  // namespace muster
