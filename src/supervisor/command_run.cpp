#include "supervisor/command_run.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/late.h"
#include "base/limits.h"
#include "fmt/core.h"

namespace muster::supervisor {
namespace {

constexpr std::size_t read_bytes = 16U << 10U;
constexpr int reads_per_turn = 4;  // a command that writes without end must not hold the loop

}  // namespace

CommandRun::CommandRun(ChildWorld& world, std::function<void(CommandResult)> done, std::function<void()> over)
    : world_(world),
      done_(std::move(done)),
      over_(std::move(over)),
      timeout_(world.loop,
               [this] {
                 // We were stopped, and its end may not have been seen yet: as long again.
                 const Instant now = std::chrono::steady_clock::now();
                 if (!excused_ && now > due_ + late_look) {
                   excused_ = true;
                   return begin_timeout();
                 }
                 CommandResult late;
                 late.timed_out = true;
                 late.sentence = deadline_sentence_;
                 child_.kill();
                 answer(std::move(late));
               }),
      child_(world, ChildHooks{
                        .started = [this](int /*pid*/) { started_ = true; },
                        .failed =
                            [this](SpawnFailure /*kind*/, std::string sentence) {
                              CommandResult result;
                              result.sentence = std::move(sentence);
                              answer(std::move(result));
                              over_();
                            },
                        .exited =
                            [this](ExitStatus status) {
                              CommandResult result;
                              result.status = status;
                              result.sentence = describe(status);
                              child_.kill();  // what it left running
                              answer(std::move(result));
                            },
                        .gone = [this] { over_(); },
                    }) {}

Status CommandRun::start(const ChildName& name, const ProcessOrder& order, Millis timeout) {
  std::array<int, 2> ends{-1, -1};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return system_error("pipe", errno);
  out_.reset(ends[0]);
  const Fd write_end(ends[1]);
  fcntl(out_.get(), F_SETFL, O_NONBLOCK);
  deadline_sentence_ = fmt::format("no end within {:.1f} s", static_cast<double>(timeout.count()) / 1000.0);
  // Never left behind by a daemon that dies, whatever happens to its replica.
  if (Status started = child_.start(name, order, write_end.get(), write_end.get(), true); !started)
    return started;
  // Without the poll its output is what fits the pipe until it ends.
  static_cast<void>(out_poll_.start(world_.loop, out_.get(), UV_READABLE, [this] { read_output(); }));
  limit_ = timeout;
  begin_timeout();
  return Unit{};
}

void CommandRun::begin_timeout() {
  due_ = std::chrono::steady_clock::now() + limit_;
  timeout_.start(limit_);
}

void CommandRun::read_output() {
  std::array<char, read_bytes> piece{};
  for (int i = 0; i < reads_per_turn && out_.valid(); ++i) {
    const ssize_t got = read(out_.get(), piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
      out_poll_.close();
      out_.reset();
      return;
    }
    const std::size_t room = limits::probe_output_bytes_max - output_.size();
    output_.append(piece.data(), std::min(room, static_cast<std::size_t>(got)));
  }
}

void CommandRun::answer(CommandResult result) {
  timeout_.stop();
  read_output();
  out_poll_.close();
  out_.reset();
  if (!done_) return;
  result.output = std::move(output_);
  result.started = started_;
  std::exchange(done_, nullptr)(std::move(result));
}

void CommandRun::cancel() {
  done_ = nullptr;
  timeout_.stop();
  child_.kill();
}

void CommandRun::kill() {
  child_.kill();
}

}  // namespace muster::supervisor
