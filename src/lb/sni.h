// Which certificates a client is offered: by the name that it asks for (server_name, RFC 6066 3). Pure.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace muster::lb {

// What is known of one certificate: its names, in lower case ("a.example", "*.example"), and the type of its key.
struct NamedCertificate {
  std::vector<std::string> names;
  int key_type = 0;
};

class SniTable {
 public:
  // Certificates are known by their place in the list, which is not empty.
  explicit SniTable(const std::vector<NamedCertificate>& certificates);

  // Sets of certificates that are offered together: one of each key type, of which client and server take what both
  // can use. The first set is for a client that asks for no name, or for an unknown one: the first certificate and its
  // like.
  [[nodiscard]] const std::vector<std::vector<std::size_t>>& sets() const { return sets_; }

  // Which set: that of the name itself, else that of the wildcard for it (one label, RFC 6125 6.4.3), else the first.
  [[nodiscard]] std::size_t find(std::string_view server_name) const;

 private:
  std::size_t number_of(std::vector<std::size_t> set);

  std::vector<std::vector<std::size_t>> sets_;
  std::map<std::string, std::size_t, std::less<>> set_of_name_;
};

}  // namespace muster::lb
