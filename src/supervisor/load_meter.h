// What the replicas have used since the last look: averages of what is asked each second, rates of what is counted.
// Pure: measurements and time come in.
#pragma once

#include <map>
#include <optional>
#include <string_view>

#include "supervisor/event.h"

namespace muster::supervisor {

class LoadMeter {
 public:
  struct Use {
    Nanos cpu{0};  // since its start, of the whole tree
    std::uint64_t memory_bytes = 0;
  };
  struct Requests {
    std::uint64_t all = 0;
    std::uint64_t in_flight = 0;
  };
  // Younger measurements say more about the start than about the load.
  static constexpr std::chrono::seconds young{5};

  [[nodiscard]] bool knows(InstanceId instance) const { return seen_.contains(instance); }
  // From here on its rate is measured.
  void meet(InstanceId instance, Nanos cpu, Instant now) { seen_.try_emplace(instance, Seen{now, cpu}); }
  // Once a second, of those that listeners lead to.
  void count_in_flight(const std::map<InstanceId, std::uint64_t>& in_flight);
  // The same, of what they have been asked since their start. When each had its last request.
  TrafficSeen see_requests(const std::map<InstanceId, Requests>& requests, Instant now);
  // The look: of these instances; the others are forgotten.
  LoadMeasured measure(const std::map<InstanceId, Use>& uses, const HostLoad& host, Instant now);

 private:
  struct Seen {
    Instant at;
    Nanos cpu{0};
  };
  struct Sum {
    double in_flight = 0;
    int count = 0;
  };
  struct Asked {
    std::uint64_t all = 0;
    Instant last;
  };
  std::map<InstanceId, Asked> asked_;
  std::map<InstanceId, Seen> seen_;
  std::map<InstanceId, Sum> sums_;
};

// Of proc_meminfo(5) and, where the kernel has it, /proc/pressure/memory.
HostLoad host_load(std::string_view meminfo, std::string_view pressure);

}  // namespace muster::supervisor
