#include "supervisor/log_intake.h"

#include <fcntl.h>
#include <unistd.h>
#include <uv.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <optional>
#include <vector>

#include "base/check.h"
#include "supervisor/folders.h"
#include "supervisor/log_budget.h"

namespace muster::supervisor {
namespace {

constexpr std::size_t read_bytes_matching = 4U << 10U;  // a regex costs about a microsecond per byte
constexpr std::chrono::seconds read_errors_for{5};      // then it is given up
constexpr std::chrono::milliseconds rest_pause{1000};   // then an incomplete line is shown as it is
constexpr std::uint64_t budget_every_ms = 30'000;

template <typename Handle>
void close_handle(Handle* handle) {
  handle->data = nullptr;
  uv_close(reinterpret_cast<uv_handle_t*>(handle),
           [](uv_handle_t* closed) { delete reinterpret_cast<Handle*>(closed); });
}

Logs::Impl* impl_of(void* data) {
  return static_cast<Logs::Impl*>(data);
}

}  // namespace

Logs::Impl::Impl(uv_loop_s* the_loop, LogsConfig the_config, LogsHooks the_hooks)
    : loop(the_loop),
      config(std::move(the_config)),
      hooks(std::move(the_hooks)),
      access(config.folder, hooks.on_note) {
  turn_check = new uv_check_t{};
  turn_idle = new uv_idle_t{};
  rest_timer = new uv_timer_t{};
  budget_timer = new uv_timer_t{};
  MUSTER_CHECK(uv_check_init(loop, turn_check) == 0 && uv_idle_init(loop, turn_idle) == 0);
  MUSTER_CHECK(uv_timer_init(loop, rest_timer) == 0 && uv_timer_init(loop, budget_timer) == 0);
  turn_check->data = turn_idle->data = rest_timer->data = budget_timer->data = this;
  uv_timer_start(
      budget_timer,
      [](uv_timer_t* timer) {
        impl_of(timer->data)->access.tell_lost(clock_now());
        impl_of(timer->data)->check_budget();
      },
      0, budget_every_ms);
  // The timers alone keep no loop alive.
  uv_unref(reinterpret_cast<uv_handle_t*>(budget_timer));
  if (const Status made = make_folders(config.folder, 0750); !made)
    note(Severity::warning, "log", nullptr, made.error().message + "; tried again with each line");
  open_journal();
}

Logs::Impl::~Impl() {
  const Now now = clock_now();
  while (!pipes.empty()) close_pipe(*pipes.begin()->second, now);
  close_handle(turn_check);
  close_handle(turn_idle);
  close_handle(rest_timer);
  close_handle(budget_timer);
}

void Logs::Impl::note(Severity severity, std::string kind, const ReplicaId* replica, std::string text) {
  if (!hooks.on_note) return;
  Note said{severity, std::move(kind), "", std::nullopt, std::nullopt, std::move(text)};
  if (replica) {
    said.app = replica->app;
    said.ordinal = replica->ordinal;
  }
  hooks.on_note(std::move(said));
}

Logs::Impl::Slot& Logs::Impl::slot_of(const ReplicaId& replica) {
  auto& slot = slots[replica];
  if (!slot) slot = std::make_unique<Slot>(config.folder, replica);
  return *slot;
}

// One automaton for all replicas of an app.
std::shared_ptr<const LogMatcher> Logs::Impl::matcher_of(const LogPipes& of) {
  if (!of.ready_pattern) return nullptr;
  std::erase_if(matchers, [](const auto& entry) { return entry.second.expired(); });
  if (auto known = matchers[*of.ready_pattern].lock()) return known;
  auto compiled = LogMatcher::compile(*of.ready_pattern);
  if (!compiled) {
    note(Severity::error, "health", &of.replica, compiled.error().message);
    return nullptr;
  }
  auto matcher = std::make_shared<const LogMatcher>(std::move(compiled).value());
  matchers[*of.ready_pattern] = matcher;
  return matcher;
}

void Logs::Impl::open_pipe(Fd fd, Stream stream, const LogPipes& of,
                           std::shared_ptr<const LogMatcher> matcher) {
  if (!fd) return;
  const int flags = fcntl(fd.get(), F_GETFL);
  auto pipe = std::make_unique<Pipe>();
  if (flags < 0 || fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK) != 0 ||
      uv_poll_init(loop, &pipe->poll, fd.get()) != 0) {
    note(Severity::error, "log", &of.replica, "its output cannot be read: " + errno_text(errno));
    return;
  }
  Pipe& opened = *pipe.release();  // until the close callback
  opened.poll.data = &opened;
  opened.fd = std::move(fd);
  opened.logs = this;
  opened.slot = &slot_of(of.replica);
  opened.instance = of.instance;
  opened.stream = stream;
  opened.matcher = std::move(matcher);
  ++opened.slot->pipes;
  pipes.emplace(of.instance, &opened);
  join_journal(opened);
  opened.unseen = of.reopened;
  if (opened.unseen) enqueue(opened);
  uv_poll_start(&opened.poll, UV_READABLE, [](uv_poll_t* poll, int, int) {
    auto* readable = static_cast<Pipe*>(poll->data);
    if (readable->logs) readable->logs->enqueue(*readable);
  });
}

void Logs::Impl::enqueue(Pipe& pipe) {
  if (pipe.queued) return;
  pipe.queued = true;
  ready.push_back(&pipe);
  uv_check_start(turn_check, [](uv_check_t* check) { impl_of(check->data)->turn(); });
}

void Logs::Impl::turn() {
  const Now now = clock_now();
  std::size_t left = limits::log_turn_bytes;
  // Each pipe once: one that has more goes to the end of the queue by its next poll event.
  for (std::size_t count = ready.size(); count > 0 && left > 0 && !ready.empty(); --count) {
    Pipe& pipe = *ready.front();
    ready.pop_front();
    pipe.queued = false;
    const long got = read_once(pipe, pipe.matcher ? read_bytes_matching : log_read_bytes, now);
    if (got > 0) left -= std::min(left, static_cast<std::size_t>(got));
  }
  if (!ready.empty()) {
    uv_idle_start(turn_idle, [](uv_idle_t*) {});
  } else {
    uv_idle_stop(turn_idle);
    uv_check_stop(turn_check);
  }
  check_budget_when_over(now.mono);
}

void Logs::Impl::check_budget_when_over(Instant now) {
  if (known_bytes > config.budget_bytes && now >= budget_not_before) check_budget();
}

LogWriter* Logs::Impl::open_writer(const LogFileName& name) {
  LogWriter* writer = access.find(name.stem);
  if (writer == nullptr && name.replica) {
    const auto slot = slots.find(*name.replica);
    if (slot != slots.end()) writer = &slot->second->writer;
  }
  return writer != nullptr && writer->is_open() ? writer : nullptr;
}

ssize_t Logs::Impl::read_bytes_of(Pipe& pipe, std::size_t most) {
  if (pipe.journaled) return journal->read(*pipe.journaled, pipe.fd.get(), most);
  scratch.resize(log_read_bytes);
  ssize_t got = 0;
  do {
    got = read(pipe.fd.get(), scratch.data(), most);
  } while (got < 0 && errno == EINTR);
  return got;
}

long Logs::Impl::read_once(Pipe& pipe, std::size_t most, Now now) {
  const ssize_t got = read_bytes_of(pipe, most);
  if (got < 0 && errno == EAGAIN) {
    pipe.unseen = false;
    return 0;
  }
  if (got < 0) {
    if (!pipe.failing_since) pipe.failing_since = now.mono;
    if (now.mono - *pipe.failing_since < read_errors_for) return 0;  // it is readable still, and asked again
  }
  if (got <= 0) {
    close_pipe(pipe, now);
    return -1;
  }
  pipe.failing_since.reset();
  const std::string_view bytes =
      pipe.journaled ? journal->buffer() : std::string_view(scratch.data(), static_cast<std::size_t>(got));
  take_bytes(pipe, bytes, now);
  if (pipe.unseen) enqueue(pipe);
  return got;
}

// Makes lines of what came, writes them, and keeps what is incomplete. What an earlier daemon did not finish comes here
// again as `unfinished`, and makes byte for byte the same batch.
void Logs::Impl::take_piece(Pipe& pipe, std::string_view bytes, bool flush, Now now,
                            const LogJournal::Piece* unfinished) {
  LogJournal::Stamp stamp{now.wall, pipe.slot->options.format};
  if (pipe.journaled) stamp = journal->stamp(stamp.time, stamp.format);
  const auto on_line = [&](std::string_view line) { take_line(pipe, line, stamp); };
  pipe.splitter.feed(bytes, on_line);
  if (flush) pipe.splitter.flush(on_line);
  if (stamp.format == spec::LogFormat::raw) batch.add_raw(bytes);
  write_batch(pipe, now, unfinished == nullptr ? 0 : finish_write(*unfinished));
  if (pipe.journaled) journal->commit(pipe.splitter.rest());
}

void Logs::Impl::take_bytes(Pipe& pipe, std::string_view bytes, Now now) {
  const bool rested = pipe.splitter.has_rest();
  take_piece(pipe, bytes, false, now);
  if (rested) std::erase(resting, &pipe);
  if (pipe.splitter.has_rest()) rest_since(pipe, now.mono);
}

void Logs::Impl::rest_since(Pipe& pipe, Instant now) {
  pipe.rest_since = now;
  resting.push_back(&pipe);
  if (!uv_is_active(reinterpret_cast<uv_handle_t*>(rest_timer)))
    uv_timer_start(
        rest_timer, [](uv_timer_t* timer) { impl_of(timer->data)->flush_pauses(); },
        static_cast<std::uint64_t>(rest_pause.count()), 0);
}

// raw has its bytes already: there only the hooks see lines.
void Logs::Impl::take_line(Pipe& pipe, std::string_view text, LogJournal::Stamp stamp) {
  Slot& slot = *pipe.slot;
  if (stamp.format != spec::LogFormat::raw) {
    append_log_line(batch.bytes, stamp.format, slot.replica, stamp.time, pipe.stream, text);
    batch.end_line();
  }
  slot.tail.add(stamp.time, pipe.stream, text);
  if (pipe.matcher) match(pipe, text);
  if (followers.empty()) return;
  const LogLine line{slot.replica, pipe.instance, stamp.time, pipe.stream, text};
  // A follower may end itself or another meanwhile.
  for (auto next = followers.begin(); next != followers.end();) {
    const FollowId id = next->first;
    const std::shared_ptr<const OnLogLine> on_line = next->second;
    (*on_line)(line);
    next = followers.upper_bound(id);
  }
}

void Logs::Impl::match(Pipe& pipe, std::string_view text) {
  if (!pipe.matcher->matches(text)) return;
  const auto [first, last] = pipes.equal_range(pipe.instance);
  std::for_each(first, last, [](auto& entry) { entry.second->matcher.reset(); });
  if (hooks.on_match) hooks.on_match(pipe.instance);
}

void Logs::Impl::write_batch(Pipe& pipe, Now now, std::size_t done) {
  if (batch.empty()) return;
  Slot& slot = *pipe.slot;
  known_bytes += batch.bytes.size();
  const LogFileNews news =
      slot.writer.write(batch, slot.options, now, pipe.journaled ? journal.get() : nullptr, done);
  batch.clear();
  if (batch.bytes.capacity() > 4 * log_read_bytes) batch.bytes.shrink_to_fit();
  if (news.failed) note(Severity::error, "log", &slot.replica, news.text);
  if (news.recovered || (news.remade && !news.failed))
    note(Severity::warning, "log", &slot.replica, news.text);
}

void Logs::Impl::flush_rest(Pipe& pipe, Now now) {
  std::erase(resting, &pipe);
  if (!pipe.splitter.has_rest()) return;
  if (pipe.journaled) journal->flush(*pipe.journaled);
  take_piece(pipe, {}, true, now);
}

void Logs::Impl::flush_pauses() {
  const Now now = clock_now();
  const std::vector<Pipe*> all = resting;
  for (Pipe* pipe : all) {
    if (now.mono - pipe->rest_since >= rest_pause) flush_rest(*pipe, now);
  }
  if (resting.empty()) return;
  const auto oldest = std::min_element(resting.begin(), resting.end(),
                                       [](Pipe* a, Pipe* b) { return a->rest_since < b->rest_since; });
  const auto due = std::chrono::ceil<Millis>((*oldest)->rest_since + rest_pause - now.mono);
  uv_timer_start(
      rest_timer, [](uv_timer_t* timer) { impl_of(timer->data)->flush_pauses(); },
      static_cast<std::uint64_t>(std::max<Millis::rep>(due.count(), 1)), 0);
}

void Logs::Impl::close_pipe(Pipe& pipe, Now now) {
  if (leaving) {
    std::erase(resting, &pipe);
  } else {
    flush_rest(pipe, now);
    if (pipe.journaled) journal->release(*pipe.journaled);
  }
  if (pipe.queued) std::erase(ready, &pipe);
  const auto [first, last] = pipes.equal_range(pipe.instance);
  pipes.erase(std::find_if(first, last, [&](const auto& entry) { return entry.second == &pipe; }));
  if (--pipe.slot->pipes == 0) pipe.slot->writer.close();  // no descriptor for a slot without a process
  pipe.logs = nullptr;
  uv_poll_stop(&pipe.poll);
  uv_close(reinterpret_cast<uv_handle_t*>(&pipe.poll),
           [](uv_handle_t* closed) { delete static_cast<Pipe*>(closed->data); });
  pipe.fd
      .reset();  // at once: whoever still writes learns that nobody reads (uv_poll(3) allows it after uv_close)
}

void Logs::Impl::check_budget() {
  auto files = list_log_files(config.folder);
  if (!files) return;  // no folder: the next line makes it and says what is wrong
  const auto is_open = [this](const LogFileName& name) { return open_writer(name) != nullptr; };
  std::map<std::string, std::uint64_t> freed;  // by app
  std::uint64_t freed_of_access_logs = 0;
  known_bytes = 0;
  for (const LogFile& file : files.value()) known_bytes += file.bytes;
  for (const LogRemoval& removal : plan_log_budget(std::move(files).value(), config.budget_bytes, is_open)) {
    const LogFileName& name = removal.file.name;
    if (removal.truncate ? truncate(removal.file.path.c_str(), 0) != 0
                         : unlink(removal.file.path.c_str()) != 0)
      continue;
    if (removal.truncate) open_writer(name)->truncated();
    known_bytes -= removal.file.bytes;
    const bool of_app = name.replica && access.find(name.stem) == nullptr;
    (of_app ? freed[name.replica->app] : freed_of_access_logs) += removal.file.bytes;
  }
  // What could not be removed is not tried at every turn.
  if (known_bytes > config.budget_bytes)
    budget_not_before = std::chrono::steady_clock::now() + std::chrono::seconds{1};
  for (const auto& [app, bytes] : freed) {
    Note said{Severity::info,
              "log-budget",
              app,
              std::nullopt,
              std::nullopt,
              "removed its oldest logs, " + std::to_string(bytes) + " bytes, to keep within log_budget"};
    if (hooks.on_note) hooks.on_note(std::move(said));
  }
  if (freed_of_access_logs > 0)
    note(Severity::info, "log-budget", nullptr,
         "removed the oldest access logs, " + std::to_string(freed_of_access_logs) +
             " bytes, to keep within log_budget");
}

}  // namespace muster::supervisor
