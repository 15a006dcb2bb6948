// Edits of header fields, and networks.
#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <set>

#include "fmt/core.h"
#include "spec/draft.h"

namespace muster::spec {

namespace {

std::string lowered(std::string_view text) {
  std::string made(text);
  for (char& c : made) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return made;
}

// RFC 9110 5.6.2.
bool is_token_char(char c) {
  constexpr std::string_view others = "!#$%&'*+-.^_`|~";
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
         others.find(c) != std::string_view::npos;
}

// What frames a message or concerns one connection is not the user's to say.
bool is_ours(std::string_view lower_case) {
  constexpr std::array<std::string_view, 9> names{
      "connection", "content-length", "transfer-encoding", "upgrade",       "te",
      "trailer",    "keep-alive",     "proxy-connection",  "http2-settings"};
  return std::ranges::find(names, lower_case) != names.end();
}

class HeaderReader {
 public:
  HeaderReader(const Reader& reader, bool request) : reader_(reader), request_(request) {}

  HeaderEdits read(const Node& node) {
    if (!reader_.table(node, "a table { set, add, remove }")) return {};
    reader_.each_key(Section::headers, node, [this](std::string_view key, const Node& value) {
      if (key == "set") fields(value, edits_.set, true);
      if (key == "add") fields(value, edits_.add, false);
      if (key == "remove") names(value);
    });
    return std::move(edits_);
  }

 private:
  bool name(const std::string& text, Mark at, bool set) {
    const std::string lower_case = lowered(text);
    if (!is_token(text)) {
      reader_.error(at, fmt::format("'{}' is no name of a header field", text));
    } else if (is_ours(lower_case)) {
      reader_.error(
          at, fmt::format("'{}' is muster's own: it follows from the message and the connection", text));
    } else if (request_ && lower_case == "host" && !set) {
      reader_.error(at, "a request has one Host field: `set` changes it");
    } else {
      return true;
    }
    return false;
  }

  void fields(const Node& value, std::vector<HeaderField>& into, bool set) {
    if (!reader_.table(value, "a table of names and values")) return;
    if (!reader_.few_enough(value.members.size(), value.at, "fields")) return;
    std::set<std::string> seen;
    for (const Member& member : value.members) {
      if (!name(member.key, member.at, set)) continue;
      if (!seen.insert(lowered(member.key)).second)
        reader_.error(member.at, fmt::format("'{}' is there twice", member.key));
      if (set && member.value.is(Node::Kind::list)) {
        reader_.wrong_type(member.value, "a string");
        continue;
      }
      for (const Node* item : Reader::listed(member.value)) {
        if (auto text = reader_.text(*item); text && is_value(*text, item->at))
          into.push_back({.name = member.key, .value = std::move(*text)});
      }
    }
  }

  // RFC 9110 5.5.
  [[nodiscard]] bool is_value(const std::string& text, Mark at) const {
    const bool control =
        std::ranges::any_of(text, [](char c) { return (c >= 0 && c < ' ' && c != '\t') || c == 0x7f; });
    const auto blank = [](char c) { return c == ' ' || c == '\t'; };
    const bool padded = !text.empty() && (blank(text.front()) || blank(text.back()));
    if (control) reader_.error(at, "a header field's value has no control bytes");
    if (padded) reader_.error(at, "a header field's value has no blanks at its ends");
    return !control && !padded;
  }

  void names(const Node& value) {
    for (const Node* item : Reader::listed(value)) {
      auto text = reader_.text(*item);
      if (text && name(*text, item->at, false)) edits_.remove.push_back(lowered(*text));
    }
  }

  const Reader& reader_;
  const bool request_;
  HeaderEdits edits_;
};

}  // namespace

bool is_token(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, is_token_char);
}

HeaderEdits read_headers(const Reader& reader, const Node& node, bool request) {
  return HeaderReader(reader, request).read(node);
}

Parsed<Network> parse_network(const std::string& text) {
  const std::size_t slash = text.find('/');
  const std::string host = text.substr(0, slash);
  Network network;
  in_addr v4{};
  const bool is_v4 = inet_pton(AF_INET, host.c_str(), &v4) == 1;
  if (is_v4) {
    network.address[10] = network.address[11] = 0xff;
    std::memcpy(network.address.data() + 12, &v4, sizeof v4);
  } else if (inet_pton(AF_INET6, host.c_str(), network.address.data()) != 1) {
    return Complaint{fmt::format("'{}' is no network", text),
                     "\"10.0.0.0/8\", \"192.0.2.7\" or \"fd00::/8\""};
  }
  const int most = is_v4 ? 32 : 128;
  int bits = most;
  if (slash != std::string::npos) {
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data() + slash + 1, end, bits);
    if (error != std::errc() || stop != end || bits < 0 || bits > most)
      return Complaint{fmt::format("'{}': the number of bits is 0 to {}", text, most), ""};
  }
  network.bits = bits + (is_v4 ? 96 : 0);
  Network masked = network;
  for (std::size_t i = 0; i < masked.address.size(); ++i) {
    const int counted = std::clamp(network.bits - static_cast<int>(i) * 8, 0, 8);
    masked.address[i] &= static_cast<std::uint8_t>(0xffU << static_cast<unsigned>(8 - counted));
  }
  if (masked.address != network.address)
    return Complaint{fmt::format("'{}' has bits behind the first {}", text, bits), ""};
  return network;
}

}  // namespace muster::spec
