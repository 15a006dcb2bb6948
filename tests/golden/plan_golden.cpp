// Each plan/X.case is a spec, an edit of it, and what `muster plan` prints about the edit once the spec runs:
//   === before | after     the spec
//   === before F | after F file F beside it
//   === by hand            commands, one a line: "scale web 6", "stop web", "stop web/0", "drain web/0", "pause web"
//   === plan               the text; written anew only when MUSTER_GOLDEN_WRITE is set
// After each the edit is applied: what was planned is what is done, and then nothing more is to do.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>

#include "cli/plan_table.h"
#include "gtest/gtest.h"
#include "sim/sim_host.h"
#include "supervisor/plan.h"
#include "unit/spec/rig.h"

namespace muster::sim {
namespace {

const std::string folder = std::string(MUSTER_SOURCE_DIR) + "/tests/golden/plan/";

std::string read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::map<std::string, std::string> sections(const std::string& text) {
  std::map<std::string, std::string> parts;
  std::istringstream lines(text);
  std::string name;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("=== ")) {
      name = line.substr(4);
      parts[name];
    } else {
      parts[name] += line + "\n";
    }
  }
  return parts;
}

std::shared_ptr<const spec::Spec> loaded(const std::map<std::string, std::string>& parts,
                                         const std::string& which) {
  spec::FakeWorld world;
  for (const auto& [name, text] : parts) {
    if (name.starts_with(which + " ")) world.files["/spec/" + name.substr(which.size() + 1)] = text;
  }
  const spec::Loaded result = world.load(parts.at(which), {});
  for (const std::string& complaint : spec::complaints(result)) ADD_FAILURE() << which << ": " << complaint;
  return result.spec ? std::make_shared<const spec::Spec>(*result.spec) : nullptr;
}

Target target_of(const std::string& word) {
  const auto slash = word.find('/');
  if (slash == std::string::npos) return {.app = word, .ordinal = std::nullopt};
  return {.app = word.substr(0, slash), .ordinal = std::stoi(word.substr(slash + 1))};
}

void by_hand(SimHost& host, const std::string& commands) {
  std::istringstream lines(commands);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string command;
    std::string target;
    words >> command >> target;
    if (command == "scale") {
      int replicas = 0;
      words >> replicas;
      host.scale(target, replicas);
    } else if (command == "stop") {
      host.stop(target_of(target));
    } else if (command == "drain") {
      host.drain(target_of(target));
    } else if (command == "pause") {
      host.pause(target);
    } else {
      ADD_FAILURE() << "no such command: " << line;
    }
  }
}

bool settle(SimHost& host) {
  return host.advance_until([&] { return host.unfinished().empty() && host.unanswered().empty(); });
}

// "start web/0 2", sorted: the order of two apps is not what is promised.
std::vector<std::string> starts_of(const Plan& plan) {
  std::vector<std::string> all;
  for (const PlannedApp& app : plan.apps) {
    for (const PlannedReplica& row : app.replicas) {
      if (row.to) all.push_back(to_string(row.replica) + " " + std::to_string(raw(*row.to)));
    }
  }
  std::ranges::sort(all);
  return all;
}

std::vector<std::string> starts_since(const SimHost& host, std::size_t first) {
  std::vector<std::string> all;
  for (std::size_t index = first; index < host.spawns().size(); ++index) {
    const Spawn& spawn = host.spawns()[index].second;
    if (host.world().jobs.contains(spawn.replica.app)) continue;
    all.push_back(to_string(spawn.replica) + " " + std::to_string(raw(spawn.revision)));
  }
  std::ranges::sort(all);
  return all;
}

std::string table_of(const Plan& plan) {
  const auto parsed = cli::parse_object(plan_json(plan));
  EXPECT_TRUE(parsed);
  return cli::plan_table(cli::JsonView(&parsed.value()), {});
}

Plan planned(const SimHost& host, const std::shared_ptr<const spec::Spec>& spec) {
  return make_plan(host.planner(), spec, Now{.mono = host.now(), .wall = {}}, {});
}

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().extension() == ".case") all.push_back(entry.path().stem());
  std::ranges::sort(all);
  return all;
}

class PlanGolden : public testing::TestWithParam<std::string> {};

TEST_P(PlanGolden, SaysAndDoesTheSame) {
  const std::string path = folder + GetParam() + ".case";
  const std::string text = read(path);
  auto parts = sections(text);
  const auto before = loaded(parts, "before");
  const auto after = loaded(parts, "after");
  ASSERT_TRUE(before && after);
  SimHost host({.seed = 7, .spec = before});
  host.conduct = [&host](const Spawn& spawn) {  // jobs succeed
    Conduct conduct;
    if (host.world().jobs.contains(spawn.replica.app)) conduct.exits_after = 10ms;
    return conduct;
  };
  ASSERT_TRUE(settle(host)) << host.unfinished();
  by_hand(host, parts["by hand"]);
  ASSERT_TRUE(settle(host)) << host.unfinished();
  const Plan plan = planned(host, after);
  const std::string said = table_of(plan);
  if (std::getenv("MUSTER_GOLDEN_WRITE") != nullptr)
    std::ofstream(path, std::ios::binary) << text.substr(0, text.find("=== plan\n")) << "=== plan\n" << said;
  EXPECT_EQ(said, sections(read(path))["plan"]);
  const std::size_t spawned = host.spawns().size();
  host.apply(after);
  ASSERT_TRUE(settle(host)) << host.unfinished();
  EXPECT_EQ(starts_of(plan), starts_since(host, spawned));
  const Plan again = planned(host, after);
  EXPECT_FALSE(again.changes()) << table_of(again);
  EXPECT_EQ(host.violation(), "");
}

INSTANTIATE_TEST_SUITE_P(Edits, PlanGolden, testing::ValuesIn(names()),
                         [](const auto& made) { return made.param; });

TEST(PlanGoldenFiles, AreThere) {
  EXPECT_GE(names().size(), 25U);
}

}  // namespace
}  // namespace muster::sim
