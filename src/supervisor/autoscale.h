// How many replicas a load needs: the arithmetic of Kubernetes' HorizontalPodAutoscaler (autoscaling/v2), which people
// know. Pure: measurements and time come in, a number and its reason come out.
//
// Each look (every 15 s): for each metric, replicas = ceil(ratio of measured to target × replicas measured), unless the
// ratio is within 10 % of 1. Replicas that are not ready count as idle on the way up and not at all on the way down;
// those without a measurement count as idle on the way up and as fully loaded on the way down. The largest number of all
// metrics wins. Down: the largest number of the last `window` holds. Up: at once, by at most as many as there were, or 4,
// in 15 s. Within `cooldown` of a change nothing changes. min and max hold always.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/time.h"
#include "spec/spec.h"

namespace muster::supervisor {

inline constexpr std::chrono::seconds autoscale_every{15};

struct ReplicaLoad {
  bool ready = false;
  std::optional<double> value;  // none: not measured
};

struct MetricLoad {
  std::string_view name;              // "cpu", "memory", "in_flight"
  std::string_view unit;              // " %", ""
  double target = 1;                  // what a replica should have, in the unit of the values
  double missing_down = 1;            // what one without a measurement counts for on the way down
  std::vector<ReplicaLoad> replicas;  // one for each that is wanted
};

// One metric's number for `current` wanted replicas; none: nothing was measured.
std::optional<int> recommended(const MetricLoad& metric, int current);

// What the host has left: a bound on the way up.
struct HostLoad {
  std::uint64_t memory_total = 0;
  std::uint64_t memory_available = 0;     // MemAvailable of proc_meminfo(5)
  std::optional<double> memory_pressure;  // avg10 of `some` in /proc/pressure/memory, in percent
};

// How many replicas of this size more the host's memory carries, so that a tenth of it stays available; "why" where it
// bounds. Those that are `coming` (wanted already and not ready yet) will take theirs, too.
struct HostRoom {
  int more = 0;
  std::string why;
};
HostRoom host_room(const HostLoad& host, std::uint64_t memory_of_one, int coming);

// The memory of one app's scaling. A value; starts empty with the daemon.
class Autoscaler {
 public:
  struct Verdict {
    int replicas = 0;
    std::string why;            // "cpu is 93 % of one core on average, target 50 %"
    bool is_held_back = false;  // more were needed than the host has room for
  };
  // `current` is within min and max. `room` bounds the way up.
  Verdict look(const spec::Scale& scale, const std::vector<MetricLoad>& metrics, int current,
               const HostRoom& room, Instant now);

 private:
  struct Recommendation {
    Instant at;
    int replicas = 0;
  };
  struct Change {
    Instant at;
    int by = 0;
  };
  int held_down(int wanted, int current, Millis window, Instant now);
  int bounded_up(int wanted, int current, Instant now) const;

  std::deque<Recommendation> recommendations_;
  std::deque<Change> ups_;
  std::optional<Instant> changed_;
};

}  // namespace muster::supervisor
