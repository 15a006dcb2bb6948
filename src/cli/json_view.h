// Reads what is there in a JSON answer and takes the rest as absent: fields may be added, and older daemons have
// fewer. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "boost/json.hpp"

namespace muster::cli {

class JsonView {
 public:
  JsonView() = default;
  explicit JsonView(const boost::json::value* value) : value_(value) {}

  [[nodiscard]] JsonView operator[](std::string_view key) const {
    const boost::json::object* object = value_ != nullptr ? value_->if_object() : nullptr;
    return JsonView(object != nullptr ? object->if_contains(key) : nullptr);
  }
  [[nodiscard]] std::string text() const {  // "" when it is no string
    const boost::json::string* string = value_ != nullptr ? value_->if_string() : nullptr;
    return string != nullptr ? std::string(string->data(), string->size()) : std::string();
  }
  [[nodiscard]] std::optional<double> number() const {
    if (value_ == nullptr || !value_->is_number()) return std::nullopt;
    return value_->to_number<double>();
  }
  [[nodiscard]] std::optional<std::int64_t> whole() const {
    const auto value = number();
    // Beyond 2^53 a number is no count of ours.
    if (!value || *value < -9e15 || *value > 9e15) return std::nullopt;
    return static_cast<std::int64_t>(*value);
  }
  [[nodiscard]] bool is_null() const { return value_ == nullptr || value_->is_null(); }
  [[nodiscard]] bool truth() const { return value_ != nullptr && value_->is_bool() && value_->get_bool(); }
  template <typename Visit>
  void each(Visit visit) const {
    const boost::json::array* array = value_ != nullptr ? value_->if_array() : nullptr;
    if (array == nullptr) return;
    for (const boost::json::value& element : *array) visit(JsonView(&element));
  }
  [[nodiscard]] std::size_t size() const {
    const boost::json::array* array = value_ != nullptr ? value_->if_array() : nullptr;
    return array != nullptr ? array->size() : 0;
  }

 private:
  const boost::json::value* value_ = nullptr;
};

// An object; anything else is an error.
inline Result<boost::json::value> parse_object(std::string_view text) {
  boost::system::error_code problem;
  boost::json::value value = boost::json::parse(boost::json::string_view(text.data(), text.size()), problem);
  if (problem || !value.is_object()) return Error{.message = "the daemon's answer is no JSON object"};
  return value;
}

}  // namespace muster::cli
