// The calm host of the simulator as a fixture: a broken invariant fails the test that met it.
#pragma once

#include <csignal>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sim/sim_host.h"
#include "sim/spec_builder.h"

namespace muster::sim {

class Host : public SimHost {
 public:
  explicit Host(std::shared_ptr<const spec::Spec> spec, RunMode mode = RunMode::daemon,
                PersistentState restored = {})
      : SimHost(HostOptions{.seed = 7,
                            .spec = std::move(spec),
                            .mode = mode,
                            .restored = std::move(restored),
                            .workers = 2,
                            .trace = true,
                            .seam = {}}) {}
  ~Host() { EXPECT_EQ(violation(), ""); }
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  [[nodiscard]] bool settle() {
    return advance_until([this] { return unfinished().empty(); });
  }
  [[nodiscard]] bool until_ready(const std::string& name, int count) {
    return advance_until([&, this] { return ready(name) == count; });
  }
  void kill(const std::string& name, int ordinal, int signal = SIGSEGV) {
    Process* found = process(name, ordinal);
    ASSERT_NE(found, nullptr);
    exit(found->id, ExitStatus{.code = std::nullopt, .signal = signal});
    advance(Nanos{0});
  }
  void end(const std::string& name, int ordinal, int code) {
    Process* found = process(name, ordinal);
    ASSERT_NE(found, nullptr);
    exit(found->id, ExitStatus{.code = code, .signal = std::nullopt});
    advance(Nanos{0});
  }
  [[nodiscard]] int pid(const std::string& name, int ordinal) {
    const Process* found = process(name, ordinal);
    return found == nullptr ? 0 : found->pid;
  }
  [[nodiscard]] Phase phase(const std::string& name, int ordinal) const {
    const Slot& place = slot(name, ordinal);
    return place.tenants.empty() ? place.phase : place.tenants.back().phase;
  }
  [[nodiscard]] AppState state(const std::string& name) const { return app_state(world(), app(name)); }
  // 0 … n-1 in the order of their starts, without those before `since`.
  [[nodiscard]] std::vector<int> start_order(const std::string& name, std::size_t since = 0) const {
    std::vector<int> ordinals;
    for (std::size_t index = since; index < spawns().size(); ++index) {
      if (spawns()[index].second.replica.app == name)
        ordinals.push_back(spawns()[index].second.replica.ordinal);
    }
    return ordinals;
  }
  [[nodiscard]] ExitCode code(CommandId id) const {
    const auto done = answer(id);
    return done ? done->code : ExitCode::timed_out;
  }
  template <typename Kind>
  [[nodiscard]] int count() const {
    int found = 0;
    for (const Action& action : log()) found += std::holds_alternative<Kind>(action) ? 1 : 0;
    return found;
  }
};

}  // namespace muster::sim
