#include "spec/statements.h"

#include <algorithm>
#include <map>

#include "fmt/core.h"
#include "spec/utf8.h"

namespace muster::spec {

namespace {

struct Key {
  std::vector<std::string> path;
  LineColumn at;  // of the last name of the path
};

// Goes over a statement token by token; knows just so much of TOML as to find keys.
class Cursor {
 public:
  Cursor(std::string_view text, LineColumn at) : rest_(text), at_(at) {}

  [[nodiscard]] bool done() const { return rest_.empty(); }
  [[nodiscard]] char front() const { return rest_.front(); }
  [[nodiscard]] LineColumn at() const { return at_; }

  void take() {
    const CodePoint point = decode_utf8(rest_, 0);
    if (rest_.front() == '\n') {
      ++at_.line;
      at_.column = 0;
    }
    ++at_.column;
    rest_.remove_prefix(point.bytes == 0 ? 1 : point.bytes);
  }

  void skip_blanks() {
    while (!done() && (front() == ' ' || front() == '\t')) take();
  }
  void skip_space() {
    while (!done() && (front() == ' ' || front() == '\t' || front() == '\r' || front() == '\n')) take();
  }
  void skip_comment() {
    while (!done() && front() != '\n') take();
  }

  // A quoted string, quotes taken off; escapes stay as they are written.
  std::string take_string() {
    const char quote = front();
    const std::string_view three = quote == '"' ? "\"\"\"" : "'''";
    const bool lines = rest_.starts_with(three);
    for (int i = 0; i < (lines ? 3 : 1); ++i) take();
    std::string value;
    while (!done() && !(lines ? rest_.starts_with(three) : front() == quote)) {
      if (quote == '"' && front() == '\\' && rest_.size() > 1) take_into(value);
      take_into(value);
    }
    for (int i = 0; i < (lines ? 3 : 1) && !done(); ++i) take();
    return value;
  }

  Key take_key() {
    Key key;
    while (!done()) {
      skip_blanks();
      if (done()) break;
      key.at = at_;
      std::string name;
      if (front() == '"' || front() == '\'') {
        name = take_string();
      } else {
        while (!done() && is_bare(front())) take_into(name);
      }
      key.path.push_back(std::move(name));
      skip_blanks();
      if (done() || front() != '.') break;
      take();
    }
    return key;
  }

 private:
  static bool is_bare(char byte) {
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
           byte == '_' || byte == '-';
  }
  void take_into(std::string& value) {
    const std::string_view before = rest_;
    take();
    value += before.substr(0, before.size() - rest_.size());
  }

  std::string_view rest_;
  LineColumn at_;
};

struct Head {
  bool header = false;
  bool list = false;  // [[name]]
  Key key;
};

Head head_of(std::string_view text, const Statement& statement) {
  Cursor cursor(text.substr(statement.begin, statement.end - statement.begin),
                {statement.line, statement.column});
  Head head;
  for (int i = 0; i < 2 && !cursor.done() && cursor.front() == '['; ++i) {
    head.list = head.header;
    head.header = true;
    cursor.take();
  }
  head.key = cursor.take_key();
  return head;
}

std::string joined(const std::vector<std::string>& path) {
  std::string text;
  for (const std::string& name : path) text += (text.empty() ? "" : ".") + name;
  return text;
}

bool one_begins_other(const std::vector<std::string>& one, const std::vector<std::string>& other) {
  const std::size_t common = std::min(one.size(), other.size());
  return std::equal(one.begin(), one.begin() + static_cast<std::ptrdiff_t>(common), other.begin());
}

// Keys of the inline tables of one statement.
std::optional<Redefinition> within(std::string_view text, const Statement& statement) {
  Cursor cursor(text.substr(statement.begin, statement.end - statement.begin),
                {statement.line, statement.column});
  struct Open {
    bool table;
    std::map<std::string, LineColumn> keys;
  };
  std::vector<Open> open;
  bool key_next = false;
  while (!cursor.done()) {
    const char byte = cursor.front();
    if (key_next && byte != ' ' && byte != '\t' && byte != '}') {
      key_next = false;
      const Key key = cursor.take_key();
      const std::string name = joined(key.path);
      const auto [known, fresh] = open.back().keys.emplace(name, key.at);
      if (!fresh) return Redefinition{name, known->second, key.at};
      if (!cursor.done() && cursor.front() != '=') cursor.take();
      continue;
    }
    if (byte == '"' || byte == '\'') {
      static_cast<void>(cursor.take_string());
      continue;
    }
    if (byte == '#') {
      cursor.skip_comment();
      continue;
    }
    if (byte == '{' || byte == '[') {
      open.push_back({byte == '{', {}});
      key_next = byte == '{';
    } else if ((byte == '}' || byte == ']') && !open.empty()) {
      open.pop_back();
      key_next = false;
    } else if (byte == ',' && !open.empty()) {
      key_next = open.back().table;
    }
    cursor.take();
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::size_t> Statements::at_line(std::int32_t line) const {
  const auto after = std::ranges::upper_bound(statements_, line, {}, &Statement::line);
  if (after == statements_.begin()) return std::nullopt;
  const auto found = after - 1;
  if (line > found->last_line) return std::nullopt;
  return static_cast<std::size_t>(found - statements_.begin());
}

std::optional<Redefinition> Statements::redefinition(std::size_t index) const {
  struct Seen {
    std::vector<std::string> path;
    LineColumn at;
    std::size_t table;  // [[name]] opens a new one each time
    bool header;
  };
  std::vector<Seen> all;
  std::vector<std::string> header;
  std::size_t table = 0;
  for (std::size_t i = 0; i <= index; ++i) {
    const Head head = head_of(text_, statements_[i]);
    if (head.header) {
      if (head.list) ++table;
      header = head.key.path;
      all.push_back({header, head.key.at, table, true});
    } else {
      std::vector<std::string> path = header;
      path.insert(path.end(), head.key.path.begin(), head.key.path.end());
      all.push_back({std::move(path), head.key.at, table, false});
    }
  }
  const Seen& second = all.back();
  const auto last = all.end() - 1;
  auto first = std::find_if(all.begin(), last, [&](const Seen& seen) {
    return seen.path == second.path && seen.table == second.table;
  });
  if (auto inner = within(text_, statements_[index]); inner && first == last) return inner;
  // Else one is a value and the other a table around or within it.
  if (first == last)
    first = std::find_if(all.begin(), last, [&](const Seen& seen) {
      const bool around = seen.path.size() < second.path.size();
      return !(around && seen.header) && one_begins_other(seen.path, second.path);
    });
  if (first == last) return std::nullopt;
  return Redefinition{joined(second.path), first->at, second.at};
}

void Statements::remove(std::size_t index) {
  const Statement& statement = statements_[index];
  const bool header = text_[statement.begin] == '[';
  for (std::size_t i = statement.begin; i < statement.end; ++i)
    if (text_[i] != '\n') text_[i] = ' ';
  if (!header) return;
  const std::string ignored = fmt::format("[x-.ignored-{}]", index);
  text_.insert(statement.begin, ignored);
  for (std::size_t i = index; i < statements_.size(); ++i) {
    if (i > index) statements_[i].begin += ignored.size();
    statements_[i].end += ignored.size();
  }
}

}  // namespace muster::spec
