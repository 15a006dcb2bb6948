// Over random pairs of specs, on a calm host: whatever the file was, what it says now is reached, and saying it again
// does nothing.
#include <algorithm>

#include "fmt/core.h"
#include "gtest/gtest.h"
#include "sim/random.h"
#include "sim/sim_host.h"
#include "sim/spec_pair.h"
#include "spec/load.h"

namespace muster::sim {
namespace {

#ifdef NDEBUG
constexpr std::uint64_t pairs = 2000;
#else
constexpr std::uint64_t pairs = 200;
#endif
constexpr Nanos settle_limit = 30min;

// What is in force is what the file says, of every app and of nothing else.
std::string difference(const World& world, const spec::Spec& file) {
  for (const auto& [name, app] : world.apps) {
    if (file.find_app(name) == nullptr) return name + " is there";
  }
  for (const spec::App& wanted : file.apps) {
    const auto at = world.apps.find(wanted.name);
    if (at == world.apps.end()) return wanted.name + " is missing";
    const AppWorld& app = at->second;
    if (!(*app.app == wanted) || !(*app.file == wanted)) return wanted.name + " runs by other rules";
    for (const auto& [ordinal, slot] : app.slots) {
      for (const Tenant& tenant : slot.tenants) {
        if (spec::revision_text(*tenant.app) != spec::revision_text(wanted))
          return to_string(slot.replica) + " runs another revision";
      }
    }
  }
  return "";
}

bool settle(SimHost& host) {
  return host.advance_until([&] { return host.unfinished().empty(); }, settle_limit);
}

bool is_about_a_process(const Action& action) {
  return std::holds_alternative<Spawn>(action) || std::holds_alternative<Signal>(action) ||
         std::holds_alternative<KillTree>(action) || std::holds_alternative<RunStopCommand>(action) ||
         std::holds_alternative<CommandDone>(action);
}

void expect_reached(SimHost& host, const spec::Spec& file, const std::string& what) {
  ASSERT_TRUE(settle(host)) << what << ": " << host.unfinished() << host.violation();
  ASSERT_EQ(host.violation(), "") << what;
  ASSERT_EQ(difference(host.world(), file), "") << what;
}

void expect_nothing_from(SimHost& host, const std::shared_ptr<const spec::Spec>& file,
                         const std::string& what) {
  const std::size_t done = host.log().size();
  const std::uint32_t revision = host.world().spec_revision;
  host.load(std::make_shared<const spec::Spec>(*file));
  host.advance(Nanos{0});
  EXPECT_EQ(host.world().spec_revision, revision) << what;
  host.advance(40s);
  EXPECT_TRUE(std::none_of(host.log().begin() + static_cast<std::ptrdiff_t>(done), host.log().end(),
                           is_about_a_process))
      << what;
  EXPECT_EQ(host.unfinished(), "") << what;
}

TEST(SpecPairs, EveryChangeIsReachedAndSayingItAgainDoesNothing) {
  for (std::uint64_t seed = 1; seed <= pairs; ++seed) {
    const SpecPair pair = spec_pair(seed);
    SimHost host({.seed = seed, .spec = pair.before});
    Random random(seed);
    // Half of the edits find the first file under way.
    if (random.percent(50)) {
      expect_reached(host, *pair.before, fmt::format("pair {}, before", seed));
      expect_nothing_from(host, pair.before, fmt::format("pair {}, before again", seed));
    } else {
      host.advance(random.millis(0, 3000));
    }
    host.load(pair.after);
    host.advance(Nanos{0});
    expect_reached(host, *pair.after, fmt::format("pair {}, after", seed));
    expect_nothing_from(host, pair.after, fmt::format("pair {}, after again", seed));
    host.load(pair.before);
    host.advance(Nanos{0});
    expect_reached(host, *pair.before, fmt::format("pair {}, back", seed));
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace muster::sim
