// `muster logs [-f]` on the daemon's side: what the files hold, then (with follow) each new line, without a gap
// and without a line twice. Pull: whoever has room takes some; a reader that is slow loses lines, counted, and
// never costs more than limits::log_stream_bytes_max.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "supervisor/log_line.h"
#include "supervisor/log_pipes.h"
#include "supervisor/log_reader.h"

namespace muster::supervisor {

class LogStream {
 public:
  // `on_readable` is called on the control thread when take() would give lines after it gave none; it may call
  // take(). `logs` outlives the stream.
  static Result<std::unique_ptr<LogStream>> open(Logs& logs, LogQuery query, bool follow,
                                                 std::function<void()> on_readable);
  ~LogStream();
  LogStream(const LogStream&) = delete;
  LogStream& operator=(const LogStream&) = delete;

  struct Taken {
    std::vector<StoredLine> lines;
    std::uint64_t lost = 0;  // lines dropped before `lines` because nobody took them in time
    enum class State {
      more,     // call again when there is room
      waiting,  // on_readable will say
      ended,    // without follow: everything was read
    } state = State::more;
  };
  Taken take(std::size_t lines_max);

 private:
  struct Impl;
  explicit LogStream(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace muster::supervisor
