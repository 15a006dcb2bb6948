#include "spec/reader.h"

#include <algorithm>
#include <cmath>

#include "base/limits.h"
#include "fmt/core.h"

namespace muster::spec {

void Reader::wrong_type(const Node& node, std::string_view wanted, std::string hint) const {
  error(node.at, fmt::format("expected {}, found {}", wanted, kind_name(node.kind)), std::move(hint));
}

void Reader::each_key(Section section, const Node& table,
                      const std::function<void(std::string_view, const Node&)>& set) const {
  for (const Member& member : table.members) {
    if (member.key.starts_with("x-")) continue;
    const KeyRow* row = find_key(section, member.key);
    if (row == nullptr) {
      error(member.at, fmt::format("unknown key '{}'", member.key),
            report_.full() ? "" : suggest_key(section, member.key));
    } else if (!row->built) {
      error(member.at, fmt::format("'{}' is not in this version", member.key));
    } else {
      set(row->name, member.value);
    }
  }
}

bool Reader::table(const Node& node, std::string_view what) const {
  if (node.is(Node::Kind::table)) return true;
  wrong_type(node, what);
  return false;
}

void Reader::each_name(const Node& node, std::string_view what,
                       const std::function<void(const Member&)>& set) const {
  if (!table(node, what)) return;
  for (const Member& member : node.members)
    if (!member.key.starts_with("x-")) set(member);
}

bool Reader::few_enough(std::size_t count, Mark at, std::string_view what) const {
  if (count <= limits::spec_names_max) return true;
  error(at, fmt::format("more than {} {}", limits::spec_names_max, what));
  return false;
}

bool Reader::count_env_bytes(std::size_t bytes, Mark at) const {
  env_bytes_ += bytes;
  if (env_bytes_ <= limits::env_bytes_max) return true;
  error(at, fmt::format("the env_files of all apps hold more than {} MiB", limits::env_bytes_max >> 20U));
  return false;
}

bool Reader::valid_name(const std::string& name, Mark at, std::string_view what) const {
  const auto lower = [](char byte) { return byte >= 'a' && byte <= 'z'; };
  const auto inside = [&](char byte) { return lower(byte) || (byte >= '0' && byte <= '9') || byte == '-'; };
  if (!name.empty() && name.size() <= limits::name_chars_max && lower(name.front()) && name.back() != '-' &&
      std::ranges::all_of(name, inside))
    return true;
  error(at, fmt::format("'{}' is no name for {}", name, what),
        fmt::format(
            "names are lower-case letters, digits and '-', begin with a letter, do not end with '-', and "
            "have at most {} characters",
            limits::name_chars_max));
  return false;
}

// A NUL would end the string for the system; "\u0000" is how TOML smuggles one in.
bool Reader::clean(std::string_view text, Mark at) const {
  if (text.find('\0') == std::string_view::npos) return true;
  error(at, "a string with a NUL character cannot be used");
  return false;
}

std::optional<std::string> Reader::text(const Node& node) const {
  if (!node.is(Node::Kind::text)) {
    wrong_type(node, "a string");
    return std::nullopt;
  }
  if (!clean(node.text, node.at)) return std::nullopt;
  return checked(expand_environment(node.text, world_.env), node.at);
}

std::optional<std::string> Reader::text_not_empty(const Node& node) const {
  auto value = text(node);
  if (!value || !value->empty()) return value;
  error(node.at, "an empty string cannot be used here");
  return std::nullopt;
}

std::optional<bool> Reader::boolean(const Node& node) const {
  if (node.is(Node::Kind::boolean)) return node.flag;
  const bool quoted = node.is(Node::Kind::text) && (node.text == "true" || node.text == "false");
  wrong_type(node, "true or false", quoted ? fmt::format("did you mean {}, without quotes?", node.text) : "");
  return std::nullopt;
}

std::optional<std::int64_t> Reader::integer(const Node& node, std::int64_t min, std::int64_t max) const {
  if (node.is(Node::Kind::integer) && node.integer >= min && node.integer <= max) return node.integer;
  if (node.is(Node::Kind::integer)) {
    error(node.at, fmt::format("{} is not in {}..{}", node.integer, min, max));
    return std::nullopt;
  }
  const bool quoted = node.is(Node::Kind::text) && parse_digits(node.text, 1000000000);
  wrong_type(node, fmt::format("an integer in {}..{}", min, max),
             quoted ? fmt::format("did you mean {}, without quotes?", node.text) : "");
  return std::nullopt;
}

std::optional<double> Reader::number(const Node& node, double min, double max) const {
  if (!node.is(Node::Kind::integer) && !node.is(Node::Kind::number)) {
    wrong_type(node, fmt::format("a number in {}..{}", min, max));
    return std::nullopt;
  }
  const double value = node.is(Node::Kind::integer) ? static_cast<double>(node.integer) : node.number;
  if (value >= min && value <= max) return value;
  error(node.at, fmt::format("{} is not in {}..{}", value, min, max));
  return std::nullopt;
}

std::optional<Millis> Reader::duration(const Node& node, Millis min) const {
  if (node.is(Node::Kind::integer)) {
    error(node.at, "a duration needs a unit", fmt::format("did you mean \"{}s\"?", node.integer));
    return std::nullopt;
  }
  if (!node.is(Node::Kind::text)) {
    wrong_type(node, "a duration like \"5s\"");
    return std::nullopt;
  }
  const auto written = text(node);
  if (!written) return std::nullopt;
  const auto value = checked(parse_duration(*written), node.at);
  if (!value || *value >= min) return value;
  error(node.at, fmt::format("'{}' is too short: at least {}ms", *written, min.count()));
  return std::nullopt;
}

std::optional<std::uint64_t> Reader::size(const Node& node) const {
  if (node.is(Node::Kind::integer)) {
    error(node.at, "a size needs a unit", fmt::format("did you mean \"{0}MiB\" or \"{0}B\"?", node.integer));
    return std::nullopt;
  }
  if (!node.is(Node::Kind::text)) {
    wrong_type(node, "a size like \"64MiB\"");
    return std::nullopt;
  }
  const auto written = text(node);
  if (!written) return std::nullopt;
  return checked(parse_size(*written), node.at);
}

std::optional<std::uint32_t> Reader::octal(const Node& node, std::uint32_t max) const {
  if (node.is(Node::Kind::integer)) {
    wrong_type(node, "a quoted octal mode", fmt::format("did you mean \"{:03}\"?", node.integer));
    return std::nullopt;
  }
  const auto written = text(node);
  if (!written) return std::nullopt;
  return checked(parse_octal(*written, max), node.at);
}

std::optional<std::size_t> Reader::word(const Node& node, const std::vector<std::string_view>& words,
                                        const std::vector<std::string_view>& later) const {
  const auto written = text(node);
  if (!written) return std::nullopt;
  const auto found = std::ranges::find(words, *written);
  if (found != words.end()) return static_cast<std::size_t>(found - words.begin());
  if (std::ranges::find(later, *written) != later.end()) {
    error(node.at, fmt::format("'{}' is not in this version", *written));
    return std::nullopt;
  }
  std::string all;
  for (const std::string_view one : words) all += fmt::format("{}\"{}\"", all.empty() ? "" : ", ", one);
  std::string hint = suggest(*written, words);
  error(node.at, fmt::format("'{}' is not one of {}", *written, all), std::move(hint));
  return std::nullopt;
}

std::vector<const Node*> Reader::listed(const Node& node) {
  if (!node.is(Node::Kind::list)) return {&node};
  std::vector<const Node*> nodes;
  nodes.reserve(node.items.size());
  for (const Node& item : node.items) nodes.push_back(&item);
  return nodes;
}

std::optional<Template> Reader::templated(std::string_view raw, Mark at,
                                          std::vector<VariableUse>& uses) const {
  if (!clean(raw, at)) return std::nullopt;
  auto made = checked(parse_template(raw, world_.env), at);
  if (!made) return std::nullopt;
  for (const Template::Part& part : made->parts())
    if (const auto* variable = std::get_if<TemplateVariable>(&part)) uses.push_back({at, *variable});
  return made;
}

std::optional<Template> Reader::templated(const Node& node, std::vector<VariableUse>& uses) const {
  if (node.is(Node::Kind::text)) return templated(node.text, node.at, uses);
  wrong_type(node, "a string");
  return std::nullopt;
}

std::optional<std::vector<Template>> Reader::command(std::string_view raw, Mark at,
                                                     std::vector<VariableUse>& uses) const {
  const auto words = checked(split_words(raw), at);
  if (!words) return std::nullopt;
  std::vector<Template> argv;
  for (const std::string& word : *words) {
    auto made = templated(word, at, uses);
    if (!made) return std::nullopt;
    argv.push_back(std::move(*made));
  }
  if (!argv.empty() && !argv.front().text().empty()) return argv;
  error(at, "no program is named here");
  return std::nullopt;
}

std::optional<std::vector<Template>> Reader::command(const Node& node, std::vector<VariableUse>& uses) const {
  if (node.is(Node::Kind::text)) return command(node.text, node.at, uses);
  if (!node.is(Node::Kind::list)) {
    wrong_type(node, "a string or a list of strings");
    return std::nullopt;
  }
  std::vector<Template> argv;
  bool good = true;
  for (const Node& item : node.items) {
    auto made = templated(item, uses);
    good = good && made;
    if (made) argv.push_back(std::move(*made));
  }
  if (!good) return std::nullopt;
  if (!argv.empty() && !argv.front().text().empty()) return argv;
  error(node.at, "no program is named here");
  return std::nullopt;
}

std::optional<std::string> Reader::path(const Node& node) const {
  auto written = text_not_empty(node);
  if (!written || written->starts_with('/')) return written;
  return folder_ + (folder_.ends_with('/') ? "" : "/") + *written;
}

}  // namespace muster::spec
