// The output of replicas as named FIFOs in the runtime folder: RUN/output/INSTANCE.out and .err. A daemon that comes after
// one that was killed opens them by name and reads on at the very next byte. For the control thread.
//
// - The process has its end open for reading too, so a write never fails for want of a reader (SIGPIPE): it waits when the
//   FIFO is full. The end of the last process is still seen, because nobody else writes.
// - Apps open /dev/stdout and /proc/self/fd/1 anew, also as another user (nginx's error_log). That goes by the FIFO's own
//   mode, not by its path: all may read and write it, and nobody but muster's user passes the folder.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/ids.h"
#include "base/result.h"

namespace muster::supervisor {

struct OutputPipe {
  Fd read;   // non-blocking
  Fd write;  // for the process: blocks, as apps expect
};

struct OutputPipes {
  OutputPipe out;
  OutputPipe err;
};

// What a process of an earlier daemon left behind; either may be invalid.
struct LeftOutput {
  InstanceId instance{};
  Fd out;
  Fd err;
};

// Plain pipes, which end with the daemon.
Result<OutputPipes> make_plain_pipes();

class OutputFifos {
 public:
  // `run_dir` is this daemon's alone; "": there are no FIFOs.
  explicit OutputFifos(const std::string& run_dir);
  ~OutputFifos();  // the folders go when they are empty
  OutputFifos(const OutputFifos&) = delete;
  OutputFifos& operator=(const OutputFifos&) = delete;

  // An error when there can be none; what was half made is gone then.
  Result<OutputPipes> make(InstanceId instance);
  // The read ends, for an instance that lives on.
  Result<LeftOutput> reopen(InstanceId instance);
  void forget(InstanceId instance);
  // All that earlier daemons left, but for the living. Their names stay until forget().
  [[nodiscard]] std::vector<LeftOutput> open_left(const std::set<InstanceId>& living) const;

  [[nodiscard]] const std::string& folder() const { return folder_; }
  // Made with its parents when it is missing; it must be of muster's user alone.
  Status prepare();

 private:
  [[nodiscard]] std::string path(InstanceId instance, bool err) const;
  Result<OutputPipe> make_one(const std::string& path) const;

  std::string folder_;
  bool prepared_ = false;
};

}  // namespace muster::supervisor
