// Which route a request takes: by host and path. Pure, immutable once made.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "spec/spec.h"

namespace muster::lb {

// The host of an authority (RFC 3986 3.2) without its port and without the dot of an absolute name; brackets stay.
std::string_view host_of(std::string_view authority);
// The path of a request target (RFC 9112 3.2) without its query; "/" for "*".
std::string_view path_of(std::string_view target);

class Router {
 public:
  // Routes of one host and path.
  struct Group {
    std::string host;
    std::string path;
    std::vector<std::size_t> members;  // indices of the routes, in their order
    // One entry for each turn, spread evenly: turn t of many belongs to members[turns[t % turns.size()]]. One route
    // alone has one turn.
    std::vector<std::uint16_t> turns;
  };

  Router() = default;
  explicit Router(std::span<const spec::Route> routes);

  [[nodiscard]] const std::vector<Group>& groups() const { return groups_; }
  // The group of the most exact host that has a matching path, and of its paths the longest.
  [[nodiscard]] std::optional<std::size_t> find(std::string_view host, std::string_view path) const;

 private:
  using Numbers = std::vector<std::size_t>;  // of groups, longest path first
  [[nodiscard]] std::optional<std::size_t> find_path(const Numbers& numbers, std::string_view path) const;
  std::vector<Group> groups_;
  std::map<std::string, Numbers, std::less<>> exact_;
  std::vector<std::pair<std::string, Numbers>> below_;  // ".example.org", longest first
  Numbers any_;
};

}  // namespace muster::lb
