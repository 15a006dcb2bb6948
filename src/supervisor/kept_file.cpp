#include "supervisor/kept_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <utility>

#include "base/fd.h"

namespace muster::supervisor {
namespace {

Result<std::string> read_file(const std::string& path, std::size_t bytes_max) {
  const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file) return system_error("cannot be read", errno);
  struct stat info {};
  if (fstat(file.get(), &info) != 0) return system_error("cannot be read", errno);
  if (!S_ISREG(info.st_mode)) return Error{"is not a regular file", ExitCode::failed, EINVAL};
  if (static_cast<std::uint64_t>(info.st_size) > bytes_max)
    return Error{"is damaged: it is too large", ExitCode::failed, 0};
  std::string text(static_cast<std::size_t>(info.st_size), '\0');
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t got = read(file.get(), text.data() + done, text.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_error("cannot be read", errno);
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  text.resize(done);
  return text;
}

Status sync_folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  const Fd opened(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!opened) return system_error("open " + folder, errno);
  // EINVAL: a file system that cannot sync folders; the renames are as safe as it makes them.
  if (fsync(opened.get()) != 0 && errno != EINVAL) return system_error("fsync " + folder, errno);
  return Unit{};
}

// By a link, so that there is no moment without a current file.
void keep_previous(const std::string& path) {
  const std::string link_path = path + ".prev.tmp";
  unlink(link_path.c_str());
  const std::string previous = path + ".prev";
  if (link(path.c_str(), link_path.c_str()) == 0) {
    static_cast<void>(rename(link_path.c_str(), previous.c_str()));
    // After a save that failed both are the same file: then rename(2) does nothing, and says that it did.
    unlink(link_path.c_str());
  } else if (errno != ENOENT) {  // no hard links here: the moment without a current file is what .prev is for
    rename(path.c_str(), previous.c_str());
  }
}

// Out of the way, so that the next save has the name: an older one that was kept makes room. False: it is still there.
bool set_aside(const std::string& path, const std::string& aside) {
  if (rename(path.c_str(), aside.c_str()) == 0) return true;
  // A folder does not replace a file, nor a file a folder.
  return std::remove(aside.c_str()) == 0 && rename(path.c_str(), aside.c_str()) == 0;
}

}  // namespace

KeptFile load_kept(const std::string& path, std::size_t bytes_max,
                   const std::function<Status(const std::string& text)>& take, std::string_view otherwise) {
  const auto load_one = [&](const std::string& file) -> Status {
    const auto text = read_file(file, bytes_max);
    return text ? take(text.value()) : Status(text.error());
  };
  KeptFile loaded;
  const Status current = load_one(path);
  if (current) {
    loaded.from = KeptFile::From::current;
    return loaded;
  }
  const std::string previous_path = path + ".prev";
  const bool missing = current.error().errno_value == ENOENT;
  std::string why = path + " is missing";
  if (!missing) {
    const std::string aside = path + ".refused";
    why = path + " " + current.error().message +
          (set_aside(path, aside) ? " (kept as " + aside + ")" : " (it cannot be moved away)");
  }
  const Status previous = load_one(previous_path);
  if (previous) {
    loaded.warnings.push_back(why + "; starting from " + previous_path + ", one change older");
    loaded.from = KeptFile::From::previous;
    return loaded;
  }
  const bool previous_missing = previous.error().errno_value == ENOENT;
  if (missing && previous_missing) return loaded;
  if (!previous_missing) loaded.warnings.push_back(previous_path + " " + previous.error().message);
  loaded.warnings.push_back(why.append(otherwise));
  return loaded;
}

Status write_kept(const std::string& path, std::string_view text, Synced synced) {
  const std::string temporary = path + ".tmp";
  if (Status written = write_file(temporary, text, synced); !written) {
    unlink(temporary.c_str());
    return written;
  }
  keep_previous(path);
  if (rename(temporary.c_str(), path.c_str()) != 0) {
    const int error = errno;
    unlink(temporary.c_str());
    return system_error("rename " + temporary, error);
  }
  return synced == Synced::yes ? sync_folder_of(path) : Status(Unit{});
}

Status sync_kept(const std::string& path) {
  const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW));
  if (!file) return system_error("open " + path, errno);
  if (fsync(file.get()) != 0) return system_error("fsync " + path, errno);
  return sync_folder_of(path);
}

}  // namespace muster::supervisor
