// Random specs and random edits of them, valid by the contract: no cycle in `after`, no overlapping ports.
#pragma once

#include <string>
#include <vector>

#include "sim/random.h"
#include "sim/spec_builder.h"

namespace muster::sim {

class RandomSpec {
 public:
  explicit RandomSpec(Random& random, bool with_jobs = false);
  void edit();  // one to three random changes
  [[nodiscard]] std::shared_ptr<const spec::Spec> current() const;
  [[nodiscard]] const std::vector<spec::App>& apps() const { return apps_; }
  [[nodiscard]] const std::vector<spec::Job>& jobs() const { return jobs_; }

 private:
  spec::App new_app();
  void choose_health(spec::App& app);
  void choose_rules(spec::App& app);
  void choose_update(spec::App& app);
  void choose_ports(spec::App& app);
  void choose_after(std::size_t index);
  void choose_listeners();
  void edit_once();
  void remove(std::size_t index);
  // random_jobs.cpp
  spec::Job new_job();
  void edit_jobs();
  void remove_job(std::size_t index);
  void forget_app(const std::string& name);

  Random& random_;
  bool with_jobs_;
  std::vector<spec::App> apps_;  // each may come `after` those in front of it
  std::vector<spec::Listener> listeners_;
  std::vector<spec::Job> jobs_;  // each may come after apps that stand in front of those it comes before
  int names_ = 0;
  int revisions_ = 0;
  std::uint16_t range_ = 5000;  // each app has its own hundred
};

}  // namespace muster::sim
