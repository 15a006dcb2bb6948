#include "supervisor/next_image.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "fmt/core.h"
#include "supervisor/spec_source.h"
#include "supervisor/state_codec.h"
#include "supervisor/text.h"
#include "supervisor/version.h"

namespace muster::supervisor {
namespace {

constexpr std::string_view takes = " takes this handover\n";
constexpr char mode_up[] = "up";
constexpr char mode_daemon[] = "daemon";

std::string current_folder() {
  std::array<char, PATH_MAX> folder{};
  return ::getcwd(folder.data(), folder.size()) != nullptr ? std::string(folder.data()) : std::string();
}

std::string link_of_this_binary() {
  std::array<char, PATH_MAX> path{};
  const ssize_t length = ::readlink("/proc/self/exe", path.data(), path.size() - 1);
  return length > 0 ? std::string(path.data(), static_cast<std::size_t>(length)) : std::string();
}

std::string absolute(const std::string& path) {
  return path.starts_with('/') ? path : current_folder() + "/" + path;
}

std::string find_in_path(const std::string& name) {
  const char* const path = std::getenv("PATH");  // NOLINT(concurrency-mt-unsafe): before there are threads
  std::string_view folders = path != nullptr ? path : "/usr/local/bin:/usr/bin:/bin";
  while (!folders.empty()) {
    const std::size_t colon = folders.find(':');
    std::string candidate = absolute(std::string(folders.substr(0, colon)) + "/" + name);
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
    folders.remove_prefix(colon == std::string_view::npos ? folders.size() : colon + 1);
  }
  return link_of_this_binary();
}

Result<std::string> read_all(int fd) {
  std::string text;
  std::array<char, 65536> piece{};
  for (;;) {
    const ssize_t got = ::read(fd, piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_error("read the handover", errno);
    if (got == 0) return text;
    text.append(piece.data(), static_cast<std::size_t>(got));
  }
}

Result<Fd> write_memfd(const std::string& text) {
  Fd memfd(::memfd_create("muster-handover", MFD_CLOEXEC));
  if (!memfd) return system_error("memfd_create", errno);
  for (std::size_t written = 0; written < text.size();) {
    const ssize_t now = ::write(memfd.get(), text.data() + written, text.size() - written);
    if (now < 0 && errno == EINTR) continue;
    if (now < 0) return system_error("write the handover", errno);
    written += static_cast<std::size_t>(now);
  }
  if (::lseek(memfd.get(), 0, SEEK_SET) != 0) return system_error("write the handover", errno);
  return memfd;
}

bool set_cloexec(int fd, bool on) {
  const int flags = ::fcntl(fd, F_GETFD);
  const int wanted = on ? flags | FD_CLOEXEC : flags & ~FD_CLOEXEC;
  return flags >= 0 && ::fcntl(fd, F_SETFD, wanted) == 0;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> raw;
  raw.reserve(texts.size() + 1);
  for (std::string& text : texts) raw.push_back(text.data());
  raw.push_back(nullptr);
  return raw;
}

// What holds over execve(2) and is not to be so in this image, until the end of this.
class OpenToTheNext {
 public:
  explicit OpenToTheNext(std::vector<int> fds) : fds_(std::move(fds)) {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &mask_);
    good_ = std::ranges::all_of(fds_, [](int fd) { return set_cloexec(fd, false); });
  }
  ~OpenToTheNext() {
    for (const int fd : fds_) set_cloexec(fd, true);
    ::pthread_sigmask(SIG_SETMASK, &mask_, nullptr);
  }
  OpenToTheNext(const OpenToTheNext&) = delete;
  OpenToTheNext& operator=(const OpenToTheNext&) = delete;
  [[nodiscard]] bool good() const { return good_; }

 private:
  std::vector<int> fds_;
  sigset_t mask_{};
  bool good_ = false;
};

}  // namespace

StartImage start_image(int argc, char** argv) {
  StartImage image;
  image.argv.assign(argv, argv + argc);
  const std::string name = argc > 0 ? argv[0] : "";
  if (name.empty() || name.starts_with("/proc/")) {
    image.path = link_of_this_binary();
  } else {
    image.path = name.find('/') == std::string::npos ? find_in_path(name) : absolute(name);
  }
  return image;
}

Result<std::optional<DaemonHandover>> take_handover() {
  const char* const value = std::getenv(handover_variable);  // NOLINT(concurrency-mt-unsafe): no threads yet
  if (value == nullptr) return std::optional<DaemonHandover>();
  const std::string text = value;
  ::unsetenv(handover_variable);  // NOLINT(concurrency-mt-unsafe)
  int number = -1;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (problem != std::errc{} || end != text.data() + text.size() || number <= STDERR_FILENO)
    return Error{.message = fmt::format("{}={} is not a descriptor", handover_variable, text)};
  const Fd memfd(number);
  const auto read = read_all(memfd.get());
  if (!read) return read.error();
  auto checked = decode_handover(read.value(), Descriptors::numbers_only);
  if (!checked) return Error{.message = "the handover " + checked.error().message};
  auto handover = decode_handover(read.value(), Descriptors::owned);
  if (!handover) return std::move(handover).error();
  for (const int fd : descriptors_of(handover.value(), handover.value().traffic)) {
    if (!set_cloexec(fd, true)) return system_error(fmt::format("descriptor {} of the handover", fd), errno);
  }
  return std::optional<DaemonHandover>(std::move(handover).value());
}

std::vector<std::string> question_words(const std::string& binary, const HandoverQuestion& question) {
  std::vector<std::string> words{binary,
                                 check_handover_flag,
                                 question.file,
                                 question.mode == RunMode::up ? mode_up : mode_daemon,
                                 question.spec_path,
                                 question.run_dir};
  words.insert(words.end(), question.only_apps.begin(), question.only_apps.end());
  return words;
}

namespace {
std::optional<HandoverQuestion> question_of(const std::vector<std::string>& words) {
  if (words.size() < 4 || (words[1] != mode_up && words[1] != mode_daemon)) return std::nullopt;
  return HandoverQuestion{.file = words[0],
                          .mode = words[1] == mode_up ? RunMode::up : RunMode::daemon,
                          .spec_path = words[2],
                          .run_dir = words[3],
                          .only_apps = {words.begin() + 4, words.end()}};
}

Status check_state(const std::string& path) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return system_error(path, errno);
  const auto text = read_all(file.get());
  if (!text) return text.error();
  // The handover is two lines, the state what follows.
  std::size_t end = text.value().find('\n');
  if (end != std::string::npos) end = text.value().find('\n', end + 1);
  if (end == std::string::npos) return Error{.message = "the handover is damaged: it is cut off"};
  const std::string_view all = text.value();
  const auto handover = decode_handover(all.substr(0, end + 1), Descriptors::numbers_only);
  if (!handover) return Error{.message = "the handover " + handover.error().message};
  const auto state = decode_state(all.substr(end + 1));
  if (!state) return Error{.message = "the state " + state.error().message};
  return Unit{};
}
}  // namespace

int check_handover_main(const std::vector<std::string>& words, std::vector<std::string> environment) {
  const auto refuse = [](const std::string& why, ExitCode code) {
    std::fputs((why + "\n").c_str(), stdout);
    return static_cast<int>(code);
  };
  const auto question = question_of(words);
  if (!question) return refuse("the question is not one that it knows", ExitCode::failed);
  if (const Status state = check_state(question->file); !state)
    return refuse(state.error().message, ExitCode::failed);
  const ReadSpec read = SpecSource(question->spec_path, question->mode, std::move(environment),
                                   question->only_apps, question->run_dir)
                            .read();
  if (!read.spec) return refuse(read.error, read.code);
  std::fputs(fmt::format("muster {}{}", version_text, takes).c_str(), stdout);
  return std::fflush(stdout) == 0 ? 0 : 1;
}

Result<std::string> verdict_of(const std::string& path, const CommandResult& result) {
  const std::string first_line = escape_for_terminal(result.output.substr(0, result.output.find('\n')));
  const bool exited_well = result.status && result.status->code == 0 && !result.status->signal;
  const std::string_view output = result.output;
  constexpr std::string_view name = "muster ";
  if (exited_well && output.starts_with(name) && output.ends_with(takes) &&
      output.find('\n') == output.size() - 1)
    return std::string(output.substr(name.size(), output.size() - name.size() - takes.size()));
  if (result.timed_out || !result.started)
    return Error{.message = fmt::format("{}: {}", path, result.sentence)};
  if (exited_well)
    return Error{.message = fmt::format("{} is not a muster that knows how to take over: it said {}", path,
                                        first_line.empty() ? "nothing" : "\"" + first_line + "\"")};
  const Error refused{.message = fmt::format("{} refuses: {}{}", path, result.sentence,
                                             first_line.empty() ? "" : ": " + first_line)};
  if (!result.status || result.status->signal || result.status->code == 1) return refused;
  for (const ExitCode code : {ExitCode::bad_spec, ExitCode::no_spec, ExitCode::not_permitted}) {
    if (result.status->code != static_cast<int>(code)) continue;
    return Error{.message = fmt::format("{} does not take the spec:\n{}", path, output), .code = code};
  }
  return refused;
}

Error become(const StartImage& image, std::vector<std::string> environment, const DaemonHandover& handover,
             const lb::Handover& traffic) {
  const auto memfd = write_memfd(encode_handover(handover, traffic));
  if (!memfd) return memfd.error();
  const std::string prefix = std::string(handover_variable) + "=";
  std::erase_if(environment, [&prefix](const std::string& entry) { return entry.starts_with(prefix); });
  environment.push_back(prefix + std::to_string(memfd.value().get()));
  std::vector<std::string> argv = image.argv;
  const std::vector<char*> raw_argv = pointers(argv);
  const std::vector<char*> raw_environment = pointers(environment);
  std::vector<int> fds = descriptors_of(handover, traffic);
  fds.push_back(memfd.value().get());
  const OpenToTheNext open(std::move(fds));
  if (open.good()) ::execve(image.path.c_str(), raw_argv.data(), raw_environment.data());
  return system_error("exec " + image.path, errno);
}

}  // namespace muster::supervisor
