#include "lb/proxy_header.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

#include "base/limits.h"

namespace muster::lb {

namespace {
constexpr std::string_view v1_begin = "PROXY ";
constexpr std::size_t v1_bytes_max = 107;  // its CRLF included
constexpr std::string_view v2_begin("\r\n\r\n\0\r\nQUIT\n", 12);
constexpr std::size_t v2_fixed_bytes = 16;
constexpr std::uint8_t v2_local = 0x20;
constexpr std::uint8_t v2_proxy = 0x21;

// The upper half of the fourteenth byte.
enum class Family : std::uint8_t { unspecified, inet, inet6, local };
constexpr std::uint8_t families = 4;
constexpr std::uint8_t transports = 3;  // the lower half: unspecified, stream, datagram
constexpr std::array<std::size_t, families> address_bytes{0, 12, 36, 216};  // of both ends
constexpr std::uint8_t stream = 1;

constexpr ProxyVerdict need_more{.state = ProxyState::need_more};
constexpr ProxyVerdict bad{};

bool begins_alike(std::string_view bytes, std::string_view begin) {
  const std::size_t both = std::min(bytes.size(), begin.size());
  return bytes.substr(0, both) == begin.substr(0, both);
}

// Up to the next blank, which is taken too.
std::string_view next_word(std::string_view& line) {
  const std::size_t blank = line.find(' ');
  const std::string_view word = line.substr(0, blank);
  line.remove_prefix(blank == std::string_view::npos ? line.size() : blank + 1);
  return word;
}

bool read_address(std::string_view word, bool is_v6, sockaddr_storage& address) {
  if (word.find('\0') != std::string_view::npos) return false;  // the text would end there
  const std::string text(word);
  if (is_v6) {
    auto& v6 = reinterpret_cast<sockaddr_in6&>(address);
    v6.sin6_family = AF_INET6;
    return ::inet_pton(AF_INET6, text.c_str(), &v6.sin6_addr) == 1;
  }
  auto& v4 = reinterpret_cast<sockaddr_in&>(address);
  v4.sin_family = AF_INET;
  return ::inet_pton(AF_INET, text.c_str(), &v4.sin_addr) == 1;
}

bool read_port(std::string_view word, sockaddr_storage& address) {
  std::uint16_t port = 0;
  const char* const end = word.data() + word.size();
  const auto [at, error] = std::from_chars(word.data(), end, port);
  const bool padded = word.size() > 1 && word.front() == '0';
  if (word.empty() || padded || error != std::errc{} || at != end) return false;
  // The port stands at the same place in both.
  reinterpret_cast<sockaddr_in&>(address).sin_port = htons(port);
  return true;
}

ProxyVerdict parse_v1(std::string_view bytes) {
  if (bytes.size() < v1_begin.size()) return need_more;
  const std::size_t feed = bytes.substr(0, v1_bytes_max).find('\n');
  if (feed == std::string_view::npos) return bytes.size() < v1_bytes_max ? need_more : bad;
  if (bytes[feed - 1] != '\r') return bad;
  ProxyVerdict verdict{.state = ProxyState::complete, .bytes = feed + 1};
  std::string_view line = bytes.substr(v1_begin.size(), feed - 1 - v1_begin.size());
  const std::string_view protocol = next_word(line);
  if (protocol == "UNKNOWN") return verdict;  // whatever follows
  if (protocol != "TCP4" && protocol != "TCP6") return bad;
  const bool is_v6 = protocol == "TCP6";
  ProxyAddresses addresses;
  const bool read = read_address(next_word(line), is_v6, addresses.source) &&
                    read_address(next_word(line), is_v6, addresses.destination) &&
                    read_port(next_word(line), addresses.source) &&
                    line.find(' ') == std::string_view::npos && read_port(line, addresses.destination);
  if (!read) return bad;
  verdict.addresses = addresses;
  return verdict;
}

template <typename T>
void take(std::string_view& bytes, T& into) {
  std::memcpy(&into, bytes.data(), sizeof into);
  bytes.remove_prefix(sizeof into);
}

template <typename SocketAddress, typename Family, typename Host, typename Port>
ProxyAddresses read_inet(std::string_view bytes, int number, Family family, Host host, Port port) {
  ProxyAddresses addresses;
  auto& source = reinterpret_cast<SocketAddress&>(addresses.source);
  auto& destination = reinterpret_cast<SocketAddress&>(addresses.destination);
  source.*family = destination.*family = static_cast<sa_family_t>(number);
  take(bytes, source.*host);
  take(bytes, destination.*host);
  take(bytes, source.*port);
  take(bytes, destination.*port);
  return addresses;
}

ProxyAddresses read_local(std::string_view bytes) {
  ProxyAddresses addresses;
  auto& source = reinterpret_cast<sockaddr_un&>(addresses.source);
  auto& destination = reinterpret_cast<sockaddr_un&>(addresses.destination);
  source.sun_family = destination.sun_family = AF_UNIX;
  take(bytes, source.sun_path);
  take(bytes, destination.sun_path);
  return addresses;
}

std::uint8_t byte_at(std::string_view bytes, std::size_t at) {
  return static_cast<std::uint8_t>(bytes[at]);
}

ProxyVerdict parse_v2(std::string_view bytes) {
  // Each byte is looked at as soon as it is there: nobody is waited for who sends something else.
  const bool has_command = bytes.size() > 12;
  const bool is_local = has_command && byte_at(bytes, 12) == v2_local;
  if (has_command && !is_local && byte_at(bytes, 12) != v2_proxy) return bad;
  if (bytes.size() < v2_fixed_bytes) return need_more;
  const unsigned family = byte_at(bytes, 13) >> 4U;
  const unsigned transport = byte_at(bytes, 13) & 0x0fU;
  const std::size_t length = static_cast<std::size_t>(byte_at(bytes, 14)) << 8U | byte_at(bytes, 15);
  const std::size_t total = v2_fixed_bytes + length;
  if (total > limits::proxy_header_bytes_max) return bad;
  const bool counts = !is_local;  // whatever stands in a LOCAL one is skipped
  if (counts && (family >= families || transport >= transports || length < address_bytes[family])) return bad;
  if (bytes.size() < total) return need_more;
  ProxyVerdict verdict{.state = ProxyState::complete, .bytes = total};
  if (!counts) return verdict;
  const std::string_view ends = bytes.substr(v2_fixed_bytes);
  switch (static_cast<Family>(family)) {
    case Family::unspecified:
      break;
    case Family::inet:
      verdict.addresses = read_inet<sockaddr_in>(ends, AF_INET, &sockaddr_in::sin_family,
                                                 &sockaddr_in::sin_addr, &sockaddr_in::sin_port);
      break;
    case Family::inet6:
      verdict.addresses = read_inet<sockaddr_in6>(ends, AF_INET6, &sockaddr_in6::sin6_family,
                                                  &sockaddr_in6::sin6_addr, &sockaddr_in6::sin6_port);
      break;
    case Family::local:
      verdict.addresses = read_local(ends);
      break;
  }
  return verdict;
}

Family family_of(const ProxyAddresses& addresses) {
  if (addresses.source.ss_family != addresses.destination.ss_family) return Family::unspecified;
  switch (addresses.source.ss_family) {
    case AF_INET:
      return Family::inet;
    case AF_INET6:
      return Family::inet6;
    case AF_UNIX:
      return Family::local;
    default:
      return Family::unspecified;
  }
}

std::string text_of(const sockaddr_storage& address) {
  const void* const raw =
      address.ss_family == AF_INET6
          ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in6&>(address).sin6_addr)
          : &reinterpret_cast<const sockaddr_in&>(address).sin_addr;
  std::array<char, INET6_ADDRSTRLEN> text{};
  ::inet_ntop(address.ss_family, raw, text.data(), text.size());
  return text.data();
}

std::string port_of(const sockaddr_storage& address) {
  return std::to_string(ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port));
}

std::string write_v1(const ProxyAddresses& addresses) {
  const Family family = family_of(addresses);
  if (family != Family::inet && family != Family::inet6) return "PROXY UNKNOWN\r\n";
  return std::string(v1_begin) + (family == Family::inet ? "TCP4 " : "TCP6 ") + text_of(addresses.source) +
         " " + text_of(addresses.destination) + " " + port_of(addresses.source) + " " +
         port_of(addresses.destination) + "\r\n";
}

template <typename T>
void put(std::string& header, const T& value) {
  header.append(reinterpret_cast<const char*>(&value), sizeof value);
}

template <typename SocketAddress, typename Host, typename Port>
void put_inet(std::string& header, const ProxyAddresses& addresses, Host host, Port port) {
  const auto& source = reinterpret_cast<const SocketAddress&>(addresses.source);
  const auto& destination = reinterpret_cast<const SocketAddress&>(addresses.destination);
  put(header, source.*host);
  put(header, destination.*host);
  put(header, source.*port);
  put(header, destination.*port);
}

std::string write_v2(const ProxyAddresses& addresses) {
  const Family family = family_of(addresses);
  const auto number = static_cast<std::uint8_t>(family);
  const std::size_t length = address_bytes[number];
  std::string header(v2_begin);
  header += static_cast<char>(v2_proxy);
  header += static_cast<char>(family == Family::unspecified ? 0 : number << 4U | stream);
  header += static_cast<char>(length >> 8U);
  header += static_cast<char>(length & 0xffU);
  switch (family) {
    case Family::unspecified:
      break;
    case Family::inet:
      put_inet<sockaddr_in>(header, addresses, &sockaddr_in::sin_addr, &sockaddr_in::sin_port);
      break;
    case Family::inet6:
      put_inet<sockaddr_in6>(header, addresses, &sockaddr_in6::sin6_addr, &sockaddr_in6::sin6_port);
      break;
    case Family::local:
      put(header, reinterpret_cast<const sockaddr_un&>(addresses.source).sun_path);
      put(header, reinterpret_cast<const sockaddr_un&>(addresses.destination).sun_path);
      break;
  }
  return header;
}
}  // namespace

ProxyVerdict parse_proxy_header(std::string_view bytes) {
  if (bytes.empty()) return need_more;
  if (begins_alike(bytes, v1_begin)) return parse_v1(bytes);
  if (begins_alike(bytes, v2_begin)) return parse_v2(bytes);
  return bad;
}

std::string own_proxy_header(spec::ProxyProtocol::Version version) {
  if (version == spec::ProxyProtocol::Version::v1) return write_v1({});
  std::string header(v2_fixed_bytes, '\0');
  std::ranges::copy(v2_begin, header.begin());
  header[v2_begin.size()] = static_cast<char>(v2_local);
  return header;
}

std::string write_proxy_header(spec::ProxyProtocol::Version version, const ProxyAddresses& addresses) {
  return version == spec::ProxyProtocol::Version::v1 ? write_v1(addresses) : write_v2(addresses);
}

}  // namespace muster::lb
