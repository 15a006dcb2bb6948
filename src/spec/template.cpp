#include "spec/template.h"

#include <algorithm>

namespace muster::spec {

bool Template::uses(std::string_view name) const {
  return std::ranges::any_of(parts_, [&](const Part& part) {
    const auto* variable = std::get_if<TemplateVariable>(&part);
    return variable != nullptr && variable->name == name;
  });
}

std::string Template::expand(const std::function<std::string(const TemplateVariable&)>& value_of) const {
  std::string text;
  for (const Part& part : parts_) {
    if (const auto* variable = std::get_if<TemplateVariable>(&part)) {
      text += value_of(*variable);
    } else {
      text += std::get<std::string>(part);
    }
  }
  return text;
}

std::string Template::text() const {
  std::string text;
  for (const Part& part : parts_) {
    if (const auto* variable = std::get_if<TemplateVariable>(&part)) {
      text += "{" + variable->name + (variable->argument.empty() ? "" : "." + variable->argument) + "}";
      continue;
    }
    for (const char byte : std::get<std::string>(part)) text.append(byte == '{' || byte == '}' ? 2 : 1, byte);
  }
  return text;
}

}  // namespace muster::spec
