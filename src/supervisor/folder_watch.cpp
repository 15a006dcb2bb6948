#include "supervisor/folder_watch.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "base/error.h"

namespace muster::supervisor {
namespace {

using What = FolderChange::What;

constexpr std::uint32_t created_mask = IN_CREATE;
constexpr std::uint32_t written_mask = IN_CLOSE_WRITE | IN_ATTRIB;  // ATTRIB: chmod may let us read it
constexpr std::uint32_t renamed_mask = IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE;
constexpr std::uint32_t gone_mask = IN_DELETE_SELF | IN_MOVE_SELF;
// Not IN_MODIFY, of which every write(2) to every file of the folder makes one.
constexpr std::uint32_t watched_mask = created_mask | written_mask | renamed_mask | gone_mask;

// Between two looks, so that a program which opens and closes a file of the folder again and again costs a hundred wakes
// a second and not a hundred thousand: events that are alike become one while they wait.
constexpr Millis pause_between_looks{10};
constexpr std::size_t look_bytes = 16U << 10U;
constexpr int looks_max = 64;  // in a row: as much as the kernel's queue holds (fs.inotify.max_queued_events)

std::string watch_sentence(const std::string& folder, int error) {
  std::string text = "cannot watch " + folder + ": " + errno_text(error);
  if (error == ENOSPC) text += " (fs.inotify.max_user_watches is reached)";
  if (error == EMFILE) text += " (fs.inotify.max_user_instances or the limit of descriptors is reached)";
  return text;
}

What what_of(std::uint32_t mask, bool named) {
  if ((mask & (gone_mask | IN_UNMOUNT | IN_IGNORED)) != 0) return What::gone;
  if (!named) return What::itself;
  if ((mask & renamed_mask) != 0) return What::renamed;
  return (mask & created_mask) != 0 ? What::created : What::written;
}

}  // namespace

struct FolderWatch::Ear {
  FolderWatches* watches;
  Hook hook;
  int wd;
  bool attached = true;  // among the ears of `watches`
  bool wanted = true;    // its FolderWatch lives
};

FolderWatch::~FolderWatch() {
  if (!ear_) return;
  ear_->wanted = false;
  if (ear_->attached) ear_->watches->detach(*ear_);
}

FolderWatches::FolderWatches(uv_loop_t* loop)
    : loop_(loop), pause_(loop, [this] {
        // While it is busy, by the clock alone. Where listening fails there is no memory: once more, not deaf for ever.
        if (look() || !listen()) pause_.start(pause_between_looks);
      }) {}

FolderWatches::~FolderWatches() {
  MUSTER_CHECK(ears_.empty());
}

Status FolderWatches::listen() {
  const int error = poll_.start(loop_, inotify_.get(), UV_READABLE, [this] {
    static_cast<void>(look());
    poll_.close();
    pause_.start(pause_between_looks);
  });
  return error == 0 ? Status(Unit{}) : Status(Error{uv_strerror(error), ExitCode::failed, -error});
}

// At the first watch: what is refused then is said with the folder that goes unwatched.
Status FolderWatches::open() {
  if (inotify_) return Unit{};
  inotify_.reset(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!inotify_) return system_error("inotify_init1", errno);
  Status listening = listen();
  if (!listening) inotify_.reset();
  return listening;
}

Result<FolderWatch> FolderWatches::watch(const std::string& folder, FolderWatch::Hook hook) {
  const auto refused = [&](int error) {
    return Error{watch_sentence(folder, error), ExitCode::failed, error};
  };
  if (const Status opened = open(); !opened) return refused(opened.error().errno_value);
  const int wd = inotify_add_watch(inotify_.get(), folder.c_str(), watched_mask | IN_ONLYDIR);
  if (wd < 0) return refused(errno);
  auto ear = std::make_shared<Ear>(Ear{this, std::move(hook), wd});
  ears_.emplace(wd, ear);
  return FolderWatch(std::move(ear));
}

void FolderWatches::detach(const Ear& ear) {
  const auto [begin, end] = ears_.equal_range(ear.wd);
  for (auto at = begin; at != end; ++at) {
    if (at->second.get() != &ear) continue;
    at->second->attached = false;
    const int wd = ear.wd;
    ears_.erase(at);
    // An error here: the kernel has forgotten the folder itself.
    if (!ears_.contains(wd)) static_cast<void>(inotify_rm_watch(inotify_.get(), wd));
    return;
  }
}

bool FolderWatches::look() {
  bool found = false;
  alignas(inotify_event) std::array<char, look_bytes>
      bytes;  // NOLINT(cppcoreguidelines-pro-type-member-init)
  for (int looks = 0; looks < looks_max; ++looks) {
    const ssize_t size = read(inotify_.get(), bytes.data(), bytes.size());
    if (size <= 0) break;  // EAGAIN: that was all
    found = true;
    for (std::size_t at = 0; at < static_cast<std::size_t>(size);) {
      inotify_event event{};
      std::memcpy(&event, bytes.data() + at, sizeof event);
      const char* name = bytes.data() + at + sizeof event;
      at += sizeof event + event.len;
      if ((event.mask & IN_Q_OVERFLOW) != 0) {
        tell_all_that_much_is_lost();
      } else {
        pass_on(event.wd, event.mask, {name, strnlen(name, event.len)});
      }
    }
  }
  return found;
}

void FolderWatches::pass_on(int wd, std::uint32_t mask, std::string_view name) {
  std::vector<std::shared_ptr<Ear>> ears;  // the hooks may end watches and begin others
  const auto [begin, end] = ears_.equal_range(wd);
  for (auto at = begin; at != end; ++at) ears.push_back(at->second);
  const FolderChange change{what_of(mask, !name.empty()), name};
  // First, so that a new watch on the same folder is not taken for the old one. A moved folder would be followed.
  if (change.what == What::gone) {
    for (const auto& ear : ears) detach(*ear);
  }
  for (const auto& ear : ears) {
    if (ear->wanted) ear->hook(change);
  }
}

void FolderWatches::tell_all_that_much_is_lost() {
  std::vector<std::shared_ptr<Ear>> ears;
  for (const auto& [wd, ear] : ears_) ears.push_back(ear);
  for (const auto& ear : ears) {
    if (ear->wanted) ear->hook(FolderChange{What::lost, {}});
  }
}

}  // namespace muster::supervisor
