#include "supervisor/output_pipes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <map>
#include <optional>

#include "fmt/core.h"
#include "supervisor/folders.h"

namespace muster::supervisor {

namespace fs = std::filesystem;

namespace {

constexpr mode_t run_mode = 0711;  // other users reach their own folders in it
constexpr mode_t folder_mode = 0700;
constexpr mode_t fifo_mode = 0666;  // see the header
constexpr int read_flags = O_RDONLY | O_NONBLOCK | O_NOATIME | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY;

struct FifoName {
  InstanceId instance{};
  bool err = false;
};

std::optional<FifoName> parse_name(std::string_view name) {
  const bool err = name.ends_with(".err");
  if (!err && !name.ends_with(".out")) return std::nullopt;
  name.remove_suffix(4);
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (name.empty() || error != std::errc{} || end != name.data() + name.size()) return std::nullopt;
  return FifoName{InstanceId{number}, err};
}

Result<Fd> open_fifo(const std::string& path, int flags) {
  Fd fd(::open(path.c_str(), flags));
  struct stat info {};
  if (!fd || ::fstat(fd.get(), &info) != 0) return system_error(path, errno);
  if (!S_ISFIFO(info.st_mode) || info.st_uid != ::geteuid())
    return Error{.message = path + " is not a FIFO of muster's", .errno_value = EINVAL};
  return fd;
}

Result<OutputPipe> plain_pipe() {
  std::array<int, 2> ends{-1, -1};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return system_error("pipe", errno);
  OutputPipe pipe{Fd(ends[0]), Fd(ends[1])};
  ::fcntl(pipe.read.get(), F_SETFL, O_NONBLOCK);
  return pipe;
}

Result<OutputPipes> both(Result<OutputPipe> out, Result<OutputPipe> err) {
  if (!out) return std::move(out).error();
  if (!err) return std::move(err).error();
  return OutputPipes{std::move(out).value(), std::move(err).value()};
}

}  // namespace

Result<OutputPipes> make_plain_pipes() {
  return both(plain_pipe(), plain_pipe());
}

OutputFifos::OutputFifos(const std::string& run_dir) : folder_(run_dir.empty() ? "" : run_dir + "/output") {}

OutputFifos::~OutputFifos() {
  if (!prepared_ || ::rmdir(folder_.c_str()) != 0) return;
  ::rmdir(folder_.substr(0, folder_.rfind('/')).c_str());
}

Status OutputFifos::prepare() {
  if (folder_.empty()) return Error{.message = "there is no runtime folder"};
  struct stat info {};
  if (prepared_ && ::lstat(folder_.c_str(), &info) == 0) return Unit{};
  const std::string run = folder_.substr(0, folder_.rfind('/'));
  if (Status made = make_folders(run, run_mode); !made) return made;
  if (::mkdir(folder_.c_str(), folder_mode) != 0 && errno != EEXIST)
    return system_error("make the folder " + folder_, errno);
  for (const std::string& folder : {run, folder_}) {
    if (::lstat(folder.c_str(), &info) != 0) return system_error(folder, errno);
    if (!S_ISDIR(info.st_mode) || info.st_uid != ::geteuid() || (info.st_mode & 022U) != 0)
      return Error{.message =
                       fmt::format("{} must be a folder that only muster's user can write to", folder)};
  }
  if ((info.st_mode & 0777U) != folder_mode && ::chmod(folder_.c_str(), folder_mode) != 0)
    return system_error(folder_, errno);
  prepared_ = true;
  return Unit{};
}

std::string OutputFifos::path(InstanceId instance, bool err) const {
  return fmt::format("{}/{}.{}", folder_, raw(instance), err ? "err" : "out");
}

// Read first: a FIFO that is open for reading opens for both at once, whatever its size.
Result<OutputPipe> OutputFifos::make_one(const std::string& path) const {
  if (::mkfifo(path.c_str(), 0600) != 0) return system_error(path, errno);
  auto read = open_fifo(path, read_flags);
  if (!read) return std::move(read).error();
  auto write = open_fifo(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY);
  if (!write) return std::move(write).error();
  if (::fchmod(write.value().get(), fifo_mode) != 0) return system_error(path, errno);
  return OutputPipe{std::move(read).value(), std::move(write).value()};
}

Result<OutputPipes> OutputFifos::make(InstanceId instance) {
  if (Status ready = prepare(); !ready) return std::move(ready).error();
  forget(instance);
  auto out = make_one(path(instance, false));
  auto err = make_one(path(instance, true));
  auto pipes = both(std::move(out), std::move(err));
  if (!pipes) forget(instance);
  return pipes;
}

Result<LeftOutput> OutputFifos::reopen(InstanceId instance) {
  if (Status ready = prepare(); !ready) return std::move(ready).error();
  auto out = open_fifo(path(instance, false), read_flags);
  if (!out) return std::move(out).error();
  auto err = open_fifo(path(instance, true), read_flags);
  if (!err) return std::move(err).error();
  return LeftOutput{instance, std::move(out).value(), std::move(err).value()};
}

void OutputFifos::forget(InstanceId instance) {
  if (folder_.empty()) return;
  ::unlink(path(instance, false).c_str());
  ::unlink(path(instance, true).c_str());
}

std::vector<LeftOutput> OutputFifos::open_left(const std::set<InstanceId>& living) const {
  std::map<InstanceId, LeftOutput> found;
  if (folder_.empty()) return {};
  std::error_code problem;
  for (fs::directory_iterator at(folder_, problem); !problem && at != fs::directory_iterator();
       at.increment(problem)) {
    const auto name = parse_name(at->path().filename().string());
    if (!name || living.contains(name->instance)) continue;
    LeftOutput& left = found[name->instance];
    left.instance = name->instance;
    auto fd = open_fifo(at->path().string(), read_flags);
    if (fd) (name->err ? left.err : left.out) = std::move(fd).value();
  }
  std::vector<LeftOutput> all;
  all.reserve(found.size());
  for (auto& [instance, left] : found) all.push_back(std::move(left));
  return all;
}

}  // namespace muster::supervisor
