// The insides of Logs: pipes that are read in turn, lines of what came, and their files; log_recovery.cpp finishes what an
// earlier daemon has read or left.
#pragma once

#include <uv.h>

#include <deque>

#include "supervisor/access_logs.h"
#include "supervisor/log_files.h"
#include "supervisor/log_journal.h"
#include "supervisor/log_match.h"
#include "supervisor/log_pipes.h"
#include "supervisor/log_writer.h"

namespace muster::supervisor {

inline constexpr std::size_t log_read_bytes = 64U << 10U;  // a pipe's usual capacity: one read empties it
inline constexpr std::size_t log_finish_bytes_max = 1U << 20U;  // the largest pipe an ordinary user can make

struct Logs::Impl {
  using OnLogLine = std::function<void(const LogLine&)>;

  struct Slot {
    explicit Slot(const std::string& folder, ReplicaId id)
        : replica(std::move(id)), writer(folder, log_stem(replica)) {}
    const ReplicaId replica;
    LogWriter writer;
    LogTail tail;
    spec::LogOptions options;
    int pipes = 0;
  };

  // One end of one replica's output. Lives until libuv has closed its handle.
  struct Pipe {
    uv_poll_t poll{};
    Fd fd;
    Logs::Impl* logs = nullptr;  // null: closing
    Slot* slot = nullptr;
    InstanceId instance{};
    Stream stream = Stream::out;
    bool queued = false;
    std::optional<Instant> failing_since;  // to read
    // Reopened, and nobody has been seen at its other end: poll(2) does not tell of the end of a FIFO that nobody wrote to
    // since it was opened, so it is read until it is empty or at its end.
    bool unseen = false;
    std::optional<LogJournal::SlotId> journaled;
    Instant rest_since{};
    std::shared_ptr<const LogMatcher> matcher;
    LineSplitter splitter;
  };

  static Now clock_now() { return {std::chrono::steady_clock::now(), std::chrono::system_clock::now()}; }

  Impl(uv_loop_s* the_loop, LogsConfig the_config, LogsHooks the_hooks);
  ~Impl();

  Slot& slot_of(const ReplicaId& replica);
  std::shared_ptr<const LogMatcher> matcher_of(const LogPipes& of);
  void open_journal();
  void regain_journal();
  void finish_unfinished();
  std::size_t finish_write(const LogJournal::Piece& piece);
  std::unique_ptr<Pipe> stand_in(LogJournal::SlotId slot, const LogOwner& owner, Fd fd = {});
  void end_other(LogJournal::SlotId slot, const LogOwner& owner, Fd fd);
  void end_others(std::vector<LeftOutput> left);
  void join_journal(Pipe& pipe);
  void open_pipe(Fd fd, Stream stream, const LogPipes& of, std::shared_ptr<const LogMatcher> matcher);
  void enqueue(Pipe& pipe);
  void turn();
  // What one read gave: bytes read, 0 when there is nothing now, -1 at the end of the pipe (it is closed then).
  long read_once(Pipe& pipe, std::size_t most, Now now);
  ssize_t read_bytes_of(Pipe& pipe, std::size_t most);
  void take_piece(Pipe& pipe, std::string_view bytes, bool flush, Now now,
                  const LogJournal::Piece* unfinished = nullptr);
  void take_bytes(Pipe& pipe, std::string_view bytes, Now now);
  void rest_since(Pipe& pipe, Instant now);
  void take_line(Pipe& pipe, std::string_view text, LogJournal::Stamp stamp);
  void flush_rest(Pipe& pipe, Now now);
  void write_batch(Pipe& pipe, Now now, std::size_t done);
  void match(Pipe& pipe, std::string_view text);
  void close_pipe(Pipe& pipe, Now now);
  void flush_pauses();
  void check_budget();
  void check_budget_when_over(Instant now);
  // The open file of that name, if it is one.
  LogWriter* open_writer(const LogFileName& name);
  void note(Severity severity, std::string kind, const ReplicaId* replica, std::string text);

  uv_loop_s* loop;
  LogsConfig config;
  LogsHooks hooks;
  std::map<ReplicaId, std::unique_ptr<Slot>> slots;
  AccessLogs access;
  std::multimap<InstanceId, Pipe*> pipes;
  std::deque<Pipe*> ready;     // have bytes, in the order in which they said so
  std::vector<Pipe*> resting;  // hold an incomplete line
  std::map<FollowId, std::shared_ptr<const OnLogLine>> followers;
  std::uint64_t next_follower = 1;
  std::map<std::string, std::weak_ptr<const LogMatcher>> matchers;
  std::unique_ptr<LogJournal> journal;  // none: it cannot be made
  std::vector<char> scratch;            // where there is no journal
  LineBatch batch;
  bool leaving = false;
  bool told_of_room = false;
  std::uint64_t dropped_of_forgotten = 0;
  std::uint64_t known_bytes = 0;  // of all logs: what the last look found, and what was written since
  Instant budget_not_before{};
  uv_check_t* turn_check = nullptr;
  uv_idle_t* turn_idle = nullptr;  // keeps the loop from sleeping while something waits in `ready`
  uv_timer_t* rest_timer = nullptr;
  uv_timer_t* budget_timer = nullptr;
};

}  // namespace muster::supervisor
