#include "cli/console.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <optional>
#include <utility>

#include "cli/tables.h"
#include "fmt/core.h"
#include "supervisor/text.h"

namespace muster::cli {

namespace {

constexpr std::size_t width_max = 36;          // "longest-name-of-an-app…/999"
constexpr std::size_t write_bytes_max = 4096;  // PIPE_BUF: after POLLOUT so much never blocks
constexpr Millis last_words{2000};

Colour severity_colour(supervisor::Severity severity) {
  switch (severity) {
    case supervisor::Severity::info:
      return Colour::none;
    case supervisor::Severity::warning:
      return Colour::yellow;
    case supervisor::Severity::error:
      return Colour::red;
  }
  return Colour::none;
}

}  // namespace

std::string ConsoleText::prefix(const std::string& app, const std::string& id) {
  width_ = std::max(width_, std::min(id.size(), width_max));
  const std::string padded = fmt::format("{:<{}}", id, width_);
  return coloured(padded + " |", app.empty() ? Colour::bold : app_colour(app), options_.colour) + " ";
}

std::string ConsoleText::line(const supervisor::LogLine& line) {
  std::string made;
  if (options_.json) {
    append_json_line(made, line.replica, line.time, line.stream, line.text);
  } else {
    made = prefix(line.replica.app, to_string(line.replica));
    made += options_.escape ? supervisor::escape_for_terminal(line.text) : std::string(line.text);
  }
  return made + "\n";
}

std::string ConsoleText::event(const supervisor::LoggedEvent& event) {
  if (options_.json) return supervisor::to_json_line(event) + "\n";
  const supervisor::Note& note = event.note;
  std::string who = note.app;
  if (note.ordinal) who += fmt::format("/{}", *note.ordinal);
  if (!who.empty()) who += ": ";
  // A spec's errors are many lines: each gets the bar.
  std::string made;
  const std::string text = who + note.text;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string part = supervisor::escape_for_terminal(std::string_view(text).substr(at, end - at));
    made += prefix("", "muster") + coloured(part, severity_colour(note.severity), options_.colour) + "\n";
    at = end + 1;
    if (at == text.size()) break;  // a line feed at the very end begins no line
  }
  return made;
}

std::string ConsoleText::dropped(std::uint64_t lines) {
  if (options_.json) return fmt::format("{{\"lost\":{}}}\n", lines);
  return prefix("", "muster") +
         coloured(
             fmt::format("{} lines not shown: standard output is read too slowly; `muster logs` has them",
                         lines),
             Colour::yellow, options_.colour) +
         "\n";
}

namespace {
bool is_full(int error) {
  return error == ENOSPC || error == EDQUOT || error == ENOMEM;
}
}  // namespace

Console::Console(int fd, ConsoleOptions options) : fd_(fd), text_(options) {
  // Signals are for the control loop's thread.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  writer_ = std::thread([this] { write_queue(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Console::~Console() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  wake_.notify_one();
  writer_.join();
}

void Console::line(const supervisor::LogLine& line) {
  add(text_.line(line));
}

void Console::event(const supervisor::LoggedEvent& event) {
  add(text_.event(event));
}

void Console::settle(Millis limit) {
  std::unique_lock lock(mutex_);
  settled_.wait_for(lock, limit, [this] { return gone_ || (queue_.empty() && !writing_); });
}

void Console::add(std::string text) {
  {
    const std::lock_guard lock(mutex_);
    if (gone_) return;
    if (queue_.size() + text.size() > queue_bytes_max) {
      ++dropped_;
      return;
    }
    if (dropped_ > 0) queue_ += text_.dropped(std::exchange(dropped_, 0));
    queue_ += text;
  }
  wake_.notify_one();
}

void Console::write_queue() {
  while (true) {
    std::string taken;
    {
      std::unique_lock lock(mutex_);
      writing_ = false;
      if (queue_.empty()) settled_.notify_all();
      wake_.wait(lock, [this] { return ending_ || !queue_.empty(); });
      if (queue_.empty()) return;
      taken.swap(queue_);
      writing_ = true;
    }
    if (write_out(taken)) continue;
    const std::lock_guard lock(mutex_);
    gone_ = true;
    queue_.clear();
    settled_.notify_all();
    return;
  }
}

// A full disk: what comes later may find room.
bool Console::drop(std::string_view rest) {
  const std::lock_guard lock(mutex_);
  dropped_ += static_cast<std::uint64_t>(std::ranges::count(rest, '\n'));
  return true;
}

// False when nobody reads any more, or not in time at the end. Each wait is short: the end must not hang on a
// terminal that was stopped with Ctrl-S.
bool Console::write_out(const std::string& text) {
  std::size_t done = 0;
  std::optional<Instant> deadline;
  while (done < text.size()) {
    pollfd waited{.fd = fd_, .events = POLLOUT, .revents = 0};
    const int ready = ::poll(&waited, 1, 100);
    if (ready > 0) {
      const ssize_t count = ::write(fd_, text.data() + done, std::min(text.size() - done, write_bytes_max));
      if (count < 0 && is_full(errno)) return drop(std::string_view(text).substr(done));
      if (count < 0 && errno != EINTR && errno != EAGAIN) return false;
      if (count > 0) done += static_cast<std::size_t>(count);
    }
    const std::lock_guard lock(mutex_);
    if (!ending_) continue;
    const Instant now = std::chrono::steady_clock::now();
    if (!deadline) deadline = now + last_words;
    if (now >= *deadline) return false;
  }
  return true;
}

}  // namespace muster::cli
