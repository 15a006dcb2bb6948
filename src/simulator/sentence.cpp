#include "simulator/sentence.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/limits.h"
#include "fmt/core.h"

namespace muster::sim {

namespace {

struct Word {
  std::string text;
  std::size_t offset = 0;
};

std::vector<Word> split(std::string_view line) {
  std::vector<Word> words;
  for (std::size_t at = 0; at < line.size();) {
    if (line[at] == ' ') {
      ++at;
      continue;
    }
    const std::size_t end = std::min(line.find(' ', at), line.size());
    words.push_back({std::string(line.substr(at, end - at)), at});
    at = end;
  }
  return words;
}

// "SIGSEGV", "SEGV" or "11"; also those that no app is stopped with.
std::optional<int> signal_of(const std::string& word) {
  constexpr int last = 31;  // of those with a name
  if (const auto number = spec::parse_digits(word, last); number && *number > 0)
    return static_cast<int>(*number);
  for (int number = 1; number <= last; ++number) {
    const std::string name = signal_name(number);
    if (name == word || name == "SIG" + word) return number;
  }
  return std::nullopt;
}

// Thrown away with the first word that makes no sense; the line has one mistake at a time.
class Sentence {
 public:
  Sentence(std::string_view line, const spec::Spec& stack, const LoadSpec& load)
      : words_(split(line)), length_(line.size()), stack_(stack), load_(load) {}

  Result<std::vector<Doing>, Refusal> read() {
    const std::string verb = next("what happens").text;
    bool known = false;
    for (const auto& [name, reader] : readers()) {
      if (verb != name) continue;
      known = true;
      if (!refusal_) reader(*this);
    }
    if (!known) refuse_last("'" + verb + "' is nothing that can happen", "one of: " + all_verbs());
    if (at_ < words_.size()) refuse(words_[at_].offset, "there is a word too many", "");
    if (refusal_) return std::move(*refusal_);
    return std::move(doings_);
  }

 private:
  using Reader = void (*)(Sentence&);
  static const std::vector<std::pair<std::string_view, Reader>>& readers();

  static std::string all_verbs() {
    std::string names;
    for (const auto& [name, reader] : readers()) names += fmt::format("{}{}", names.empty() ? "" : " ", name);
    return names;
  }

  void refuse(std::size_t offset, std::string message, std::string hint) {
    if (!refusal_) refusal_ = Refusal{offset, {std::move(message), std::move(hint)}};
  }
  void refuse_last(std::string message, std::string hint) {
    refuse(at_ == 0 ? 0 : words_[at_ - 1].offset, std::move(message), std::move(hint));
  }
  Word next(std::string_view what) {
    if (at_ < words_.size()) return words_[at_++];
    refuse(length_, fmt::format("{} is missing", what), "");
    return {};
  }
  bool take(std::string_view word) {
    if (at_ >= words_.size() || words_[at_].text != word) return false;
    ++at_;
    return true;
  }
  std::size_t choice(std::string_view what, std::initializer_list<std::string_view> words) {
    const Word word = next(what);
    const auto* const found = std::ranges::find(words, word.text);
    if (found != words.end()) return static_cast<std::size_t>(found - words.begin());
    std::string all;
    for (const std::string_view one : words) all += fmt::format("{}{}", all.empty() ? "" : " or ", one);
    refuse_last(fmt::format("expected {}", all), "");
    return 0;
  }
  Nanos length() {
    const Word word = next("a length of time");
    const auto parsed = spec::parse_duration(word.text);
    if (parsed) return parsed.value();
    refuse_last(parsed.error().message, parsed.error().hint);
    return Nanos{0};
  }
  std::uint64_t number(std::string_view what, std::uint64_t most) {
    const Word word = next(what);
    const auto parsed = spec::parse_digits(word.text, most);
    if (!parsed) refuse_last(fmt::format("{} is a number up to {}", what, most), "");
    return parsed.value_or(0);
  }
  const spec::App* app(const std::string& name) {
    const spec::App* found = stack_.find_app(name);
    if (found != nullptr) return found;
    std::string names;
    for (const spec::App& known : stack_.apps) names += (names.empty() ? "" : ", ") + known.name;
    refuse_last(fmt::format("no app '{}'", name), "there are: " + (names.empty() ? "none" : names));
    return nullptr;
  }
  std::string app_name() {
    std::string name = next("an app").text;
    static_cast<void>(app(name));
    return name;
  }
  Target target() {
    const Word word = next("APP or APP/N");
    const std::size_t slash = word.text.find('/');
    Target target{.app = word.text.substr(0, slash), .ordinal = std::nullopt};
    static_cast<void>(app(target.app));
    if (slash == std::string::npos) return target;
    const auto ordinal = spec::parse_digits(word.text.substr(slash + 1), limits::replicas_max);
    if (!ordinal)
      refuse_last("after the slash there is the number of a replica", "such as " + target.app + "/0");
    target.ordinal = static_cast<int>(ordinal.value_or(0));
    return target;
  }
  Target replica() {
    Target named = target();
    if (!named.ordinal) refuse_last("name one replica", "such as " + named.app + "/0");
    return named;
  }
  // All replicas of an app, or one.
  std::vector<Victim> victims() {
    const Target named = target();
    if (named.ordinal) return {Victim{.app = named.app, .ordinal = *named.ordinal}};
    const spec::App* of = stack_.find_app(named.app);
    std::vector<Victim> all;
    for (int ordinal = 0; of != nullptr && ordinal < of->replicas; ++ordinal)
      all.push_back(Victim{.app = named.app, .ordinal = ordinal});
    return all;
  }
  std::optional<Nanos> lasting() { return take("for") ? std::optional(length()) : std::nullopt; }
  void add(Deed deed, Nanos later = Nanos{0}) { doings_.push_back({later, std::move(deed)}); }

  void kill() {
    const Target victim = replica();
    const Word name = next("a signal");
    const auto signal = signal_of(name.text);
    if (!signal) return refuse_last("'" + name.text + "' is not a signal", "such as SIGSEGV, SIGKILL or 11");
    add(EndProcess{.victim = {.app = victim.app, .ordinal = victim.ordinal.value_or(0)},
                   .status = {.code = std::nullopt, .signal = *signal}});
  }
  void exit() {
    const Target victim = replica();
    const auto code = static_cast<int>(number("an exit status", 255));
    add(EndProcess{.victim = {.app = victim.app, .ordinal = victim.ordinal.value_or(0)},
                   .status = {.code = code, .signal = std::nullopt}});
  }
  void health(health::ProbeKind kind) {
    const std::vector<Victim> named = victims();
    const bool holds = choice("what it finds", {"fails", "holds"}) == 1;
    const auto lasts = lasting();
    for (const Victim& victim : named) {
      add(SetHealth{.victim = victim, .kind = kind, .healthy = holds});
      if (lasts) add(SetHealth{.victim = victim, .kind = kind, .healthy = std::nullopt}, *lasts);
    }
  }
  void hang() {
    const std::vector<Victim> named = victims();
    const auto lasts = lasting();
    for (const Victim& victim : named) {
      add(Hang{.victim = victim, .hung = true});
      if (lasts) add(Hang{.victim = victim, .hung = false}, *lasts);
    }
  }
  void load(bool waits) {
    const bool retry = waits && take("--retry");
    const Word name = next("a spec file");
    if (refusal_) return;
    auto loaded = load_(name.text);
    if (!loaded) return refuse_last(loaded.error().message, "");
    add(LoadFile{.spec = std::move(loaded.value()), .waits = waits, .retry = retry, .name = name.text});
  }
  void ask(Verb verb) { add(Ask{.verb = verb, .target = target()}); }
  void ask_replica(Verb verb) { add(Ask{.verb = verb, .target = replica()}); }
  void ask_app(Verb verb) { add(Ask{.verb = verb, .target = {.app = app_name(), .ordinal = std::nullopt}}); }
  void restart() {
    if (take("muster")) return add(RestartDaemon{});
    ask(take("--now") ? Verb::restart_now : Verb::restart);
  }
  void scale() {
    const Word word = next("APP=N");
    const std::size_t sign = word.text.find('=');
    if (sign == std::string::npos) return refuse_last("expected APP=N or APP=file", "such as web=3");
    Ask ask{.verb = Verb::scale, .target = {.app = word.text.substr(0, sign), .ordinal = std::nullopt}};
    static_cast<void>(app(ask.target.app));
    const std::string count = word.text.substr(sign + 1);
    const auto replicas = spec::parse_digits(count, limits::replicas_max);
    if (!replicas && count != "file")
      return refuse_last(fmt::format("replicas go from 0 to {}", limits::replicas_max), "");
    if (replicas) ask.replicas = static_cast<int>(*replicas);
    add(std::move(ask));
  }
  void spawn() {
    FailStarts fail{.app = app_name()};
    choice("fails", {"fails"});
    const Word word = next("the error");
    const auto rows = start_faults();
    const auto row = std::ranges::find(rows, word.text, &StartFaultRow::word);
    if (row == rows.end()) {
      std::string all;
      for (const StartFaultRow& known : rows) all += fmt::format("{}{}", all.empty() ? "" : " ", known.word);
      return refuse_last("a start cannot fail with '" + word.text + "'", "one of: " + all);
    }
    fail.fault = row->fault;
    choice("how long", {"for"});
    fail.duration = length();
    add(std::move(fail));
  }
  void traffic() {
    AnswerRequests answers{.app = app_name()};
    answers.newest = choice("whose", {"old", "new"}) == 1;
    constexpr std::uint64_t most = 1'000'000'000;
    answers.all = number("how many answers", most);
    answers.errors = number("how many of them with 5xx", answers.all);
    add(std::move(answers));
  }
  void hold() {
    choice("ports", {"ports"});
    HoldPorts hold;
    do {
      hold.ports.insert(static_cast<std::uint16_t>(number("a port", 65535)));
    } while (!refusal_ && at_ < words_.size() && words_[at_].text != "for");
    add(std::move(hold));
    if (const auto lasts = lasting()) add(HoldPorts{}, *lasts);
  }

  const std::vector<Word> words_;
  const std::size_t length_;
  const spec::Spec& stack_;
  const LoadSpec& load_;
  std::size_t at_ = 0;
  std::vector<Doing> doings_;
  std::optional<Refusal> refusal_;
};

const std::vector<std::pair<std::string_view, Sentence::Reader>>& Sentence::readers() {
  static const std::vector<std::pair<std::string_view, Reader>> all{
      {"kill", [](Sentence& s) { s.kill(); }},
      {"exit", [](Sentence& s) { s.exit(); }},
      {"probe", [](Sentence& s) { s.health(health::ProbeKind::readiness); }},
      {"live", [](Sentence& s) { s.health(health::ProbeKind::liveness); }},
      {"hang", [](Sentence& s) { s.hang(); }},
      {"spawn", [](Sentence& s) { s.spawn(); }},
      {"hold", [](Sentence& s) { s.hold(); }},
      {"traffic", [](Sentence& s) { s.traffic(); }},
      {"reload", [](Sentence& s) { s.load(false); }},
      {"apply", [](Sentence& s) { s.load(true); }},
      {"touch", [](Sentence& s) { s.add(TouchFile{s.app_name()}); }},
      {"start", [](Sentence& s) { s.ask(Verb::start); }},
      {"stop", [](Sentence& s) { s.ask(Verb::stop); }},
      {"restart", [](Sentence& s) { s.restart(); }},
      {"scale", [](Sentence& s) { s.scale(); }},
      {"drain", [](Sentence& s) { s.ask_replica(Verb::drain); }},
      {"undrain", [](Sentence& s) { s.ask_replica(Verb::undrain); }},
      {"pause", [](Sentence& s) { s.ask_app(Verb::pause); }},
      {"resume", [](Sentence& s) { s.ask_app(Verb::resume); }},
      {"undo", [](Sentence& s) { s.ask_app(Verb::undo); }},
      {"stall", [](Sentence& s) { s.add(Stall{s.length()}); }},
      {"freeze", [](Sentence& s) { s.add(Freeze{s.length()}); }},
      {"suspend", [](Sentence& s) { s.add(SetClock{s.length()}); }},
      {"disk",
       [](Sentence& s) {
         s.add(SetDisk{s.choice("how it is", {"full", "writable"}) == 1});
       }},
      {"crash", [](Sentence& s) { s.add(RestartDaemon{.in_order = false, .crash = true}); }},
      {"power-cut", [](Sentence& s) { s.add(RestartDaemon{.in_order = false}); }},
      {"down", [](Sentence& s) { s.add(Shutdown{s.take("--now")}); }},
  };
  return all;
}
}  // namespace

Result<std::vector<Doing>, Refusal> read_sentence(std::string_view line, const spec::Spec& stack,
                                                  const LoadSpec& load) {
  return Sentence(line, stack, load).read();
}

}  // namespace muster::sim
