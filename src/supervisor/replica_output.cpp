#include "supervisor/replica_output.h"

namespace muster::supervisor {

ReplicaOutput::ReplicaOutput(const std::string& run_dir, std::function<void(std::string)> warn)
    : fifos_(run_dir), warn_(std::move(warn)) {}

void ReplicaOutput::complain(const Error& error) {
  if (std::exchange(complained_, true)) return;
  warn_("the output of replicas goes through plain pipes, which end with muster: " + error.message);
}

std::string ReplicaOutput::journal_path() {
  if (fifos_.folder().empty()) return "";
  if (const Status ready = fifos_.prepare(); !ready) complain(ready.error());
  return fifos_.folder() + "/journal";
}

OutputPipes ReplicaOutput::make(InstanceId instance) {
  if (fifos_.folder().empty()) return {};
  auto made = fifos_.make(instance);
  if (!made) {
    complain(made.error());
    return {};
  }
  complained_ = false;
  const OutputPipes& pipes = made.value();
  if (keeper_) keeper_->hold(instance, pipes.out.read, pipes.err.read);
  return std::move(made).value();
}

LeftOutput ReplicaOutput::reopen(InstanceId instance) {
  living_.insert(instance);
  auto opened = fifos_.reopen(instance);
  if (!opened) return LeftOutput{instance, {}, {}};
  if (keeper_) keeper_->hold(instance, opened.value().out, opened.value().err);
  return std::move(opened).value();
}

std::vector<LeftOutput> ReplicaOutput::open_left() {
  std::vector<LeftOutput> left = fifos_.open_left(living_);
  for (const LeftOutput& output : left) left_.insert(output.instance);
  return left;
}

// One that was killed in between finds it all again.
void ReplicaOutput::end_left() {
  for (const InstanceId instance : std::exchange(left_, {})) forget(instance);
  if (keeper_) {
    keeper_->end_earlier();
  } else if (!fifos_.folder().empty()) {
    keep_by_process(nullptr, fifos_, {})->end_earlier();
  }
}

void ReplicaOutput::forget(InstanceId instance) {
  if (keeper_) keeper_->drop(instance);
  fifos_.forget(instance);
}

std::set<InstanceId> ReplicaOutput::stored() const {
  return keeper_ ? keeper_->stored() : std::set<InstanceId>();
}

}  // namespace muster::supervisor
