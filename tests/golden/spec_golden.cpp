// Each X.toml beside this file is a spec with errors; X.expected is what `muster check` prints about it. The texts are
// written anew only when MUSTER_GOLDEN_WRITE is set.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "spec/load.h"

namespace muster::spec {
namespace {

const std::string folder = std::string(MUSTER_SOURCE_DIR) + "/tests/golden/";

std::string read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Without the place of the source tree.
std::string without_folder(std::string text) {
  for (auto at = text.find(folder); at != std::string::npos; at = text.find(folder, at))
    text.erase(at, folder.size());
  return text;
}

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().extension() == ".toml") all.push_back(entry.path().stem());
  std::sort(all.begin(), all.end());
  return all;
}

class Golden : public testing::TestWithParam<std::string> {};

TEST_P(Golden, SaysTheSame) {
  const Loaded loaded = load(folder + GetParam() + ".toml", real_world({"HOME=/srv/x"}), {});
  EXPECT_FALSE(loaded.spec);
  EXPECT_EQ(loaded.exit_code, ExitCode::bad_spec);
  std::string said;
  for (const Diagnostic& diagnostic : loaded.diagnostics) said += without_folder(render(diagnostic));
  const std::string expected = folder + GetParam() + ".expected";
  if (std::getenv("MUSTER_GOLDEN_WRITE") != nullptr) std::ofstream(expected, std::ios::binary) << said;
  EXPECT_EQ(said, read(expected));
}

INSTANTIATE_TEST_SUITE_P(Specs, Golden, testing::ValuesIn(names()),
                         [](const auto& made) { return made.param; });

TEST(GoldenFiles, AreThere) {
  EXPECT_GE(names().size(), 10U);
}

}  // namespace
}  // namespace muster::spec
