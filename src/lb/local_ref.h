// Shared ownership inside one traffic thread: a count without atomics. T derives from LocalCounted.
#pragma once

#include <cstdint>
#include <utility>

namespace muster::lb {

class LocalCounted {
 public:
  LocalCounted() = default;
  LocalCounted(const LocalCounted&) = delete;
  LocalCounted& operator=(const LocalCounted&) = delete;

 private:
  template <typename T>
  friend class Ref;
  std::uint32_t references_ = 0;
};

template <typename T>
class Ref {
 public:
  Ref() noexcept = default;
  explicit Ref(T* object) noexcept : object_(object) { add(); }
  Ref(const Ref& other) noexcept : object_(other.object_) { add(); }
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Ref& operator=(Ref other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Ref() {
    if (object_ != nullptr && --object_->references_ == 0) delete object_;
  }
  // NOLINTNEXTLINE(clang-analyzer-cplusplus.NewDelete): clang 14 ends what is in a std::optional twice
  T* operator->() const noexcept { return object_; }
  T& operator*() const noexcept { return *object_; }
  [[nodiscard]] T* get() const noexcept { return object_; }
  explicit operator bool() const noexcept { return object_ != nullptr; }

 private:
  void add() noexcept {
    if (object_ != nullptr) ++object_->references_;
  }
  T* object_ = nullptr;
};

template <typename T, typename... Args>
Ref<T> make_ref(Args&&... args) {
  return Ref<T>(new T(std::forward<Args>(args)...));
}

}  // namespace muster::lb
