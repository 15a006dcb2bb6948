#include "supervisor/proc_files.h"

#include <charconv>

namespace muster::supervisor {
namespace {

// The next word up to `separator`; `rest` goes on behind it.
std::string_view next_word(std::string_view& rest, char separator) {
  const std::size_t end = rest.find(separator);
  const std::string_view word = rest.substr(0, end);
  rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  return word;
}

std::string_view without_newline(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  return text;
}

int to_int(std::string_view word) {
  int value = 0;
  std::from_chars(word.data(), word.data() + word.size(), value);
  return value;
}

// mountinfo writes blanks, tabs, newlines and backslashes as \ooo.
std::string unescaped(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    int code = 0;
    if (text[i] == '\\' && i + 3 < text.size() &&
        std::from_chars(&text[i + 1], &text[i + 1] + 3, code, 8).ptr == &text[i + 1] + 3) {
      plain.push_back(static_cast<char>(code));
      i += 3;
    } else {
      plain.push_back(text[i]);
    }
  }
  return plain;
}

}  // namespace

std::optional<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<ProcStat> parse_proc_stat(std::string_view text) {
  ProcStat stat;
  stat.pid = to_int(text);
  // The name may hold anything, also ") Z 1": the last parenthesis ends it.
  const std::size_t close = text.rfind(')');
  if (stat.pid <= 0 || close == std::string_view::npos || close + 2 >= text.size()) return std::nullopt;
  std::string_view rest = without_newline(text.substr(close + 2));
  stat.state = next_word(rest, ' ').front();
  // Field numbers are those of proc(5).
  for (int field = 4; field <= 24; ++field) {
    if (rest.empty() && field <= 22) return std::nullopt;
    const std::string_view word = next_word(rest, ' ');
    if (field == 4) stat.parent = to_int(word);
    if (field == 6) stat.session = to_int(word);
    if (field == 14 || field == 15) stat.cpu_ticks += parse_number(word).value_or(0);
    if (field == 20) stat.threads = parse_number(word).value_or(0);
    if (field == 22) stat.start_ticks = parse_number(word).value_or(0);
    if (field == 24) stat.resident_pages = parse_number(word).value_or(0);
  }
  return stat;
}

std::optional<std::uint64_t> parse_proportional(std::string_view text) {
  while (!text.empty()) {
    std::string_view line = next_word(text, '\n');
    if (next_word(line, ' ') != "Pss:") continue;
    line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
    const auto kibibytes = parse_number(line.substr(0, line.find(' ')));
    return kibibytes ? std::optional(*kibibytes * 1024) : std::nullopt;
  }
  return std::nullopt;
}

std::vector<std::string> environ_lines(std::string_view environ) {
  std::vector<std::string> lines;
  while (!environ.empty()) {
    const std::size_t end = std::min(environ.find('\0'), environ.size());
    if (end > 0) lines.emplace_back(environ.substr(0, end));
    environ.remove_prefix(std::min(end + 1, environ.size()));
  }
  return lines;
}

std::vector<std::string_view> environ_items(std::string_view environ, std::string_view name) {
  std::vector<std::string_view> items;
  while (!environ.empty()) {
    std::string_view variable = next_word(environ, '\0');
    if (variable.size() <= name.size() || !variable.starts_with(name) || variable[name.size()] != '=')
      continue;
    variable.remove_prefix(name.size() + 1);
    while (!variable.empty()) items.push_back(next_word(variable, ','));
  }
  return items;
}

std::optional<std::string> parse_cgroup2_path(std::string_view text) {
  while (!text.empty()) {
    std::string_view line = next_word(text, '\n');
    if (!line.starts_with("0::/")) continue;
    line.remove_prefix(3);
    // "/.." is a group outside of our cgroup namespace.
    if (line.ends_with(" (deleted)") || line.starts_with("/..")) return std::nullopt;
    return std::string(line);
  }
  return std::nullopt;
}

std::vector<std::string> cgroup2_folders(std::string_view mountinfo, std::string_view path) {
  std::vector<std::string> folders;
  while (!mountinfo.empty()) {
    std::string_view line = next_word(mountinfo, '\n');
    const std::size_t dash = line.find(" - ");
    if (dash == std::string_view::npos || !line.substr(dash + 3).starts_with("cgroup2 ")) continue;
    for (int field = 1; field <= 3; ++field) next_word(line, ' ');
    const std::string root = unescaped(next_word(line, ' '));
    const std::string point = unescaped(next_word(line, ' '));
    std::string_view below = path;
    if (root != "/") {
      if (!below.starts_with(root) || (below.size() > root.size() && below[root.size()] != '/')) continue;
      below.remove_prefix(root.size());
    }
    if (below == "/") below = {};
    folders.push_back(point + std::string(below));
  }
  return folders;
}

std::optional<std::uint64_t> keyed_number(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    std::string_view line = next_word(text, '\n');
    if (next_word(line, ' ') == key) return parse_number(line);
  }
  return std::nullopt;
}

std::vector<int> parse_pids(std::string_view text) {
  std::vector<int> pids;
  while (!text.empty()) {
    const int pid = to_int(next_word(text, '\n'));
    if (pid > 0) pids.push_back(pid);  // 0: a process of another pid namespace
  }
  return pids;
}

std::optional<std::uint64_t> parse_statm_resident(std::string_view text) {
  next_word(text, ' ');
  return parse_number(next_word(text, ' '));
}

}  // namespace muster::supervisor
