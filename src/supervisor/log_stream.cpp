#include "supervisor/log_stream.h"

#include <deque>
#include <optional>

#include "base/limits.h"

namespace muster::supervisor {

struct LogStream::Impl {
  Impl(Logs& the_logs, LogReader the_reader, std::function<void()> the_hook)
      : logs(the_logs), reader(std::move(the_reader)), on_readable(std::move(the_hook)) {}
  ~Impl() {
    if (follow) logs.unfollow(*follow);
  }

  void add(const LogLine& line);
  void drop_oldest();

  Logs& logs;
  std::optional<LogReader> reader;  // none: the files are read
  std::function<void()> on_readable;
  std::optional<FollowId> follow;
  std::deque<StoredLine> queue;  // live lines that nobody took yet
  std::size_t queue_bytes = 0;
  std::uint64_t lost = 0;
  bool waiting = false;
};

namespace {

std::size_t cost(const StoredLine& line) {
  return line.text.size() + sizeof(StoredLine);
}

}  // namespace

void LogStream::Impl::drop_oldest() {
  queue_bytes -= cost(queue.front());
  queue.pop_front();
}

void LogStream::Impl::add(const LogLine& line) {
  queue.push_back({line.replica, line.time, line.stream, std::string(line.text)});
  queue_bytes += cost(queue.back());
  while (queue_bytes > limits::log_stream_bytes_max) {
    drop_oldest();
    ++lost;
  }
  if (std::exchange(waiting, false) && on_readable) on_readable();
}

LogStream::LogStream(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LogStream::~LogStream() = default;

Result<std::unique_ptr<LogStream>> LogStream::open(Logs& logs, LogQuery query, bool follow,
                                                   std::function<void()> on_readable) {
  query.access_logs = logs.access_logs();
  auto reader = LogReader::open(logs.folder(), query);
  if (!reader) return std::move(reader).error();
  auto impl = std::make_unique<Impl>(logs, std::move(reader).value(), std::move(on_readable));
  // Everything up to now is in the files, everything from now on comes by the hook: lines are written in the same
  // turn in which followers see them.
  if (follow)
    impl->follow = logs.follow([stream = impl.get(), query = std::move(query)](const LogLine& line) {
      if (query.covers(line.replica) && (!query.since || line.time >= *query.since)) stream->add(line);
    });
  return std::unique_ptr<LogStream>(new LogStream(std::move(impl)));
}

LogStream::Taken LogStream::take(std::size_t lines_max) {
  Taken taken;
  if (impl_->reader && !impl_->reader->read_some(taken.lines, lines_max)) impl_->reader.reset();
  if (impl_->reader) return taken;
  // What was lost lies before the queue: say so only where the reader learns it in the right place.
  if (impl_->lost > 0 && !taken.lines.empty()) return taken;
  taken.lost = std::exchange(impl_->lost, 0);
  while (taken.lines.size() < lines_max && !impl_->queue.empty()) {
    impl_->queue_bytes -= cost(impl_->queue.front());
    taken.lines.push_back(std::move(impl_->queue.front()));
    impl_->queue.pop_front();
  }
  if (!impl_->queue.empty()) return taken;
  taken.state = impl_->follow ? Taken::State::waiting : Taken::State::ended;
  impl_->waiting = impl_->follow.has_value();
  return taken;
}

}  // namespace muster::supervisor
