#include "spec/report.h"

#include <algorithm>

#include "base/limits.h"
#include "fmt/core.h"
#include "spec/guard.h"
#include "spec/secrets.h"
#include "spec/utf8.h"

namespace muster::spec {

namespace {

// Of a longer line only the part around the place is kept: one line may hold the whole file.
constexpr std::size_t line_bytes_max = 240;
constexpr std::size_t context_chars = 80;
constexpr std::size_t masked_bytes_max = 64U << 10U;

// A sentence that quotes a key of a megabyte.
constexpr std::size_t message_bytes_max = 2000;

void shorten(std::string& message) {
  if (message.size() <= message_bytes_max) return;
  std::size_t end = message_bytes_max;
  while (end > 0 && (static_cast<unsigned char>(message[end]) & 0xC0U) == 0x80U) --end;
  message.resize(end);
  message += "...";
}

// Where the `column`-th code point of `line` starts, or the end.
std::size_t offset_of(std::string_view line, int column) {
  std::size_t at = 0;
  for (int i = 1; i < column && at < line.size(); ++i) {
    const CodePoint point = decode_utf8(line, at);
    at += point.bytes == 0 ? 1 : point.bytes;
  }
  return at;
}

// Text for a terminal: nothing in it moves the cursor. Tabs stay, they are copied below the line too.
std::string escaped(std::string_view text, bool keep_tabs) {
  std::string shown;
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint point = decode_utf8(text, at);
    if (point.bytes == 0) {
      shown += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[at]));
      ++at;
      continue;
    }
    if (is_control(point.value) && !(keep_tabs && point.value == '\t')) {
      shown += point.value < 0x100 ? fmt::format("\\x{:02x}", static_cast<unsigned>(point.value))
                                   : fmt::format("\\u{:04x}", static_cast<unsigned>(point.value));
    } else {
      shown += text.substr(at, point.bytes);
    }
    at += point.bytes;
  }
  return shown;
}

// As many columns as `text` takes on a terminal, as blanks; tabs stay tabs.
std::string blanks_below(std::string_view text) {
  std::string blanks;
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint point = decode_utf8(text, at);
    if (point.bytes == 0) {
      blanks += ' ';
      ++at;
      continue;
    }
    blanks += point.value == '\t' ? '\t' : ' ';
    at += point.bytes;
  }
  return blanks;
}

}  // namespace

std::uint32_t Report::add_file(std::string path, std::string text) {
  files_.push_back({std::move(path), std::string(without_bom(text)), {}});
  return static_cast<std::uint32_t>(files_.size() - 1);
}

void Report::error(Mark at, std::string message, std::string hint, std::string listener) {
  ++errors_;
  add({at, Diagnostic::Severity::error, std::move(message), std::move(hint), std::move(listener)});
}

void Report::warning(Mark at, std::string message, std::string hint) {
  add({at, Diagnostic::Severity::warning, std::move(message), std::move(hint)});
}

bool Report::full() const {
  return entries_.size() >= limits::spec_errors_max;
}

void Report::add(Entry entry) {
  shorten(entry.message);
  shorten(entry.hint);
  if (said_.contains({entry.at, entry.message})) return;
  if (full()) {
    ++left_out_;
    return;
  }
  said_.insert({entry.at, entry.message});
  entries_.push_back(std::move(entry));
}

Position Report::position(Mark at) const {
  return {files_.empty() ? std::string() : files_.at(at.file).path, at.line, at.column};
}

std::string Report::place(Mark at) const {
  return fmt::format("{}:{}:{}", files_.at(at.file).path, at.line, at.column);
}

void Report::fill_line(Diagnostic& diagnostic, Mark at) {
  if (at.line <= 0) return;
  File& file = files_.at(at.file);
  if (file.lines.empty()) {
    file.lines.push_back(0);
    for (std::size_t i = 0; i < file.text.size(); ++i)
      if (file.text[i] == '\n') file.lines.push_back(i + 1);
  }
  const auto index = static_cast<std::size_t>(at.line) - 1;
  if (index >= file.lines.size()) return;
  std::string_view line = std::string_view(file.text).substr(file.lines[index]);
  line = line.substr(0, line.find('\n'));
  if (line.ends_with('\r')) line.remove_suffix(1);
  // Before it is cut, while the names are there.
  std::string masked = line.size() <= masked_bytes_max ? mask_secrets(line, true) : std::string(line);
  line = masked;
  if (line.size() > line_bytes_max) {
    const int first = std::max(1, at.column - static_cast<int>(context_chars));
    line = line.substr(offset_of(line, first));
    line = line.substr(0, offset_of(line, static_cast<int>(2 * context_chars)));
    diagnostic.line_starts_at = first;
  }
  diagnostic.source_line = masked.size() <= masked_bytes_max ? std::string(line) : mask_secrets(line, true);
}

std::vector<Diagnostic> Report::finish() {
  std::ranges::stable_sort(entries_, {}, &Entry::at);
  std::vector<Diagnostic> diagnostics;
  diagnostics.reserve(entries_.size() + 1);
  for (Entry& entry : entries_) {
    Diagnostic made;
    made.severity = entry.severity;
    made.at = position(entry.at);
    made.message = std::move(entry.message);
    made.hint = std::move(entry.hint);
    made.listener = std::move(entry.listener);
    fill_line(made, entry.at);
    diagnostics.push_back(std::move(made));
  }
  if (left_out_ > 0) {
    Diagnostic rest;
    rest.at = {files_.front().path, 0, 0};
    rest.message = fmt::format("{} more", left_out_);
    diagnostics.push_back(std::move(rest));
  }
  return diagnostics;
}

std::string render(const Diagnostic& diagnostic) {
  std::string text = escaped(diagnostic.at.file, false);
  if (diagnostic.at.line > 0) text += fmt::format(":{}:{}", diagnostic.at.line, diagnostic.at.column);
  const bool error = diagnostic.severity == Diagnostic::Severity::error;
  text += fmt::format(": {}: {}\n", error ? "error" : "warning", escaped(diagnostic.message, false));
  if (diagnostic.at.line > 0 && !diagnostic.source_line.empty()) {
    const std::string_view line = diagnostic.source_line;
    const int column = diagnostic.at.column - diagnostic.line_starts_at + 1;
    const std::string before = escaped(line.substr(0, offset_of(line, column)), true);
    const std::string lead = diagnostic.line_starts_at > 1 ? "  ..." : "  ";
    text += lead + escaped(line, true) + "\n" + std::string(lead.size(), ' ') + blanks_below(before) + "^\n";
  }
  if (!diagnostic.hint.empty()) text += "  hint: " + escaped(diagnostic.hint, false) + "\n";
  return text;
}

}  // namespace muster::spec
