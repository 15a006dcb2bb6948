#include "supervisor/sealed_text.h"

#include <fmt/format.h>

#include <boost/crc.hpp>
#include <charconv>
#include <optional>

namespace muster::supervisor {
namespace {

std::string header_of(const Seal& kind, std::string_view body) {
  boost::crc_32_type crc;
  crc.process_bytes(body.data(), body.size());
  return fmt::format(R"({{"{}":{},"crc32":"{:08x}","bytes":{}}})", kind.kind, kind.version, crc.checksum(),
                     body.size());
}

// What the first line says its version is; none when it is no header of that kind.
std::optional<int> version_of(const Seal& kind, std::string_view header) {
  const std::string magic = fmt::format(R"({{"{}":)", kind.kind);
  if (!header.starts_with(magic)) return std::nullopt;
  header.remove_prefix(magic.size());
  int version = 0;
  const auto [end, error] = std::from_chars(header.data(), header.data() + header.size(), version);
  if (error != std::errc{} || end == header.data() + header.size() || *end != ',') return std::nullopt;
  return version;
}

}  // namespace

std::string seal(const Seal& kind, std::string_view body) {
  return fmt::format("{}\n{}", header_of(kind, body), body);
}

Result<std::string_view> unseal(const Seal& kind, std::string_view text) {
  if (text.size() > kind.bytes_max) return Error{.message = "is damaged: it is too large"};
  const std::size_t end = text.find('\n');
  if (end == std::string_view::npos)
    return Error{.message = text.empty() ? "is empty" : "is damaged: it is cut off"};
  const std::string_view header = text.substr(0, end);
  const std::string_view body = text.substr(end + 1);
  const auto version = version_of(kind, header);
  if (!version) return Error{.message = fmt::format("is damaged: it does not begin as {}", kind.what)};
  if (*version > kind.version)
    return Error{.message = fmt::format("was written by a newer muster (version {}; this one knows {})",
                                        *version, kind.version)};
  if (*version < kind.version)
    return Error{.message = fmt::format("was written by an older muster (version {}; this one knows {})",
                                        *version, kind.version)};
  if (header != header_of(kind, body)) return Error{.message = "is damaged: the checksum does not match"};
  return body;
}

}  // namespace muster::supervisor
