// The only file that includes toml++. Its assertions are defined away: with them one wrong character, as in
// `[{a]`, would end the process; without them it is an ordinary error.
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#define TOML_ENABLE_WINDOWS_COMPAT 0
#define TOML_ASSERT(condition) static_cast<void>(0)
#define TOML_ASSERT_ASSUME(condition) static_cast<void>(0)
#define TOML_MAX_NESTED_VALUES 64
#include "spec/tree.h"

#include <algorithm>

#include "spec/guard.h"
#include "toml++/toml.h"

namespace muster::spec {

namespace {

Mark mark_of(const toml::source_position& position, std::uint32_t file) {
  return {file, static_cast<std::int32_t>(position.line), static_cast<std::int32_t>(position.column)};
}

Node convert(const toml::node& from, std::uint32_t file);

void convert_table(const toml::table& from, Node& node, std::uint32_t file) {
  node.kind = Node::Kind::table;
  node.members.reserve(from.size());
  for (auto&& [key, value] : from)
    node.members.push_back({std::string(key.str()), mark_of(key.source().begin, file), convert(value, file)});
  // The library sorts by name; errors go by the order of the file.
  std::ranges::sort(node.members, {}, &Member::at);
}

Node convert(const toml::node& from, std::uint32_t file) {
  Node node;
  node.at = mark_of(from.source().begin, file);
  switch (from.type()) {
    case toml::node_type::string:
      node.kind = Node::Kind::text;
      node.text = from.as_string()->get();
      break;
    case toml::node_type::integer:
      node.kind = Node::Kind::integer;
      node.integer = from.as_integer()->get();
      break;
    case toml::node_type::floating_point:
      node.kind = Node::Kind::number;
      node.number = from.as_floating_point()->get();
      break;
    case toml::node_type::boolean:
      node.kind = Node::Kind::boolean;
      node.flag = from.as_boolean()->get();
      break;
    case toml::node_type::date:
    case toml::node_type::time:
    case toml::node_type::date_time:
    case toml::node_type::none:
      node.kind = Node::Kind::datetime;
      break;
    case toml::node_type::array:
      node.kind = Node::Kind::list;
      node.items.reserve(from.as_array()->size());
      for (const toml::node& item : *from.as_array()) node.items.push_back(convert(item, file));
      break;
    case toml::node_type::table:
      convert_table(*from.as_table(), node, file);
      break;
  }
  return node;
}

}  // namespace

const Member* Node::find(std::string_view key) const {
  const auto found = std::ranges::find(members, key, &Member::key);
  return found == members.end() ? nullptr : &*found;
}

std::string_view kind_name(Node::Kind kind) {
  switch (kind) {
    case Node::Kind::text:
      return "a string";
    case Node::Kind::integer:
      return "an integer";
    case Node::Kind::number:
      return "a number";
    case Node::Kind::boolean:
      return "true or false";
    case Node::Kind::datetime:
      return "a date or time";
    case Node::Kind::list:
      return "a list";
    case Node::Kind::table:
      return "a table";
  }
  return "";
}

ParsedTree parse_tree(std::string_view text, std::uint32_t file) {
  ParsedTree parsed;
  text = without_bom(text);
  if (auto refused = guard_text(text, file)) {
    parsed.errors.push_back(std::move(*refused));
    return parsed;
  }
  const toml::parse_result result = toml::parse(text, std::string_view{});
  if (!result) {
    const toml::parse_error& error = result.error();
    parsed.errors.push_back({mark_of(error.source().begin, file), std::string(error.description()), ""});
    return parsed;
  }
  parsed.root = convert(result.table(), file);
  return parsed;
}

}  // namespace muster::spec
