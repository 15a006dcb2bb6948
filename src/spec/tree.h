// The syntax tree of a TOML file: values with their places, keys in the order of the text. Includes and
// [defaults] are merged on it, so it knows files by number.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace muster::spec {

// A place in one of the files of a load. Line 0 = the file as a whole.
struct Mark {
  std::uint32_t file = 0;
  std::int32_t line = 0;
  std::int32_t column = 0;                        // in code points
  auto operator<=>(const Mark&) const = default;  // NOLINT(modernize-use-nullptr): of its making
};

struct Member;

struct Node {
  enum class Kind : std::uint8_t { text, integer, number, boolean, datetime, list, table };
  Kind kind = Kind::table;
  bool flag = false;            // boolean
  Mark at;                      // of the value
  std::int64_t integer = 0;     // integer
  double number = 0;            // number
  std::string text;             // text
  std::vector<Node> items;      // list
  std::vector<Member> members;  // table; no key twice

  [[nodiscard]] bool is(Kind wanted) const { return kind == wanted; }
  [[nodiscard]] const Member* find(std::string_view key) const;  // looks at every member
};

struct Member {
  std::string key;
  Mark at;  // of the key
  Node value;
};

// "a string", "a table" …: for errors.
std::string_view kind_name(Node::Kind kind);

struct SyntaxError {
  Mark at;
  Mark first{};  // of a key that is defined twice: where it was first; else line 0
  std::string message;
  std::string hint;
};

struct ParsedTree {
  Node root;
  std::vector<SyntaxError> errors;  // any: the root holds the statements without one
};

// Parses the text of file number `file`. Never throws, never ends the process, takes time and memory that are
// bounded by limits::spec_*.
ParsedTree parse_tree(std::string_view text, std::uint32_t file);

}  // namespace muster::spec
