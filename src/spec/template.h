// Template strings: "{port}" in `run`, `dir`, `env`, `health`. Parsed once at check, expanded at each start.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace muster::spec {

// A variable as written: {port}, {port.admin} (name "port", argument "admin"), {volume.data}, {addr.db}.
struct TemplateVariable {
  std::string name;
  std::string argument;  // empty when there is none
  bool operator==(const TemplateVariable&) const = default;
};

// Literal text and variables in the order of the source. `{{` and `}}` are already braces here.
class Template {
 public:
  using Part = std::variant<std::string, TemplateVariable>;

  Template() = default;
  explicit Template(std::string literal) : parts_{std::move(literal)} {}
  explicit Template(std::vector<Part> parts) : parts_(std::move(parts)) {}

  [[nodiscard]] const std::vector<Part>& parts() const noexcept { return parts_; }
  [[nodiscard]] bool uses(std::string_view name) const;

  // `value_of` gives the text of a variable; every variable of a checked spec is known, so it always answers.
  [[nodiscard]] std::string expand(const std::function<std::string(const TemplateVariable&)>& value_of) const;

  // The source form again (braces doubled): for fingerprints, `plan` and errors.
  [[nodiscard]] std::string text() const;

  bool operator==(const Template&) const = default;

 private:
  std::vector<Part> parts_;
};

}  // namespace muster::spec
