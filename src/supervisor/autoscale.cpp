#include "supervisor/autoscale.h"

#include <algorithm>
#include <cmath>

#include "fmt/core.h"

namespace muster::supervisor {

namespace {

constexpr double tolerance = 0.1;
constexpr int up_at_once = 4;
constexpr int memory_kept_share = 10;  // of all: so much stays available
constexpr double pressure_max = 10.0;  // percent of time in which something waits for memory

int ceiled(double replicas) {
  // What is whole but for the last bit of a double is whole.
  return static_cast<int>(std::ceil(replicas - 1e-9));
}

struct Sums {
  double measured = 0;
  int ready = 0;    // and measured
  int missing = 0;  // ready, not measured
  int unready = 0;
};

Sums sum_up(const MetricLoad& metric) {
  Sums sums;
  for (const ReplicaLoad& replica : metric.replicas) {
    if (!replica.ready) {
      ++sums.unready;
    } else if (!replica.value) {
      ++sums.missing;
    } else {
      ++sums.ready;
      sums.measured += *replica.value;
    }
  }
  return sums;
}

bool within_tolerance(double ratio) {
  return std::abs(ratio - 1.0) <= tolerance + 1e-9;
}

std::string amount(double value) {
  return value < 10 && value != std::floor(value) ? fmt::format("{:.1f}", value)
                                                  : fmt::format("{:.0f}", value);
}

std::string sentence(const MetricLoad& metric) {
  const Sums sums = sum_up(metric);
  std::string text = fmt::format("{} is {}{} on average of {} ready, target {}{}", metric.name,
                                 amount(sums.measured / sums.ready), metric.unit, sums.ready,
                                 amount(metric.target), metric.unit);
  if (sums.missing + sums.unready > 0) text += fmt::format(" ({} not measured)", sums.missing + sums.unready);
  return text;
}

}  // namespace

std::optional<int> recommended(const MetricLoad& metric, int current) {
  const Sums sums = sum_up(metric);
  if (sums.ready == 0) return std::nullopt;
  const double ratio = sums.measured / (metric.target * sums.ready);
  const bool up = ratio > 1.0;
  const int idle = up ? sums.unready + sums.missing : 0;
  const int loaded = up ? 0 : sums.missing;
  if (idle + loaded == 0) return within_tolerance(ratio) ? current : ceiled(ratio * sums.ready);
  const int counted = sums.ready + idle + loaded;
  const double again = (sums.measured + loaded * metric.missing_down) / (metric.target * counted);
  if (within_tolerance(again) || (up && again < 1.0) || (!up && again > 1.0)) return current;
  const int replicas = ceiled(again * counted);
  // What those that are not measured are taken for must not turn the direction.
  return up ? std::max(replicas, current) : std::min(replicas, current);
}

HostRoom host_room(const HostLoad& host, std::uint64_t memory_of_one, int coming) {
  constexpr int all = 1'000'000;
  if (host.memory_pressure && *host.memory_pressure > pressure_max)
    return {
        .more = 0,
        .why = fmt::format("the host is short of memory: something waited for it {:.0f} % of the last 10 s",
                           *host.memory_pressure)};
  const std::uint64_t kept = host.memory_total / memory_kept_share;
  const std::uint64_t free = host.memory_available > kept ? host.memory_available - kept : 0;
  if (host.memory_total == 0 || memory_of_one == 0) return {.more = all, .why = ""};
  const auto fit = static_cast<int>(std::min<std::uint64_t>(free / memory_of_one, all));
  return {.more = std::max(fit - coming, 0),
          .why = fmt::format(
              "the host has {} MiB of memory available, a replica takes {} MiB{} and a tenth of all is kept",
              host.memory_available >> 20U, std::max<std::uint64_t>(memory_of_one >> 20U, 1),
              coming > 0 ? fmt::format(", {} are not ready yet", coming) : "")};
}

// The largest number of the window: a load that comes and goes ends no replica.
int Autoscaler::held_down(int wanted, int current, Millis window, Instant now) {
  recommendations_.push_back({.at = now, .replicas = wanted});
  while (now - recommendations_.front().at > window) recommendations_.pop_front();
  if (wanted >= current) return wanted;
  const auto largest = std::ranges::max_element(recommendations_, {}, &Recommendation::replicas);
  return std::min(largest->replicas, current);
}

int Autoscaler::bounded_up(int wanted, int current, Instant now) const {
  int lately = 0;
  for (const Change& up : ups_) {
    if (now - up.at < autoscale_every) lately += up.by;
  }
  const int before = current - lately;
  return std::min(wanted, std::max({current, before * 2, before + up_at_once}));
}

Autoscaler::Verdict Autoscaler::look(const spec::Scale& scale, const std::vector<MetricLoad>& metrics,
                                     int current, const HostRoom& room, Instant now) {
  std::optional<int> wanted;
  std::string why;
  bool all_measured = true;
  for (const MetricLoad& metric : metrics) {
    const auto replicas = recommended(metric, current);
    all_measured = all_measured && replicas.has_value();
    if (!replicas || (wanted && *replicas <= *wanted)) continue;
    wanted = replicas;
    why = sentence(metric);
  }
  if (!wanted) return {.replicas = current, .why = "nothing was measured", .is_held_back = false};
  // What was not measured may be the reason to stay.
  if (!all_measured) wanted = std::max(*wanted, current);
  // What was needed does not change with the bounds.
  int replicas = std::clamp(held_down(*wanted, current, scale.window, now), scale.min, scale.max);
  bool is_held_back = false;
  if (replicas > current) {
    replicas = bounded_up(replicas, current, now);
    if (replicas > current + room.more) {
      why += fmt::format("; {} are needed, but {}", replicas, room.why);
      replicas = current + room.more;
      is_held_back = true;
    }
  } else if (replicas == current && *wanted < current && current > scale.min) {
    why += fmt::format("; more were needed within the last {:.0f} s",
                       std::chrono::duration<double>(scale.window).count());
  }
  if (*wanted > scale.max) why += fmt::format("; `max` is {}", scale.max);
  if (changed_ && replicas != current && now - *changed_ < scale.cooldown)
    return {
        .replicas = current, .why = why + "; within `cooldown` of the last change", .is_held_back = false};
  while (!ups_.empty() && now - ups_.front().at >= autoscale_every) ups_.pop_front();
  if (replicas > current) ups_.push_back({.at = now, .by = replicas - current});
  if (replicas != current) changed_ = now;
  return {.replicas = replicas, .why = std::move(why), .is_held_back = is_held_back};
}

}  // namespace muster::supervisor
