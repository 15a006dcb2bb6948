#include "simulator/timeline.h"

#include <algorithm>

#include "spec/report.h"
#include "spec/tree.h"

namespace muster::sim {

namespace {
using spec::Mark;
using spec::Member;
using spec::Node;

class Reader {
 public:
  Reader(const spec::Spec& stack, const LoadSpec& load) : stack_(stack), load_(load) {}

  LoadedTimeline read(const std::string& path, const std::string& text) {
    const spec::ParsedTree tree = spec::parse_tree(text, report_.add_file(path, text));
    for (const spec::SyntaxError& error : tree.errors) report_.error(error.at, error.message, error.hint);
    for (const Member& member : tree.root.members) top(member);
    std::ranges::stable_sort(timeline_.steps, {}, &TimedDeed::at);
    LoadedTimeline loaded;
    if (!report_.failed()) loaded.timeline = std::move(timeline_);
    loaded.diagnostics = report_.finish();
    return loaded;
  }

 private:
  void top(const Member& member) {
    if (member.key == "for") {
      timeline_.length = length(member.value);
    } else if (member.key == "step") {
      if (!member.value.is(Node::Kind::list))
        return report_.error(member.at, "steps are written as [[step]]");
      for (const Node& item : member.value.items) step(item);
    } else if (member.key == "behaviour") {
      if (!is_table(member.value)) return;
      for (const Member& app : member.value.members) behaviour(app);
    } else {
      report_.error(member.at, "unknown key '" + member.key + "'", "a timeline has: for, step, behaviour");
    }
  }

  bool is_table(const Node& node) {
    if (node.is(Node::Kind::table)) return true;
    report_.error(node.at, "expected a table, this is " + std::string(spec::kind_name(node.kind)));
    return false;
  }

  std::optional<Nanos> length(const Node& node) {
    if (!node.is(Node::Kind::text)) {
      report_.error(node.at, "expected a length of time as a string", "such as \"5s\"");
      return std::nullopt;
    }
    const auto parsed = spec::parse_duration(node.text);
    if (parsed) return parsed.value();
    report_.error(node.at, parsed.error().message, parsed.error().hint);
    return std::nullopt;
  }

  void step(const Node& node) {
    if (!is_table(node)) return;
    std::optional<Nanos> at;
    const Node* what = nullptr;
    for (const Member& member : node.members) {
      if (member.key == "at") {
        at = length(member.value);
      } else if (member.key == "do") {
        what = &member.value;
      } else {
        report_.error(member.at, "unknown key '" + member.key + "'", "a step has: at, do");
      }
    }
    if (node.find("at") == nullptr) report_.error(node.at, "a step needs 'at'");
    if (what == nullptr) return report_.error(node.at, "a step needs 'do'");
    if (!what->is(Node::Kind::list)) return sentence(at.value_or(Nanos{0}), *what);
    for (const Node& line : what->items) sentence(at.value_or(Nanos{0}), line);
  }

  void sentence(Nanos at, const Node& line) {
    if (!line.is(Node::Kind::text))
      return report_.error(line.at, "expected a string", "such as \"kill web/1 SIGSEGV\"");
    auto doings = read_sentence(line.text, stack_, load_);
    if (!doings) {
      Mark place = line.at;  // of the word, behind the quote
      place.column += 1 + static_cast<std::int32_t>(doings.error().offset);
      return report_.error(place, doings.error().complaint.message, doings.error().complaint.hint);
    }
    for (Doing& doing : doings.value())
      timeline_.steps.push_back({.at = at + doing.later, .deed = std::move(doing.deed)});
  }

  void behaviour(const Member& app) {
    if (stack_.find_app(app.key) == nullptr) return report_.error(app.at, "no app '" + app.key + "'");
    if (!is_table(app.value)) return;
    Conduct& conduct = timeline_.behaviour[app.key];
    for (const Member& member : app.value.members) trait(conduct, member);
  }

  void trait(Conduct& conduct, const Member& member) {
    if (member.key == "ignores_signal" || member.key == "leaves_children" || member.key == "never_healthy") {
      if (!member.value.is(Node::Kind::boolean))
        return report_.error(member.value.at, "expected true or false");
      bool& flag = member.key == "ignores_signal"    ? conduct.ignores_signal
                   : member.key == "leaves_children" ? conduct.tree_outlives
                                                     : conduct.never_healthy;
      flag = member.value.flag;
      return;
    }
    const bool known = member.key == "start_takes" || member.key == "healthy_after" ||
                       member.key == "exits_after" || member.key == "stop_takes" || member.key == "in_flight";
    if (!known)
      return report_.error(member.at, "unknown key '" + member.key + "'",
                           "a behaviour has: start_takes, healthy_after, exits_after, stop_takes, in_flight, "
                           "ignores_signal, leaves_children, never_healthy");
    const auto takes = length(member.value);
    if (!takes) return;
    if (member.key == "start_takes") conduct.start_takes = *takes;
    if (member.key == "healthy_after") conduct.healthy_after = *takes;
    if (member.key == "stop_takes") conduct.signal_takes = *takes;
    if (member.key == "in_flight") conduct.in_flight = *takes;
    if (member.key == "exits_after") {
      conduct.exits_after = *takes;
      conduct.exit = ExitStatus{.code = 1, .signal = std::nullopt};
    }
  }

  const spec::Spec& stack_;
  const LoadSpec& load_;
  spec::Report report_;
  Timeline timeline_;
};
}  // namespace

LoadedTimeline read_timeline(const std::string& path, const std::string& text, const spec::Spec& stack,
                             const LoadSpec& load) {
  return Reader(stack, load).read(path, text);
}

}  // namespace muster::sim
