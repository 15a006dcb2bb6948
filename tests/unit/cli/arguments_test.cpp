#include "cli/arguments.h"

#include <map>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster::cli {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;

const WallTime now = std::chrono::sys_days{std::chrono::year{2026} / 3 / 1};

using Variables = std::map<std::string, std::string>;

Result<Arguments> parse(std::vector<std::string> words, const Variables& variables = {}) {
  const auto look_up = [variables](const std::string& name) {
    const auto at = variables.find(name);
    return at == variables.end() ? std::nullopt : std::optional(at->second);
  };
  return parse_arguments(std::move(words), look_up, now);
}

Arguments good(const std::vector<std::string>& words, const Variables& variables = {}) {
  auto parsed = parse(words, variables);
  EXPECT_TRUE(parsed) << (parsed ? "" : parsed.error().message);
  return parsed ? parsed.value() : Arguments{};
}

std::string refused(const std::vector<std::string>& words, const Variables& variables = {}) {
  const auto parsed = parse(words, variables);
  EXPECT_FALSE(parsed);
  if (parsed) return "";
  EXPECT_EQ(parsed.error().code, ExitCode::usage);
  return parsed.error().message;
}

// Words that make a command complete.
std::vector<std::string> operands_for(const CommandRow& row) {
  if (row.operands_min == 0) return {};
  switch (row.operand) {
    case Operand::none:
      return {};
    case Operand::app:
    case Operand::app_or_replica:
      return {"web"};
    case Operand::replica:
      return {"web/0"};
    case Operand::app_count:
      return {"web=2"};
    case Operand::rollout:
      return {"status", "web"};
    case Operand::job:
      return {"nightly"};
    case Operand::volumes:
      return {"rm", "db/0/data"};
    case Operand::shell:
      return {"bash"};
  }
  return {};
}

std::string value_for(FlagKey key) {
  switch (key) {
    case FlagKey::output:
      return "table";
    case FlagKey::timeout:
    case FlagKey::since:
    case FlagKey::grace:
      return "5m";
    case FlagKey::tail:
      return "7";
    default:
      return "x";
  }
}

TEST(Arguments, EveryCommandIsKnownByItsName) {
  for (const CommandRow& row : all_commands()) {
    std::vector<std::string> words{std::string(row.name)};
    for (const std::string& word : operands_for(row)) words.push_back(word);
    const Arguments parsed = good(words);
    ASSERT_NE(parsed.row, nullptr) << row.name;
    EXPECT_EQ(parsed.row->name, row.name);
    EXPECT_EQ(parsed.command(), row.command);
  }
}

TEST(Arguments, EveryFlagOfEveryCommandIsTakenOrRefusedByName) {
  for (const CommandRow& row : all_commands()) {
    std::vector<FlagKey> keys(global_flags().begin(), global_flags().end());
    keys.insert(keys.end(), row.flags.begin(), row.flags.end());
    for (const FlagKey key : keys) {
      const Flag& flag = flag_row(key);
      std::vector<std::string> words{std::string(row.name)};
      for (const std::string& word : operands_for(row)) words.push_back(word);
      words.emplace_back(flag.long_name);
      if (!flag.value.empty()) words.push_back(value_for(key));
      if (flag.later) {
        EXPECT_THAT(refused(words), HasSubstr("not in this version")) << row.name << flag.long_name;
      } else {
        good(words);
      }
    }
  }
}

TEST(Arguments, VolumesAreListedAdoptedOrRemoved) {
  EXPECT_TRUE(good({"volumes"}).targets.empty());
  EXPECT_EQ(good({"volumes", "db/0"}).targets.at(0), (Target{.app = "db", .ordinal = 0, .replicas = {}}));
  EXPECT_TRUE(good({"volumes", "rm", "db/0/data", "--yes"}).yes);
  EXPECT_EQ(good({"volumes", "adopt", "db/0", "/srv/pg/1"}).operands.size(), 3U);
  EXPECT_THAT(refused({"volumes", "rm"}), HasSubstr("needs a volume"));
  EXPECT_THAT(refused({"volumes", "db", "web"}), HasSubstr("takes no word here"));
  EXPECT_THAT(refused({"volumes", "db/0/data"}), HasSubstr("db/0/data"));
  EXPECT_THAT(refused({"volumes", "rm", "db/x"}), HasSubstr("db/x"));
  EXPECT_THAT(refused({"volumes", "rm", "db/0/Data"}), HasSubstr("no name of a volume"));
  EXPECT_THAT(refused({"ps", "--yes"}), HasSubstr("unknown flag --yes"));
}

TEST(Arguments, AFlagOfAnotherCommandIsUnknown) {
  EXPECT_THAT(refused({"ps", "--now"}), HasSubstr("unknown flag --now"));
  EXPECT_THAT(refused({"check", "--tail", "3"}), HasSubstr("unknown flag --tail"));
  EXPECT_THAT(refused({"stop", "web", "--now"}), HasSubstr("unknown flag --now"));
}

TEST(Arguments, GlobalFlagsStandBeforeOrAfterTheCommand) {
  for (const auto& words :
       std::vector<std::vector<std::string>>{{"-f", "a.toml", "--socket", "s", "ps", "-o", "json"},
                                             {"ps", "-f", "a.toml", "--socket=s", "--output=json"},
                                             {"-o", "json", "ps", "--file", "a.toml", "--socket", "s"}}) {
    const Arguments parsed = good(words);
    EXPECT_EQ(parsed.file, "a.toml");
    EXPECT_EQ(parsed.socket, "s");
    EXPECT_EQ(parsed.output, Output::json);
  }
  EXPECT_EQ(good({"--state-dir", "d", "--no-color", "up"}).state_dir, "d");
  EXPECT_TRUE(good({"up", "--no-color"}).no_color);
}

TEST(Arguments, DashFFollowsOnLogsAndEventsAndIsTheSpecElsewhere) {
  const Arguments logs = good({"logs", "-f", "db/1"});
  EXPECT_TRUE(logs.follow);
  EXPECT_EQ(logs.file, std::nullopt);
  EXPECT_THAT(logs.targets, ElementsAre(Target{.app = "db", .ordinal = 1, .replicas = {}}));
  EXPECT_TRUE(good({"events", "-f"}).follow);
  const Arguments both = good({"-f", "x.toml", "logs", "-f"});
  EXPECT_TRUE(both.follow);
  EXPECT_EQ(both.file, "x.toml");
  EXPECT_EQ(good({"logs", "--file", "y.toml"}).file, "y.toml");
  EXPECT_EQ(good({"up", "-f", "x.toml"}).file, "x.toml");
}

TEST(Arguments, FlagsWinOverTheEnvironment) {
  const Variables variables{{"MUSTER_FILE", "env.toml"},
                            {"MUSTER_SOCKET", "env.sock"},
                            {"MUSTER_STATE_DIR", "env.d"},
                            {"MUSTER_OUTPUT", "json"}};
  const Arguments from_environment = good({"ps"}, variables);
  EXPECT_EQ(from_environment.file, "env.toml");
  EXPECT_EQ(from_environment.socket, "env.sock");
  EXPECT_EQ(from_environment.state_dir, "env.d");
  EXPECT_EQ(from_environment.output, Output::json);
  const Arguments from_flags =
      good({"ps", "-f", "a", "--socket", "b", "--state-dir", "c", "-o", "wide"}, variables);
  EXPECT_EQ(from_flags.file, "a");
  EXPECT_EQ(from_flags.socket, "b");
  EXPECT_EQ(from_flags.state_dir, "c");
  EXPECT_EQ(from_flags.output, Output::wide);
  EXPECT_EQ(good({"ps"}, {{"MUSTER_FILE", ""}}).file, std::nullopt) << "an empty variable is none";
}

TEST(Arguments, ColourIsSwitchedOffByEitherVariable) {
  EXPECT_TRUE(good({"ps"}, {{"NO_COLOR", "1"}}).no_color);
  EXPECT_TRUE(good({"ps"}, {{"MUSTER_NO_COLOR", "1"}}).no_color);
  EXPECT_FALSE(good({"ps"}, {{"NO_COLOR", ""}}).no_color);
}

TEST(Arguments, OutputIsOneOfThree) {
  EXPECT_THAT(refused({"ps", "-o", "yaml"}), HasSubstr("-o is table, wide or json"));
  EXPECT_THAT(refused({"ps"}, {{"MUSTER_OUTPUT", "yaml"}}), HasSubstr("MUSTER_OUTPUT is table"));
  EXPECT_THAT(refused({"daemon", "-o", "json"}), HasSubstr("not in this version"));
  EXPECT_EQ(good({"daemon"}, {{"MUSTER_OUTPUT", "json"}}).output, Output::table);
}

TEST(Arguments, APlanIsNamedByItsId) {
  EXPECT_EQ(good({"apply", "--plan", "849ecc6b50b8"}).plan, "849ecc6b50b8");
  EXPECT_EQ(good({"apply"}).plan, std::nullopt);
  EXPECT_TRUE(good({"plan", "--offline"}).offline);
  EXPECT_THAT(refused({"apply", "--offline"}), HasSubstr("unknown flag --offline"));
}

TEST(Arguments, TheRestOfTheContractIsRefusedByName) {
  for (const char* name : {"top", "init", "export", "import", "schema", "explain"}) {
    EXPECT_EQ(refused({name}), std::string("`muster ") + name + "` is not in this version");
    EXPECT_EQ(refused({name, "web", "--help"}), std::string("`muster ") + name + "` is not in this version");
    EXPECT_EQ(refused({"-f", "x", name, "-o", "json"}),
              std::string("`muster ") + name + "` is not in this version");
  }
}

TEST(Arguments, TyposGetASuggestion) {
  EXPECT_THAT(refused({"chekc"}), HasSubstr("did you mean \"check\"?"));
  EXPECT_THAT(refused({"restrat", "web"}), HasSubstr("did you mean \"restart\"?"));
  EXPECT_THAT(refused({"status"}), HasSubstr("did you mean \"ps\"?"));
  EXPECT_THAT(refused({"apply", "--no-wiat"}), HasSubstr("did you mean --no-wait?"));
  EXPECT_THAT(refused({"apply", "--timeuot=5s"}), HasSubstr("did you mean --timeout?"));
  EXPECT_THAT(refused({"xylophone"}), testing::Not(HasSubstr("did you mean")));
}

TEST(Arguments, WordsAreCounted) {
  EXPECT_THAT(refused({}), HasSubstr("a command is due"));
  EXPECT_THAT(refused({"stop"}), HasSubstr("`muster stop` needs APP[/N]…"));
  EXPECT_THAT(refused({"why"}), HasSubstr("needs APP[/N]"));
  EXPECT_THAT(refused({"why", "web", "db"}), HasSubstr("takes no word here: \"db\""));
  EXPECT_THAT(refused({"ps", "web"}), HasSubstr("takes no word here: \"web\""));
  EXPECT_THAT(refused({"completion"}), HasSubstr("needs SHELL"));
  EXPECT_EQ(good({"up", "web", "db"}).operands.size(), 2U);
}

TEST(Arguments, AnAppMayBeCalledLikeACommand) {
  EXPECT_THAT(good({"logs", "events"}).targets,
              ElementsAre(Target{.app = "events", .ordinal = {}, .replicas = {}}));
  EXPECT_EQ(good({"restart", "up", "ps"}).targets.size(), 2U);
}

TEST(Arguments, TargetsAreChecked) {
  EXPECT_EQ(good({"scale", "web=6"}).targets.front().replicas, 6);
  EXPECT_EQ(good({"scale", "web=file"}).targets.front().replicas, std::nullopt);
  EXPECT_EQ(good({"drain", "web/3"}).targets.front().ordinal, 3);
  EXPECT_THAT(refused({"drain", "web"}), HasSubstr("a replica is due, like web/0"));
  EXPECT_THAT(refused({"scale", "web"}), HasSubstr("web=4"));
  EXPECT_THAT(refused({"scale", "web=1001"}), HasSubstr("0 to 1000"));
  EXPECT_THAT(refused({"scale", "web=-1"}), HasSubstr("0 to 1000"));
  EXPECT_THAT(refused({"scale", "web=4x"}), HasSubstr("0 to 1000"));
  EXPECT_THAT(refused({"stop", "web/"}), HasSubstr("is a number"));
  EXPECT_THAT(refused({"stop", "web/one"}), HasSubstr("is a number"));
  EXPECT_THAT(refused({"stop", "Web"}), HasSubstr("no name of an app"));
  EXPECT_THAT(refused({"stop", "web-"}), HasSubstr("no name of an app"));
  EXPECT_THAT(refused({"up", "web/0"}), HasSubstr("no name of an app"));
  EXPECT_THAT(refused({"stop", "a\x1b[31m"}), HasSubstr("\\x1b")) << "control bytes are escaped";
}

TEST(Arguments, WaitingHasALimit) {
  EXPECT_EQ(good({"apply"}).timeout, minutes(10));
  EXPECT_TRUE(good({"apply"}).wait);
  EXPECT_EQ(good({"reload", "--timeout", "90s", "--no-wait"}).timeout, seconds(90));
  EXPECT_FALSE(good({"reload", "--no-wait"}).wait);
  EXPECT_THAT(refused({"apply", "--timeout", "soon"}), HasSubstr("--timeout"));
  EXPECT_THAT(refused({"apply", "--timeout", "30"}), HasSubstr("--timeout")) << "a number without a unit";
  EXPECT_THAT(refused({"apply", "--timeout", "2026-01-01T00:00:00Z"}), HasSubstr("--timeout"));
  EXPECT_THAT(refused({"apply", "--timeout"}), HasSubstr("timeout"));
}

TEST(Arguments, LogsKnowSinceAndTail) {
  EXPECT_EQ(good({"logs", "--since", "5m"}).since, "5m");
  EXPECT_EQ(good({"logs", "--since", "2026-01-01T00:00:00Z"}).since, "2026-01-01T00:00:00Z");
  EXPECT_EQ(good({"logs", "--tail", "20"}).tail, 20);
  EXPECT_THAT(refused({"logs", "--since", "yesterday"}), HasSubstr("--since"));
  EXPECT_THAT(refused({"logs", "--tail", "-3"}), HasSubstr("--tail"));
}

TEST(Arguments, SinceIsATimeThatHasBeen) {
  for (const char* good_one :
       {"0s", "2026-03-01T00:00:00Z", "2026-03-01T01:59:00+02:00", "0001-01-01T00:00:00Z"})
    EXPECT_EQ(good({"logs", "--since", good_one}).since, good_one);
  for (const std::string later : {"2026-03-01T00:00:01Z", "2026-03-01T00:00:00-00:01", "2999-01-01T00:00:00Z",
                                  "9999-12-31T23:59:59.999Z", "2999-01-01", "2026-03-02"})
    EXPECT_EQ(refused({"logs", "--since", later}), "--since " + later + " is in the future");
  EXPECT_EQ(refused({"logs", "--since", "2026-02-28"}),
            "--since is a length of time like 5m or a time like 2026-02-28T00:00:00Z, not \"2026-02-28\"");
  EXPECT_EQ(refused({"logs", "--since", "2026-02-30"}),
            "--since is a length of time like 5m or a time like 2026-01-01T00:00:00Z, not \"2026-02-30\"");
  EXPECT_THAT(refused({"logs", "--since", "\x1b[31m"}), HasSubstr("\\x1b")) << "control bytes are escaped";
  EXPECT_THAT(refused({"events", "--since", "5m"}), HasSubstr("unknown flag --since"));
}

TEST(Arguments, HelpIsAskedForInThreeWays) {
  EXPECT_TRUE(good({"--help"}).help);
  EXPECT_EQ(good({"--help"}).row, nullptr);
  EXPECT_EQ(good({"help", "scale"}).command(), Command::scale);
  EXPECT_TRUE(good({"scale", "-h"}).help) << "also without the words that it needs";
  EXPECT_TRUE(good({"help"}).help);
}

TEST(Arguments, LengthsHaveUnits) {
  EXPECT_EQ(parse_length("250ms"), Millis(250));
  EXPECT_EQ(parse_length("1h30m"), minutes(90));
  EXPECT_EQ(parse_length("5"), std::nullopt);
  EXPECT_EQ(parse_length(""), std::nullopt);
  EXPECT_EQ(parse_length("1970-01-01T00:00:00Z"), std::nullopt);
}

}  // namespace
}  // namespace muster::cli
