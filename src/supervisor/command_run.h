// One bounded command beside a replica: its time, its output, its end.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "supervisor/child.h"

namespace muster::supervisor {

class CommandRun {
 public:
  // `done` is called once with the result, unless cancelled; `over` once after it, when no process is left of it.
  CommandRun(ChildWorld& world, std::function<void(CommandResult)> done, std::function<void()> over);
  CommandRun(const CommandRun&) = delete;
  CommandRun& operator=(const CommandRun&) = delete;

  // An error: nothing was started; neither function will be called.
  Status start(const ChildName& name, const ProcessOrder& order, Millis timeout);
  void cancel();  // ends it; `done` is not called any more
  void kill();    // ends it; `done` says how

  [[nodiscard]] Child& child() { return child_; }

 private:
  void read_output();
  void begin_timeout();
  void answer(CommandResult result);

  ChildWorld& world_;
  std::function<void(CommandResult)> done_;
  std::function<void()> over_;
  Fd out_;
  UvPoll out_poll_;
  UvTimer timeout_;
  Millis limit_{0};
  Instant due_{};
  bool excused_ = false;
  std::string output_;
  std::string deadline_sentence_;
  bool started_ = false;
  Child child_;  // last: its hooks use the above
};

}  // namespace muster::supervisor
