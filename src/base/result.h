// Result<T>: a value or an Error. (std::expected is C++23 and clang-tidy 14 cannot parse libstdc++ 12's.)
#pragma once

#include <utility>
#include <variant>

#include "base/check.h"
#include "base/error.h"

namespace muster {

template <typename T, typename E = Error>
class [[nodiscard]] Result {
 public:
  // Implicit, so that `return value;` and `return Error{…};` both read as what they are.
  // NOLINTBEGIN(google-explicit-constructor)
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(E error) : state_(std::in_place_index<1>, std::move(error)) {}
  // NOLINTEND(google-explicit-constructor)

  [[nodiscard]] bool ok() const noexcept { return state_.index() == 0; }
  explicit operator bool() const noexcept { return ok(); }

  [[nodiscard]] T& value() & {
    MUSTER_CHECK(ok());
    return *std::get_if<0>(&state_);
  }
  [[nodiscard]] const T& value() const& {
    MUSTER_CHECK(ok());
    return *std::get_if<0>(&state_);
  }
  [[nodiscard]] T&& value() && {
    MUSTER_CHECK(ok());
    return std::move(*std::get_if<0>(&state_));
  }
  [[nodiscard]] E& error() & {
    MUSTER_CHECK(!ok());
    return *std::get_if<1>(&state_);
  }
  [[nodiscard]] const E& error() const& {
    MUSTER_CHECK(!ok());
    return *std::get_if<1>(&state_);
  }
  [[nodiscard]] E&& error() && {
    MUSTER_CHECK(!ok());
    return std::move(*std::get_if<1>(&state_));
  }

 private:
  std::variant<T, E> state_;
};

struct Unit {};
using Status = Result<Unit>;

}  // namespace muster
