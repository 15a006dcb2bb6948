#include "lb/sni.h"

#include <algorithm>

namespace muster::lb {

SniTable::SniTable(const std::vector<NamedCertificate>& certificates) {
  // The earlier one of two of the same name and key type serves it.
  std::map<std::string, std::vector<std::size_t>, std::less<>> by_name;
  for (std::size_t i = 0; i < certificates.size(); ++i) {
    for (const std::string& name : certificates[i].names) {
      std::vector<std::size_t>& set = by_name[name];
      const auto same_type = [&](std::size_t other) {
        return certificates[other].key_type == certificates[i].key_type;
      };
      if (std::ranges::none_of(set, same_type)) set.push_back(i);
    }
  }
  const auto& first_names = certificates.front().names;
  sets_.push_back(first_names.empty() ? std::vector<std::size_t>{0} : by_name[first_names.front()]);
  for (auto& [name, set] : by_name) set_of_name_.emplace(name, number_of(std::move(set)));
}

std::size_t SniTable::number_of(std::vector<std::size_t> set) {
  const auto known = std::ranges::find(sets_, set);
  if (known != sets_.end()) return static_cast<std::size_t>(known - sets_.begin());
  sets_.push_back(std::move(set));
  return sets_.size() - 1;
}

std::size_t SniTable::find(std::string_view server_name) const {
  std::string name(server_name.substr(0, server_name.size() - (server_name.ends_with('.') ? 1 : 0)));
  for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  if (const auto exact = set_of_name_.find(name); exact != set_of_name_.end()) return exact->second;
  const std::size_t dot = name.find('.');
  if (dot == std::string::npos) return 0;
  const auto wildcard = set_of_name_.find("*" + name.substr(dot));
  return wildcard == set_of_name_.end() ? 0 : wildcard->second;
}

}  // namespace muster::lb
