#include "supervisor/glob.h"

#include <algorithm>

#include "supervisor/text.h"

namespace muster::supervisor {
namespace {

constexpr std::size_t alternatives_max = 64;

// The place behind the "]" that closes the class which begins at `open`; npos when there is none in this segment.
std::size_t end_of_class(std::string_view text, std::size_t open) {
  std::size_t at = open + 1;
  if (at < text.size() && (text[at] == '!' || text[at] == '^')) ++at;
  if (at < text.size() && text[at] == ']') ++at;  // first in a class it is itself
  while (at < text.size() && text[at] != ']' && text[at] != '/') ++at;
  return at < text.size() && text[at] == ']' ? at + 1 : std::string_view::npos;
}

Error bad(std::string_view pattern, std::string_view what) {
  return {"the pattern '" + std::string(pattern) + "' " + std::string(what), ExitCode::bad_spec};
}

struct Braces {
  std::size_t open = std::string_view::npos;  // npos: there are none
  std::size_t close = 0;
  std::vector<std::size_t> cuts;  // the "{", each "," between, the "}"
};

// The first {…} outside of classes. False when a brace or a class is not closed.
bool find_braces(std::string_view text, Braces& found) {
  int depth = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '[') {
      const std::size_t end = end_of_class(text, at);
      if (end == std::string_view::npos) return false;
      at = end - 1;
    } else if (text[at] == '{') {
      if (depth++ == 0 && found.open == std::string_view::npos) {
        found.open = at;
        found.cuts.push_back(at);
      }
    } else if (text[at] == ',' && depth == 1) {
      found.cuts.push_back(at);
    } else if (text[at] == '}' && depth > 0 && --depth == 0) {
      found.close = at;
      found.cuts.push_back(at);
      return true;
    }
  }
  return depth == 0;
}

// Every text that the braces stand for.
Result<std::vector<std::string>> expand_braces(std::string_view pattern) {
  std::vector<std::string> open{std::string(pattern)};
  std::vector<std::string> done;
  while (!open.empty()) {
    const std::string text = std::move(open.back());
    open.pop_back();
    Braces braces;
    if (!find_braces(text, braces)) return bad(pattern, "has a [ or { that is not closed");
    if (braces.open == std::string::npos) {
      done.push_back(text);
    } else {
      for (std::size_t i = 0; i + 1 < braces.cuts.size(); ++i) {
        const std::size_t begin = braces.cuts[i] + 1;
        open.push_back(text.substr(0, braces.open) + text.substr(begin, braces.cuts[i + 1] - begin) +
                       text.substr(braces.close + 1));
      }
    }
    if (open.size() + done.size() > alternatives_max)
      return bad(pattern, "stands for more than 64 by its braces");
  }
  return done;
}

bool in_class(std::string_view inside, char c) {
  const bool negated = inside.starts_with('!') || inside.starts_with('^');
  if (negated) inside.remove_prefix(1);
  const auto code = [](char byte) { return static_cast<unsigned char>(byte); };
  for (std::size_t i = 0; i < inside.size(); ++i) {
    const bool range = i + 2 < inside.size() && inside[i + 1] == '-';
    const char last = range ? inside[i + 2] : inside[i];
    if (code(c) >= code(inside[i]) && code(c) <= code(last)) return !negated;
    if (range) i += 2;
  }
  return negated;
}

// What one element of the pattern (not "*") eats of `name`: bytes of it, 0 = it does not match; and its own length.
struct Eaten {
  std::size_t of_name = 0;
  std::size_t of_pattern = 1;
};
Eaten eat(std::string_view pattern, std::string_view name) {
  if (pattern[0] == '?') return {std::max<std::size_t>(utf8_char_bytes(name), 1), 1};
  if (pattern[0] != '[') return {pattern[0] == name[0] ? 1U : 0U, 1};
  const std::size_t end = end_of_class(pattern, 0);
  return {in_class(pattern.substr(1, end - 2), name[0]) ? 1U : 0U, end};
}

// One name against one segment. On a mismatch only the last "*" has to give way, so the time is the product of the
// lengths at most.
bool name_matches(std::string_view pattern, std::string_view name) {
  if (name.starts_with('.') && !pattern.starts_with('.')) return false;
  std::size_t p = 0;
  std::size_t n = 0;
  std::size_t star = std::string_view::npos;
  std::size_t star_name = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      star_name = n;
      continue;
    }
    const Eaten eaten = p < pattern.size() ? eat(pattern.substr(p), name.substr(n)) : Eaten{};
    if (eaten.of_name > 0) {
      p += eaten.of_pattern;
      n += eaten.of_name;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++star_name;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

std::vector<std::string_view> names_of(std::string_view path) {
  std::vector<std::string_view> names;
  while (!path.empty()) {
    const std::size_t slash = std::min(path.find('/'), path.size());
    if (slash > 0) names.push_back(path.substr(0, slash));
    path.remove_prefix(std::min(slash + 1, path.size()));
  }
  return names;
}

// Which places of the pattern may come next after the names of `path`: a set of states, so that several "**" cost no
// more than one.
std::vector<bool> places_after(const std::vector<std::string>& segments, std::string_view path) {
  std::vector<bool> places(segments.size() + 1, false);
  const auto enter = [&](std::vector<bool>& set, std::size_t place) {
    set[place] = true;
    while (place < segments.size() && segments[place] == "**") set[++place] = true;
  };
  enter(places, 0);
  for (const std::string_view name : names_of(path)) {
    std::vector<bool> next(segments.size() + 1, false);
    for (std::size_t place = 0; place < segments.size(); ++place) {
      if (!places[place]) continue;
      if (segments[place] == "**") {
        if (!name.starts_with('.')) enter(next, place);
      } else if (name_matches(segments[place], name)) {
        enter(next, place + 1);
      }
    }
    places = std::move(next);
  }
  return places;
}

}  // namespace

Result<Glob> Glob::parse(std::string_view pattern) {
  if (pattern.empty()) return bad(pattern, "is empty");
  auto expanded = expand_braces(pattern);
  if (!expanded) return std::move(expanded).error();
  Glob glob;
  for (const std::string& text : expanded.value()) {
    if (text.starts_with('/')) return bad(pattern, "is absolute: watched files lie below the spec's folder");
    Segments segments;
    for (const std::string_view name : names_of(text)) {
      if (name == "..") return bad(pattern, "has '..': watched files lie below the spec's folder");
      if (name == "." || (name == "**" && !segments.empty() && segments.back() == "**")) continue;
      segments.emplace_back(name);
    }
    if (text.ends_with('/') && !segments.empty() && segments.back() != "**") segments.emplace_back("**");
    if (segments.empty()) return bad(pattern, "names nothing");
    if (segments.back() == "**") segments.emplace_back("*");  // everything below: any folders, then a name
    glob.alternatives_.push_back(std::move(segments));
  }
  return glob;
}

bool Glob::matches(std::string_view path) const {
  // `-> bool`: what vector<bool> gives is a reference into a vector that ends with the statement.
  return std::any_of(alternatives_.begin(), alternatives_.end(),
                     [&](const Segments& segments) -> bool { return places_after(segments, path).back(); });
}

bool Glob::may_match_below(std::string_view path) const {
  return std::any_of(alternatives_.begin(), alternatives_.end(), [&](const Segments& segments) {
    const std::vector<bool> places = places_after(segments, path);
    return std::find(places.begin(), places.end() - 1, true) != places.end() - 1;
  });
}

}  // namespace muster::supervisor
