#include "spec/merge.h"

#include <string_view>
#include <unordered_map>

#include "fmt/core.h"

namespace muster::spec {

namespace {

using Places = std::unordered_map<std::string_view, std::size_t>;

Places places_of(const Node& table) {
  Places places;
  for (std::size_t i = 0; i < table.members.size(); ++i) places.emplace(table.members[i].key, i);
  return places;
}

}  // namespace

void merge_file(Node& into, Node&& from, Report& report) {
  // The names point into the keys: room for all first, so that none moves.
  into.members.reserve(into.members.size() + from.members.size());
  const Places places = places_of(into);
  for (Member& member : from.members) {
    const auto known = places.find(member.key);
    if (known == places.end()) {
      into.members.push_back(std::move(member));
      continue;
    }
    Member& first = into.members[known->second];
    if (first.value.is(Node::Kind::table) && member.value.is(Node::Kind::table)) {
      merge_file(first.value, std::move(member.value), report);
    } else if (member.key != "include") {
      report.error(member.at,
                   fmt::format("'{}' is already defined at {}", member.key, report.place(first.at)));
    }
  }
}

Node with_defaults(const Node& app, const Node& defaults) {
  Node merged = app;
  merged.members.reserve(app.members.size() + defaults.members.size());
  const Places places = places_of(merged);
  for (const Member& member : defaults.members) {
    const auto known = places.find(member.key);
    if (known == places.end()) {
      merged.members.push_back(member);
      continue;
    }
    Node& own = merged.members[known->second].value;
    if (own.is(Node::Kind::table) && member.value.is(Node::Kind::table))
      own = with_defaults(own, member.value);
  }
  return merged;
}

}  // namespace muster::spec
