#include "cli/tables.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include "fmt/core.h"
#include "supervisor/text.h"

namespace muster::cli {

namespace {

std::string_view code_of(Colour colour) {
  switch (colour) {
    case Colour::none:
      return "";
    case Colour::red:
      return "31";
    case Colour::green:
      return "32";
    case Colour::yellow:
      return "33";
    case Colour::blue:
      return "34";
    case Colour::magenta:
      return "35";
    case Colour::cyan:
      return "36";
    case Colour::grey:
      return "90";
    case Colour::bold:
      return "1";
  }
  return "";
}

std::string one_line(std::string_view text) {
  std::string safe = supervisor::escape_for_terminal(text);
  std::ranges::replace(safe, '\t', ' ');
  return safe;
}

}  // namespace

std::string coloured(std::string_view text, Colour colour, bool on) {
  if (!on || colour == Colour::none || text.empty()) return std::string(text);
  return fmt::format("\x1b[{}m{}\x1b[0m", code_of(colour), text);
}

Colour app_colour(std::string_view app) {
  // Red is left out: it means trouble.
  static constexpr std::array choice{Colour::cyan, Colour::green, Colour::magenta, Colour::blue,
                                     Colour::yellow};
  std::uint32_t hash = 2166136261U;
  for (const char c : app) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
  return choice.at(hash % choice.size());
}

Colour state_colour(std::string_view state) {
  if (state == "ready" || state == "completed" || state == "running") return Colour::green;
  if (state == "failed" || state == "backoff" || state == "unready" || state == "degraded")
    return Colour::red;
  if (state == "stopped") return Colour::grey;
  return Colour::yellow;  // on its way: waiting starting updating draining stopping paused
}

Table::Table(std::vector<std::string> headers) : headers_(std::move(headers)) {}

void Table::add(std::vector<Cell> row) {
  for (Cell& cell : row) cell.text = one_line(cell.text);
  row.resize(headers_.size());
  rows_.push_back(std::move(row));
}

std::string Table::text(bool colour) const {
  std::vector<std::size_t> widths;
  for (std::size_t column = 0; column < headers_.size(); ++column) {
    std::size_t width = code_points(headers_[column]);
    for (const auto& row : rows_) width = std::max(width, code_points(row[column].text));
    widths.push_back(width);
  }
  std::string made;
  const auto add_line = [&](const std::vector<Cell>& row) {
    std::size_t owed = 0;  // spaces before the next cell that is not empty
    for (std::size_t column = 0; column < row.size(); ++column) {
      const Cell& cell = row[column];
      if (!cell.text.empty()) {
        made.append(owed, ' ');
        made += coloured(cell.text, cell.colour, colour);
        owed = 0;
      }
      owed += widths[column] - code_points(cell.text) + 2;
    }
    made += '\n';
  };
  std::vector<Cell> head;
  for (const std::string& header : headers_) head.push_back({header, Colour::bold});
  add_line(head);
  for (const auto& row : rows_) add_line(row);
  return made;
}

std::size_t code_points(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

std::string short_age(double seconds) {
  if (seconds < 0) seconds = 0;
  if (seconds < 9.95) return fmt::format("{:.1f}s", seconds);
  const auto whole = static_cast<std::int64_t>(std::min(seconds, 1e12));
  if (whole < 60) return fmt::format("{}s", whole);
  if (whole < 3600) return fmt::format("{}m{:02}s", whole / 60, whole % 60);
  if (whole < 86400) return fmt::format("{}h{:02}m", whole / 3600, whole / 60 % 60);
  return fmt::format("{}d{:02}h", whole / 86400, whole / 3600 % 24);
}

std::string short_bytes(double bytes) {
  static constexpr std::array<std::string_view, 5> units{"B", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  while (bytes >= 1023.5 && unit + 1 < units.size()) {
    bytes /= 1024;
    ++unit;
  }
  return unit == 0 || bytes >= 9.95 ? fmt::format("{:.0f}{}", bytes, units.at(unit))
                                    : fmt::format("{:.1f}{}", bytes, units.at(unit));
}

}  // namespace muster::cli
