// A rule about the sources that no compiler here checks (see task.h): no co_await in the condition of an if, while,
// for or switch, unless its value is given a name there.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <string>
#include <vector>

namespace muster::lb {
namespace {

std::string without_comments(const std::string& text) {
  return std::regex_replace(text, std::regex("//[^\n]*"), "");
}

// The text between the parenthesis at `open` and its partner.
std::string in_parentheses(const std::string& text, std::size_t open) {
  int depth = 0;
  for (std::size_t i = open; i < text.size(); ++i) {
    if (text[i] == '(') ++depth;
    if (text[i] == ')' && --depth == 0) return text.substr(open + 1, i - open - 1);
  }
  return text.substr(open);
}

std::vector<std::string> offences(const std::string& source) {
  std::vector<std::string> found;
  const std::string text = without_comments(source);
  const std::regex condition(R"(\b(if|while|for|switch)\s*\()");
  const std::regex named(R"(^\s*(const\s+)?[\w:<>]+\s+\w+\s*=\s*co_await\b)");
  for (std::sregex_iterator at(text.begin(), text.end(), condition), end; at != end; ++at) {
    const std::string inside =
        in_parentheses(text, static_cast<std::size_t>(at->position() + at->length() - 1));
    if (inside.find("co_await") != std::string::npos && !std::regex_search(inside, named))
      found.push_back(inside);
  }
  return found;
}

TEST(Sources, TheCheckSeesWhatItIsFor) {
  EXPECT_EQ(offences("if (!co_await f()) x();").size(), 1U);
  EXPECT_EQ(offences("while (a &&\n  co_await f(b, c) != d) x();").size(), 1U);
  EXPECT_EQ(offences("if (const bool x = co_await f()) x();").size(), 0U);
  EXPECT_EQ(offences("const bool x = a && co_await f();\nif (x) y(); // if (co_await z)").size(), 0U);
}

TEST(Sources, NoCoroutineWaitsInACondition) {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(MUSTER_SOURCE_DIR "/src/lb")) {
    if (entry.path().extension() != ".cpp" && entry.path().extension() != ".h") continue;
    std::ifstream in(entry.path());
    const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    for (const std::string& offence : offences(text)) ADD_FAILURE() << entry.path() << ": " << offence;
    ++files;
  }
  EXPECT_GT(files, 20);
}

}  // namespace
}  // namespace muster::lb
