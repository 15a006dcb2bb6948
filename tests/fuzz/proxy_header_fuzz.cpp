// Any bytes as the beginning of a stream: a verdict, the same however the bytes are cut, and one that is written again
// as it was read.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include "base/limits.h"
#include "lb/proxy_header.h"

namespace {

using namespace muster;
using lb::ProxyState;

void demand(bool condition) {
  if (!condition) std::abort();
}

// In memory that ends where they do, so that a sanitizer sees a read behind them.
lb::ProxyVerdict parse(std::string_view bytes) {
  const auto copy = std::make_unique<char[]>(bytes.size());
  if (!bytes.empty()) std::memcpy(copy.get(), bytes.data(), bytes.size());
  return lb::parse_proxy_header({copy.get(), bytes.size()});
}

void is_written_as_read(const lb::ProxyAddresses& addresses, spec::ProxyProtocol::Version version) {
  const std::string header = lb::write_proxy_header(version, addresses);
  const lb::ProxyVerdict again = parse(header);
  demand(again.state == ProxyState::complete && again.bytes == header.size());
  if (!again.addresses) return;  // version 1 knows no unix sockets
  demand(std::memcmp(&again.addresses->source, &addresses.source, sizeof addresses.source) == 0);
  demand(std::memcmp(&again.addresses->destination, &addresses.destination, sizeof addresses.destination) ==
         0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const lb::ProxyVerdict verdict = parse(bytes);
  if (verdict.state == ProxyState::need_more) demand(size < limits::proxy_header_bytes_max);
  if (verdict.state != ProxyState::complete) {
    demand(!verdict.addresses);
    return 0;
  }
  demand(verdict.bytes > 0 && verdict.bytes <= size && verdict.bytes <= limits::proxy_header_bytes_max);
  for (std::size_t cut = 0; cut < verdict.bytes; ++cut)
    demand(parse(bytes.substr(0, cut)).state == ProxyState::need_more);
  demand(parse(bytes.substr(0, verdict.bytes)).state == ProxyState::complete);
  if (!verdict.addresses) return 0;
  is_written_as_read(*verdict.addresses, spec::ProxyProtocol::Version::v1);
  is_written_as_read(*verdict.addresses, spec::ProxyProtocol::Version::v2);
  return 0;
}
