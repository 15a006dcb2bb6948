#include "supervisor/load_meter.h"

#include <charconv>
#include <string>

namespace muster::supervisor {

void LoadMeter::count_in_flight(const std::map<InstanceId, std::uint64_t>& in_flight) {
  for (const auto& [instance, count] : in_flight) {
    Sum& sum = sums_[instance];
    sum.in_flight += static_cast<double>(count);
    ++sum.count;
  }
}

TrafficSeen LoadMeter::see_requests(const std::map<InstanceId, Requests>& requests, Instant now) {
  TrafficSeen seen;
  std::map<InstanceId, Asked> asked;
  for (const auto& [instance, counted] : requests) {
    const auto before = asked_.find(instance);
    const bool busy = counted.in_flight > 0 || before == asked_.end() || before->second.all != counted.all;
    const Asked& mine = asked[instance] = {.all = counted.all, .last = busy ? now : before->second.last};
    seen.last.emplace(instance, mine.last);
  }
  asked_ = std::move(asked);
  return seen;
}

LoadMeasured LoadMeter::measure(const std::map<InstanceId, Use>& uses, const HostLoad& host, Instant now) {
  LoadMeasured measured{.by_instance = {}, .host = host};
  std::map<InstanceId, Seen> seen;
  for (const auto& [instance, use] : uses) {
    LoadSample& sample = measured.by_instance[instance];
    sample.memory_bytes = use.memory_bytes;
    const auto before = seen_.find(instance);
    if (before != seen_.end() && now - before->second.at >= young) {
      const std::chrono::duration<double> used = use.cpu - before->second.cpu;
      const std::chrono::duration<double> passed = now - before->second.at;
      sample.cpu_percent = std::max(0.0, 100.0 * used.count() / passed.count());
      seen[instance] = Seen{now, use.cpu};
    } else {
      seen[instance] = before == seen_.end() ? Seen{now, use.cpu} : before->second;
    }
    if (const auto sum = sums_.find(instance); sum != sums_.end())
      sample.in_flight = sum->second.in_flight / sum->second.count;
  }
  seen_ = std::move(seen);
  sums_.clear();
  return measured;
}

namespace {
// The number behind `key` in a text of lines; none: it is not there.
std::optional<double> number_behind(std::string_view text, std::string_view key) {
  const std::size_t at = text.find(key);
  if (at == std::string_view::npos) return std::nullopt;
  text.remove_prefix(at + key.size());
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  double value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  return problem == std::errc{} && value >= 0 ? std::optional(value) : std::nullopt;
}
}  // namespace

HostLoad host_load(std::string_view meminfo, std::string_view pressure) {
  constexpr double kib = 1024;
  HostLoad load;
  load.memory_total = static_cast<std::uint64_t>(number_behind(meminfo, "MemTotal:").value_or(0) * kib);
  load.memory_available =
      static_cast<std::uint64_t>(number_behind(meminfo, "MemAvailable:").value_or(0) * kib);
  load.memory_pressure = number_behind(pressure, "some avg10=");
  return load;
}

}  // namespace muster::supervisor
