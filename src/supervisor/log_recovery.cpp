// What an earlier daemon had read of the output and not written, and what its processes have left in their pipes: by the
// journal.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/check.h"
#include "supervisor/log_intake.h"

namespace muster::supervisor {
namespace {

Fd open_by_identity(const std::string& folder, const FileIdentity& identity) {
  const auto files = list_log_files(folder);
  if (!files) return {};
  for (const LogFile& file : files.value()) {
    if (FileIdentity{file.device, file.inode} != identity) continue;
    return Fd(open(file.path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
  }
  return {};
}

bool holds_bytes(const Fd& pipe) {
  int waiting = 0;
  return pipe && ioctl(pipe.get(), FIONREAD, &waiting) == 0 && waiting > 0;
}

}  // namespace

void Logs::Impl::open_journal() {
  if (config.journal.empty()) return;
  auto opened = LogJournal::open(config.journal);
  if (!opened) {
    note(Severity::warning, "log", nullptr,
         "no journal of the output (" + opened.error().message +
             "): should muster be killed, lines that it is just writing are lost");
    return;
  }
  journal = std::move(opened).value();
  finish_unfinished();
}

// What could not be made at the start may be there now, for what is attached from now on.
void Logs::Impl::regain_journal() {
  if (journal || config.journal.empty()) return;
  auto opened = LogJournal::open(config.journal);
  if (!opened) return;
  note(Severity::info, "log", nullptr, "the journal of the output is there after all");
  journal = std::move(opened).value();
  finish_unfinished();
  // Lines that an earlier daemon had read half of: their other halves have been read without them.
  for (const auto& [slot, owner] : journal->owners()) end_other(slot, owner, Fd());
}

// A pipe that is in no list: for output whose process has ended.
std::unique_ptr<Logs::Impl::Pipe> Logs::Impl::stand_in(LogJournal::SlotId slot, const LogOwner& owner,
                                                       Fd fd) {
  auto pipe = std::make_unique<Pipe>();
  pipe->fd = std::move(fd);
  pipe->slot = &slot_of(owner.replica);
  if (pipe->slot->pipes == 0) pipe->slot->options = owner.options;
  pipe->instance = owner.instance;
  pipe->stream = owner.stream;
  pipe->journaled = slot;
  pipe->splitter.restore(journal->rest(slot));
  return pipe;
}

void Logs::Impl::finish_unfinished() {
  const auto piece = journal->unfinished();
  if (!piece) return;
  const auto owner = journal->owner(piece->slot);
  MUSTER_CHECK(owner.has_value());
  const auto pipe = stand_in(piece->slot, *owner);
  take_piece(*pipe, piece->bytes, piece->flush, clock_now(), &*piece);
  pipe->slot->writer.close();
}

// The rest of a write that an earlier daemon had begun, to the very file; how much of the batch is in files then. Where
// the file is gone, so is what was in it.
std::size_t Logs::Impl::finish_write(const LogJournal::Piece& piece) {
  if (!piece.write) return piece.done;
  std::size_t done = piece.done;
  const std::size_t end = std::min(piece.write->end, batch.bytes.size());
  if (const Fd file = open_by_identity(config.folder, piece.write->file)) {
    struct stat info {};
    if (fstat(file.get(), &info) == 0) done += journal->written(static_cast<std::uint64_t>(info.st_size));
    while (done < end) {
      const ssize_t wrote = write(file.get(), batch.bytes.data() + done, end - done);
      if (wrote < 0 && errno == EINTR) continue;
      if (wrote <= 0) break;
      done += static_cast<std::size_t>(wrote);
    }
  }
  journal->wrote(done);
  return done;
}

void Logs::Impl::end_other(LogJournal::SlotId slot, const LogOwner& owner, Fd fd) {
  const Now now = clock_now();
  const auto pipe = stand_in(slot, owner, std::move(fd));
  std::size_t left = pipe->fd ? log_finish_bytes_max : 0;
  while (left > 0) {
    const ssize_t got = read_bytes_of(*pipe, std::min(left, log_read_bytes));
    if (got <= 0) break;
    take_piece(*pipe, journal->buffer(), false, now);
    left -= static_cast<std::size_t>(got);
  }
  flush_rest(*pipe, now);
  journal->release(slot);
  if (pipe->slot->pipes == 0) pipe->slot->writer.close();
}

void Logs::Impl::end_others(std::vector<LeftOutput> left) {
  const auto owners = journal ? journal->owners() : std::vector<std::pair<LogJournal::SlotId, LogOwner>>{};
  for (const auto& [slot, owner] : owners) {
    if (pipes.contains(owner.instance)) continue;
    Fd fd;
    for (LeftOutput& output : left) {
      if (output.instance == owner.instance)
        fd = std::move(owner.stream == Stream::out ? output.out : output.err);
    }
    end_other(slot, owner, std::move(fd));
  }
  const bool lost = std::any_of(left.begin(), left.end(), [](const LeftOutput& output) {
    return holds_bytes(output.out) || holds_bytes(output.err);
  });
  if (lost)
    note(Severity::warning, "log", nullptr,
         "the last output of processes that ended while no muster ran is lost: the journal that says whose "
         "it is was lost");
}

void Logs::Impl::join_journal(Pipe& pipe) {
  if (!journal) return;
  pipe.journaled =
      journal->claim(LogOwner{pipe.instance, pipe.stream, pipe.slot->replica, pipe.slot->options});
  if (!pipe.journaled) {
    if (!std::exchange(told_of_room, true))
      note(Severity::warning, "log", &pipe.slot->replica,
           "no room in the journal of the output: should muster be killed, lines that it is just writing are "
           "lost");
    return;
  }
  pipe.splitter.restore(journal->rest(*pipe.journaled));
  if (pipe.splitter.has_rest()) rest_since(pipe, clock_now().mono);
}

}  // namespace muster::supervisor
