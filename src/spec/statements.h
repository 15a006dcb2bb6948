// The statements of a TOML text, found without understanding them: to leave a broken one out and read on, and to
// say where a key was defined first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace muster::spec {

// A header or `key = value`, from its first character to its last line's end.
struct Statement {
  std::size_t begin = 0;
  std::size_t end = 0;
  std::int32_t line = 0;
  std::int32_t column = 0;
  std::int32_t last_line = 0;
};

struct LineColumn {
  std::int32_t line = 0;
  std::int32_t column = 0;
};

// Two places of one key.
struct Redefinition {
  std::string key;
  LineColumn first;
  LineColumn second;
};

class Statements {
 public:
  Statements(std::string text, std::vector<Statement> statements)
      : text_(std::move(text)), statements_(std::move(statements)) {}

  [[nodiscard]] const std::string& text() const { return text_; }
  // The statement that has this line.
  [[nodiscard]] std::optional<std::size_t> at_line(std::int32_t line) const;
  // What the parser means by "cannot redefine" in this statement; none when no earlier place is found.
  [[nodiscard]] std::optional<Redefinition> redefinition(std::size_t index) const;
  // Takes it out of the text; lines stay where they are. What follows a header goes to a table that is ignored.
  void remove(std::size_t index);

 private:
  std::string text_;
  std::vector<Statement> statements_;
};

}  // namespace muster::spec
