// Ports of replicas: "auto" ones from [daemon] port_range, one per process and name, kept until the tenancy ends.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "spec/spec.h"

namespace muster::supervisor {

class Ports {
 public:
  void set_range(std::uint16_t first, std::uint16_t last);  // live: for the next ones
  // Numbered ports of the spec and its listeners': never given away, also while nobody listens on them.
  void reserve_those_of(const spec::Spec& spec);

  // The ports of one tenancy: "" for {port}, then the names of `ports`. A numbered one that somebody listens on is an
  // error that names the holder (errno_value EADDRINUSE); no free port in the range is another.
  Result<std::vector<std::pair<std::string, std::uint16_t>>> take(const spec::App& app, int ordinal,
                                                                  InstanceId instance);
  // Those of a process that another daemon has started.
  void keep(const std::vector<std::pair<std::string, std::uint16_t>>& ports, InstanceId instance);
  void give_back(InstanceId instance);

 private:
  std::optional<std::uint16_t> next_free();

  std::uint16_t first_ = 20000;
  std::uint16_t last_ = 29999;
  std::uint16_t cursor_ = 20000;
  std::set<std::uint16_t> taken_;
  std::set<std::uint16_t> reserved_;
  std::map<InstanceId, std::vector<std::uint16_t>> by_instance_;
};

}  // namespace muster::supervisor
