// A growable run of bytes without zero-filling: what a head is serialised into and what a blocked peer waits on.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>

namespace muster::lb {

// Writes where there is room: see Buffer::append_with().
class Pen {
 public:
  explicit Pen(char* at) noexcept : at_(at) {}
  Pen& put(std::string_view text) noexcept {
    if (!text.empty()) std::memcpy(at_, text.data(), text.size());
    at_ += text.size();
    return *this;
  }
  // The same, without a call for what is short.
  Pen& put_short(std::string_view text) noexcept {
    const char* const from = text.data();
    const std::size_t size = text.size();
    if (size > 32 || size < 8) return put(text);
    if (size > 16) {
      put_ends<16>(from, size);
    } else {
      put_ends<8>(from, size);
    }
    at_ += size;
    return *this;
  }
  template <std::size_t Size>
  Pen& put(const char (&text)[Size]) noexcept {  // NOLINT(modernize-avoid-c-arrays): a literal
    std::memcpy(at_, text, Size - 1);
    at_ += Size - 1;
    return *this;
  }
  [[nodiscard]] char* at() const noexcept { return at_; }

 private:
  // Of Part to twice as many bytes: the first Part and the last ones, which may overlap.
  template <std::size_t Part>
  void put_ends(const char* from, std::size_t size) noexcept {
    std::array<char, Part> first;
    std::array<char, Part> last;
    std::memcpy(first.data(), from, Part);
    std::memcpy(last.data(), from + size - Part, Part);
    std::memcpy(at_, first.data(), Part);
    std::memcpy(at_ + size - Part, last.data(), Part);
  }
  char* at_;
};

class Buffer {
 public:
  Buffer() noexcept = default;
  Buffer(Buffer&& other) noexcept
      : bytes_(std::move(other.bytes_)),
        size_(std::exchange(other.size_, 0)),
        capacity_(std::exchange(other.capacity_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    bytes_ = std::move(other.bytes_);
    size_ = std::exchange(other.size_, 0);
    capacity_ = std::exchange(other.capacity_, 0);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() = default;
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
  [[nodiscard]] std::string_view view() const noexcept { return {bytes_.get(), size_}; }
  void clear() noexcept { size_ = 0; }
  void release() noexcept {  // gives the memory back
    bytes_.reset();
    size_ = capacity_ = 0;
  }

  void append(std::string_view text) {
    if (text.empty()) return;
    reserve(size_ + text.size());
    std::memcpy(bytes_.get() + size_, text.data(), text.size());
    size_ += text.size();
  }
  // `write` gets a Pen with room for `most` bytes and returns it as it stands behind what it wrote.
  template <typename Write>
  void append_with(std::size_t most, Write write) {
    reserve(size_ + most);
    size_ = static_cast<std::size_t>(write(Pen(bytes_.get() + size_)).at() - bytes_.get());
  }
  void reserve(std::size_t wanted) {
    if (wanted > capacity_) grow(wanted);
  }
  // Drops the first `count` bytes.
  void consume(std::size_t count) noexcept {
    if (count >= size_) {
      size_ = 0;
      return;
    }
    std::memmove(bytes_.get(), bytes_.get() + count, size_ - count);
    size_ -= count;
  }

 private:
  void grow(std::size_t wanted) {
    const std::size_t capacity = std::max({wanted, capacity_ * 2, std::size_t{256}});
    std::unique_ptr<char[]> bytes(new char[capacity]);  // NOLINT: not make_unique, which fills with zeros
    if (size_ != 0) std::memcpy(bytes.get(), bytes_.get(), size_);
    bytes_ = std::move(bytes);
    capacity_ = capacity;
  }

  std::unique_ptr<char[]> bytes_;  // NOLINT(modernize-avoid-c-arrays)
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

}  // namespace muster::lb
