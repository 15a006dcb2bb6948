// Text for terminals: colours and aligned columns. What comes from outside is escaped here. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace muster::cli {

enum class Colour : std::uint8_t { none, red, green, yellow, blue, magenta, cyan, grey, bold };

// The text in the colour, or as it is when `on` is false.
std::string coloured(std::string_view text, Colour colour, bool on);

// One of the colours that an app may have: the same for a name at each start.
Colour app_colour(std::string_view app);

// Of the states of apps and replicas: what is well is green, what needs a look is red.
Colour state_colour(std::string_view state);

struct Cell {
  std::string text;
  Colour colour = Colour::none;
};

class Table {
 public:
  explicit Table(std::vector<std::string> headers);
  // One cell per header; missing ones are empty.
  void add(std::vector<Cell> row);
  [[nodiscard]] bool empty() const { return rows_.empty(); }
  // Columns as wide as their widest cell, by code points, two spaces between; nothing is padded at the end of a line.
  [[nodiscard]] std::string text(bool colour) const;

 private:
  std::vector<std::string> headers_;
  std::vector<std::vector<Cell>> rows_;
};

std::size_t code_points(std::string_view text);  // of valid UTF-8

std::string short_age(double seconds);  // "0.4s" "12s" "5m03s" "3h12m" "4d02h"
std::string short_bytes(double bytes);  // "512B" "1.2KiB" "64MiB"

}  // namespace muster::cli
