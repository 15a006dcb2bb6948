#include "cli/completion.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "cli/commands.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Completion, EveryScriptKnowsEveryCommandAndFlag) {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    const std::string script = completion_script(shell).value();
    for (const CommandRow& row : all_commands()) {
      EXPECT_THAT(script, HasSubstr(std::string(row.name))) << shell;
      for (const FlagKey key : row.flags) {
        const Flag& flag = flag_row(key);
        const std::string word(flag.long_name.substr(2));
        if (flag.later) {
          EXPECT_THAT(script, Not(HasSubstr(word))) << "what is refused is not offered";
          continue;
        }
        EXPECT_THAT(script, HasSubstr(word)) << shell;
      }
    }
  }
  EXPECT_EQ(completion_script("tcsh"), std::nullopt);
}

// The script in a real bash: what it offers for a line.
std::string offered(const std::filesystem::path& script, const std::string& words, int at) {
  const std::string command = "bash --norc -c 'source " + script.string() + "; COMP_WORDS=(" + words +
                              "); COMP_CWORD=" + std::to_string(at) + "; _muster; echo \"${COMPREPLY[*]}\"'";
  FILE* pipe = ::popen(command.c_str(), "r");
  std::string answer;
  char buffer[4096];
  while (std::fgets(buffer, sizeof buffer, pipe) != nullptr) answer += buffer;
  EXPECT_EQ(::pclose(pipe), 0);
  return answer;
}

TEST(Completion, BashOffersWhatFits) {
  const std::filesystem::path script =
      std::filesystem::path(testing::TempDir()) / ("muster-completion-" + std::to_string(::getpid()));
  std::ofstream(script) << completion_script("bash").value();
  EXPECT_EQ(offered(script, "muster re", 1), "reload restart resume\n");
  EXPECT_EQ(offered(script, "muster restart --n", 2), "--now --no-wait --no-color\n");
  EXPECT_EQ(offered(script, "muster ps -o j", 3), "json\n");
  EXPECT_EQ(offered(script, "muster completion \"\"", 2), "bash zsh fish\n");
  EXPECT_EQ(offered(script, "muster --no-color dra", 2), "drain\n");
  std::filesystem::remove(script);
}

}  // namespace
}  // namespace muster::cli
