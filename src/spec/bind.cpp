// Addresses to listen on.
#include <arpa/inet.h>
#include <netinet/in.h>

#include <array>

#include "fmt/core.h"
#include "spec/draft.h"

namespace muster::spec {

namespace {

constexpr std::size_t unix_path_bytes_max = 107;  // sun_path without its NUL

// The canonical text of a numeric address: "::0:1" and "::1" are one bind.
std::optional<std::string> canonical_host(const std::string& host, bool six) {
  std::array<unsigned char, sizeof(in6_addr)> bytes{};
  std::array<char, INET6_ADDRSTRLEN> text{};
  const int family = six ? AF_INET6 : AF_INET;
  if (inet_pton(family, host.c_str(), bytes.data()) != 1) return std::nullopt;
  if (inet_ntop(family, bytes.data(), text.data(), text.size()) == nullptr) return std::nullopt;
  return std::string(text.data());
}

Parsed<BindAddress> parse_unix(const std::string& written, const std::string& folder) {
  BindAddress bind;
  bind.kind = BindAddress::Kind::unix_path;
  bind.path = written.substr(5);
  if (bind.path.empty() || bind.path.ends_with('/'))
    return Complaint{fmt::format("'{}' names no socket", written), "write \"unix:/path\""};
  if (!bind.path.starts_with('/')) bind.path = folder + (folder.ends_with('/') ? "" : "/") + bind.path;
  if (bind.path.size() > unix_path_bytes_max)
    return Complaint{fmt::format("a socket's path has at most {} bytes, this one {}", unix_path_bytes_max,
                                 bind.path.size()),
                     ""};
  bind.text = "unix:" + bind.path;
  return bind;
}

Parsed<BindAddress> parse_systemd(const std::string& written) {
  BindAddress bind;
  bind.kind = BindAddress::Kind::systemd;
  bind.path = written.substr(8);
  if (bind.path.empty() || bind.path.size() > 255 || bind.path.find(':') != std::string::npos)
    return Complaint{fmt::format("'{}' names no socket of the service manager", written),
                     "write \"systemd:NAME\""};
  bind.text = written;
  return bind;
}

Complaint not_an_address(const std::string& written, const std::string& host, std::uint64_t port) {
  if (host.empty())
    return {fmt::format("'{}' does not say which address", written),
            fmt::format("write {0} or \"127.0.0.1:{0}\" for this host alone, \"0.0.0.0:{0}\" for everybody",
                        port)};
  std::string hint = "write a number like \"127.0.0.1:8080\" or \"[::1]:8080\"";
  if (host == "localhost") hint = fmt::format("did you mean \"127.0.0.1:{}\"?", port);
  if (host == "*") hint = fmt::format("did you mean \"0.0.0.0:{}\"?", port);
  if (canonical_host(host, true)) hint = fmt::format("did you mean \"[{}]:{}\"?", host, port);
  return {fmt::format("'{}' is no numeric address", host), std::move(hint)};
}

}  // namespace

Parsed<BindAddress> parse_bind(const std::string& text, const std::string& folder) {
  if (text.starts_with("unix:")) return parse_unix(text, folder);
  if (text.starts_with("systemd:")) return parse_systemd(text);
  const auto colon = text.rfind(':');
  const auto port = colon == std::string::npos ? 0 : parse_digits(text.substr(colon + 1), 65535).value_or(0);
  if (parse_digits(text, 65535))
    return Complaint{fmt::format("'{}' does not say which address", text),
                     fmt::format("did you mean {0}, without quotes, or \"127.0.0.1:{0}\"?", text)};
  if (port == 0)
    return Complaint{fmt::format("'{}' is no address with a port in 1..65535", text),
                     "write \"127.0.0.1:8080\", \"[::1]:8080\" or \"unix:/path\""};
  std::string host = text.substr(0, colon);
  const bool six = host.size() > 2 && host.starts_with('[') && host.ends_with(']');
  if (six) host = host.substr(1, host.size() - 2);
  const auto canonical = canonical_host(host, six);
  if (!canonical) return not_an_address(text, host, port);
  BindAddress bind;
  bind.host = *canonical;
  bind.port = static_cast<std::uint16_t>(port);
  bind.text = six ? fmt::format("[{}]:{}", bind.host, bind.port) : fmt::format("{}:{}", bind.host, bind.port);
  return bind;
}

}  // namespace muster::spec
