// Each simulate/X.timeline is played with simulate/shop.stack; X.expected is what `muster simulate` prints about it. The
// texts are written anew only when MUSTER_GOLDEN_WRITE is set.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

#include "simulator/story.h"
#include "spec/load.h"

namespace muster::sim {
namespace {

const std::string folder = std::string(MUSTER_SOURCE_DIR) + "/tests/golden/simulate/";

std::string read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

Result<std::shared_ptr<const spec::Spec>> load(const std::string& name) {
  spec::Loaded loaded = spec::load(folder + name, spec::real_world({"HOME=/srv/x"}), {});
  if (loaded.spec) return std::make_shared<const spec::Spec>(std::move(*loaded.spec));
  return Error{.message = name + ": " + loaded.diagnostics.front().message.substr(0, 12),
               .code = loaded.exit_code};
}

std::string said(const std::string& name) {
  const auto stack = load("shop.stack");
  if (!stack) return stack.error().message;
  const std::string file = name + ".timeline";
  const LoadedTimeline loaded = read_timeline(file, read(folder + file), *stack.value(), load);
  if (loaded.timeline) return tell_story(stack.value(), *loaded.timeline);
  std::string text;
  for (const spec::Diagnostic& diagnostic : loaded.diagnostics) text += spec::render(diagnostic);
  return text;
}

class SimulateGolden : public testing::TestWithParam<const char*> {};

TEST_P(SimulateGolden, SaysTheSame) {
  const std::string text = said(GetParam());
  const std::string expected = folder + GetParam() + ".expected";
  if (std::getenv("MUSTER_GOLDEN_WRITE") != nullptr) std::ofstream(expected, std::ios::binary) << text;
  EXPECT_EQ(text, read(expected));
  EXPECT_EQ(text, said(GetParam())) << "a timeline is played the same each time";
}

INSTANTIATE_TEST_SUITE_P(Timelines, SimulateGolden, testing::Values("crash", "rollback", "holds", "mistakes"),
                         [](const auto& made) { return std::string(made.param); });

}  // namespace
}  // namespace muster::sim
