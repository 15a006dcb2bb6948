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
#include <optional>

#include "base/limits.h"
#include "spec/guard.h"
#include "spec/statements.h"
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

// The library stops at its first error. Texts up to this size are parsed again without the broken statement.
constexpr std::size_t reparsed_bytes_max = 256U << 10U;

SyntaxError explain(const toml::parse_error& error, Mark at, const Statements& statements,
                    std::optional<std::size_t> broken) {
  std::string_view message = error.description();
  if (message.find("cannot redefine") != std::string_view::npos && broken) {
    if (const auto twice = statements.redefinition(*broken))
      return {{at.file, twice->second.line, twice->second.column},
              {at.file, twice->first.line, twice->first.column},
              "'" + twice->key + "' is already defined",
              ""};
  }
  if (message.find("unescaped control characters") != std::string_view::npos)  // the others never get here
    return {at, {}, "the string is not closed on its line", "text of several lines stands in \"\"\" or '''"};
  // "Error while parsing key: expected …": the caret shows where.
  constexpr std::string_view lead = "Error while parsing ";
  const auto colon = message.find(": ");
  if (message.starts_with(lead) && colon != std::string_view::npos) message.remove_prefix(colon + 2);
  return {at, {}, std::string(message), ""};
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
  Guarded guarded = guard_text(text, file);
  if (guarded.refused) {
    parsed.errors.push_back(std::move(*guarded.refused));
    return parsed;
  }
  const std::size_t rounds = text.size() > reparsed_bytes_max ? 1 : limits::spec_syntax_errors_max;
  Statements statements(std::string(text), std::move(guarded.statements));
  while (parsed.errors.size() < rounds) {
    const toml::parse_result result = toml::parse(std::string_view(statements.text()), std::string_view{});
    if (result) {
      parsed.root = convert(result.table(), file);
      break;
    }
    const Mark at = mark_of(result.error().source().begin, file);
    const auto broken = statements.at_line(at.line);
    parsed.errors.push_back(explain(result.error(), at, statements, broken));
    if (!broken) break;
    statements.remove(*broken);
  }
  return parsed;
}

}  // namespace muster::spec
