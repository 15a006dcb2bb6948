#include "lb/task.h"

#include <array>
#include <new>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MUSTER_CLANG_ASAN
#endif
#endif

namespace muster::lb {

namespace {
constexpr std::size_t class_bytes = 16;
#if defined(__SANITIZE_ADDRESS__) || defined(MUSTER_CLANG_ASAN)
constexpr std::size_t classes = 0;  // each frame has its own memory, so that a use after its end is seen
#else
constexpr std::size_t classes = 128;  // frames up to 2 KiB
#endif
constexpr std::size_t kept_per_class = 256;

struct Spare {
  Spare* next;
};

// Without a destructor, so that reaching it costs no look whether it was made.
struct Lists {
  std::array<Spare*, classes> head{};
  std::array<std::size_t, classes> count{};
};
constinit thread_local Lists lists;

// glibc's malloc puts 8 bytes before each block and rounds both up to 16: a frame of 24, 40, 56 … bytes wastes none.
constexpr std::size_t block_header_bytes = 8;
std::size_t class_of(std::size_t size) {
  return (size + block_header_bytes + class_bytes - 1) / class_bytes;
}
std::size_t bytes_of(std::size_t index) {
  return index * class_bytes - block_header_bytes;
}
}  // namespace

void* FrameCache::take(std::size_t size) {
  const std::size_t index = class_of(size);
  if (index >= classes) return ::operator new(size);
  Spare* const spare = lists.head[index];
  if (spare == nullptr) return ::operator new(bytes_of(index));
  lists.head[index] = spare->next;
  --lists.count[index];
  return spare;
}

void FrameCache::clear() noexcept {
  for (Spare*& first : lists.head) {
    while (first != nullptr) {
      Spare* const spare = std::exchange(first, first->next);
      ::operator delete(spare);
    }
  }
  lists.count = {};
}

void FrameCache::give(void* frame, std::size_t size) noexcept {
  const std::size_t index = class_of(size);
  if (index >= classes || lists.count[index] == kept_per_class) {
    ::operator delete(frame);
    return;
  }
  auto* const spare = new (frame) Spare{lists.head[index]};
  lists.head[index] = spare;
  ++lists.count[index];
}

}  // namespace muster::lb
