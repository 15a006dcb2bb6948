#include "lb/router.h"

#include <algorithm>
#include <array>
#include <numeric>

namespace muster::lb {

namespace {

constexpr std::size_t host_bytes_max = 255;

bool matches(std::string_view path, std::string_view rule) {
  if (rule == "/") return true;
  return path.starts_with(rule) && (path.size() == rule.size() || path[rule.size()] == '/');
}

// Smooth weighted round robin, laid out once: each member's turns lie as far apart as its weight allows.
std::vector<std::uint16_t> spread(std::span<const int> weights) {
  int divisor = 0;
  for (const int weight : weights) divisor = std::gcd(divisor, weight);
  if (divisor == 0) return {0};
  std::vector<int> left(weights.size(), 0);
  const int total = std::accumulate(weights.begin(), weights.end(), 0) / divisor;
  std::vector<std::uint16_t> turns;
  turns.reserve(static_cast<std::size_t>(total));
  for (int turn = 0; turn < total; ++turn) {
    std::size_t best = 0;
    for (std::size_t i = 0; i < weights.size(); ++i) {
      left[i] += weights[i] / divisor;
      if (left[i] > left[best]) best = i;
    }
    left[best] -= total;
    turns.push_back(static_cast<std::uint16_t>(best));
  }
  return turns;
}

}  // namespace

std::string_view host_of(std::string_view authority) {
  if (authority.starts_with('[')) return authority.substr(0, authority.find(']') + 1);
  std::string_view host = authority.substr(0, authority.find(':'));
  if (host.ends_with('.')) host.remove_suffix(1);
  return host;
}

std::string_view path_of(std::string_view target) {
  const std::string_view path = target.substr(0, target.find('?'));
  return path.starts_with('/') ? path : "/";
}

Router::Router(std::span<const spec::Route> routes) {
  std::map<std::string, Numbers> below;
  for (std::size_t i = 0; i < routes.size(); ++i) {
    const spec::Route& route = routes[i];
    Numbers& numbers = route.host.empty()             ? any_
                       : route.host.starts_with("*.") ? below[route.host.substr(1)]
                                                      : exact_[route.host];
    auto at = std::ranges::find(numbers, route.path, [this](std::size_t n) { return groups_[n].path; });
    if (at == numbers.end()) {
      numbers.push_back(groups_.size());
      at = std::prev(numbers.end());
      groups_.push_back(Group{.host = route.host, .path = route.path, .members = {}, .turns = {}});
    }
    groups_[*at].members.push_back(i);
  }
  for (Group& group : groups_) {
    std::vector<int> weights;
    for (const std::size_t member : group.members) weights.push_back(routes[member].weight);
    group.turns = weights.size() == 1 ? std::vector<std::uint16_t>{0} : spread(weights);
  }
  const auto sort = [this](Numbers& numbers) {
    std::ranges::stable_sort(numbers, std::ranges::greater(),
                             [this](std::size_t n) { return groups_[n].path.size(); });
  };
  for (auto& [host, numbers] : exact_) sort(numbers);
  for (auto& [suffix, numbers] : below) {
    sort(numbers);
    below_.emplace_back(suffix, std::move(numbers));
  }
  std::ranges::stable_sort(below_, std::ranges::greater(),
                           [](const auto& entry) { return entry.first.size(); });
  sort(any_);
}

std::optional<std::size_t> Router::find_path(const Numbers& numbers, std::string_view path) const {
  for (const std::size_t number : numbers) {
    if (matches(path, groups_[number].path)) return number;
  }
  return std::nullopt;
}

std::optional<std::size_t> Router::find(std::string_view host, std::string_view path) const {
  if (host.size() <= host_bytes_max && !(exact_.empty() && below_.empty())) {
    std::array<char, host_bytes_max> lowered{};
    std::ranges::transform(host, lowered.begin(), [](char c) {
      return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    const std::string_view name(lowered.data(), host.size());
    if (const auto at = exact_.find(name); at != exact_.end()) {
      if (const auto number = find_path(at->second, path)) return number;
    }
    for (const auto& [suffix, numbers] : below_) {
      if (name.size() <= suffix.size() || !name.ends_with(suffix)) continue;
      if (const auto number = find_path(numbers, path)) return number;
    }
  }
  return find_path(any_, path);
}

}  // namespace muster::lb
