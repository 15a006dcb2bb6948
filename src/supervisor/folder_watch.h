// Watches folders by inotify(7), with one descriptor for all of a loop's. A write is heard of when the file is closed
// after it, not one by one: a log that grows beside the spec wakes nobody. For the control thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"
#include "supervisor/uv_handles.h"

namespace muster::supervisor {

struct FolderChange {
  enum class What : std::uint8_t {
    created,  // a name is new; a file may still be empty, or half written
    written,  // a file was closed after it had been written, or its mode, owner or times were changed
    renamed,  // a name went, or stands for something else now
    itself,   // the folder's own mode, owner or times were changed
    gone,     // the folder was moved, removed or unmounted: nothing more comes of this watch
    lost,     // so much happened that the kernel dropped some of it: anything may have changed
  };
  What what;
  std::string_view name;  // of the first three, while the hook runs
};

class FolderWatches;

// One folder, until the destructor. A hook may end its own watch and any other.
class FolderWatch {
 public:
  using Hook = std::function<void(const FolderChange& change)>;

  FolderWatch(FolderWatch&& other) noexcept = default;
  FolderWatch& operator=(FolderWatch&& other) = delete;
  FolderWatch(const FolderWatch&) = delete;
  FolderWatch& operator=(const FolderWatch&) = delete;
  ~FolderWatch();

 private:
  friend class FolderWatches;
  struct Ear;
  explicit FolderWatch(std::shared_ptr<Ear> ear) : ear_(std::move(ear)) {}

  std::shared_ptr<Ear> ear_;
};

class FolderWatches {
 public:
  explicit FolderWatches(uv_loop_t* loop);
  ~FolderWatches();  // after the last FolderWatch; the loop must run once more
  FolderWatches(const FolderWatches&) = delete;
  FolderWatches& operator=(const FolderWatches&) = delete;

  [[nodiscard]] uv_loop_t* loop() const { return loop_; }
  // Of inotify(7); -1 as long as nothing was to be watched.
  [[nodiscard]] int descriptor() const { return inotify_.get(); }
  // Error: "cannot watch /x: No space left on device (fs.inotify.max_user_watches is reached)", with the errno; ENOENT
  // and ENOTDIR where there is no folder.
  Result<FolderWatch> watch(const std::string& folder, FolderWatch::Hook hook);

 private:
  friend class FolderWatch;
  using Ear = FolderWatch::Ear;

  Status open();
  Status listen();
  bool look();  // whether there was something
  void pass_on(int wd, std::uint32_t mask, std::string_view name);
  void tell_all_that_much_is_lost();
  void detach(const Ear& ear);

  uv_loop_t* loop_;
  Fd inotify_;
  UvPoll poll_;
  UvTimer pause_;
  // By the kernel's number of the folder's inode: two paths may lead to one.
  std::multimap<int, std::shared_ptr<Ear>> ears_;
};

}  // namespace muster::supervisor
