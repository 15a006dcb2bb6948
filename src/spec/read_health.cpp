// `health` and `live`: the short forms and the table.
#include "fmt/core.h"
#include "spec/draft.h"

namespace muster::spec {

namespace {

constexpr std::int64_t streak_max = 1000;

class HealthReader {
 public:
  HealthReader(const Reader& reader, bool live, std::vector<VariableUse>& uses)
      : reader_(reader), live_(live), uses_(uses) {
    if (live) check_.every = Millis(10000);
  }

  HealthCheck read(const Node& node) {
    if (node.is(Node::Kind::text)) {
      read_short(node);
    } else if (node.is(Node::Kind::table)) {
      reader_.each_key(Section::health, node,
                       [this](std::string_view key, const Node& value) { read_key(key, value); });
    } else {
      reader_.wrong_type(node, "a string or a table");
    }
    return std::move(check_);
  }

 private:
  void read_short(const Node& node) {
    const std::string& form = node.text;
    if (form.starts_with('/')) return read_http(node);
    if (form == "tcp") {
      check_.tcp = true;
    } else if (form == "none") {
      check_.always = true;
    } else if (form == "notify") {
      if (not_for_live("notify", node.at)) check_.notify = true;
    } else if (form.starts_with("cmd ")) {
      if (auto argv = reader_.command(std::string_view(form).substr(4), node.at, uses_))
        check_.cmd = std::move(*argv);
    } else if (form.starts_with("log:")) {
      if (const auto written = reader_.text(node)) read_log(written->substr(4), node.at);
    } else {
      reader_.error(node.at, fmt::format("'{}' is no health check", form),
                    "write \"/path\", \"tcp\", \"cmd ...\", \"notify\", \"log:REGEX\", \"none\" or a table");
    }
  }

  void read_key(std::string_view key, const Node& value) {
    if (key == "http") return read_http(value);
    if (key == "tcp") {
      check_.tcp = reader_.boolean(value).value_or(false);
    } else if (key == "cmd") {
      if (auto argv = reader_.command(value, uses_)) check_.cmd = std::move(*argv);
    } else if (key == "notify") {
      if (reader_.boolean(value).value_or(false) && not_for_live("notify", value.at)) check_.notify = true;
    } else if (key == "log") {
      if (const auto written = reader_.text(value)) read_log(*written, value.at);
    } else if (key == "fall" || key == "rise") {
      if (const auto count = reader_.integer(value, 1, streak_max))
        (key == "fall" ? check_.fall : check_.rise) = static_cast<int>(*count);
    } else if (key == "expect") {
      read_expect(value);
    } else {
      read_duration(key, value);
    }
  }

  void read_duration(std::string_view key, const Node& value) {
    const auto duration = reader_.duration(value, Millis(10));
    if (!duration) return;
    if (key == "every") check_.every = *duration;
    if (key == "timeout") check_.timeout = *duration;
    if (key != "start") return;
    check_.start = *duration;
    if (live_)
      reader_.error(value.at, "'start' is for `health`: liveness is asked of a replica that was ready");
  }

  void read_http(const Node& value) {
    auto path = reader_.templated(value, uses_);
    if (!path) return;
    const std::string written = path->text();
    if (!written.starts_with('/') || written.find_first_of(" \t\r\n#") != std::string::npos) {
      reader_.error(value.at, fmt::format("'{}' is no path of a URL", written),
                    "a path begins with '/' and has no blanks and no '#'");
      return;
    }
    check_.http = std::move(*path);
  }

  void read_log(const std::string& pattern, Mark at) {
    if (!not_for_live("log", at)) return;
    if (const auto refusal = regex_refusal(pattern)) return reader_.error(at, *refusal);
    check_.log = pattern;
  }

  void read_expect(const Node& value) {
    std::vector<StatusRange> all;
    for (const Node* item : Reader::listed(value)) {
      if (item->is(Node::Kind::integer)) {
        if (const auto status = reader_.integer(*item, 100, 599))
          all.push_back({static_cast<int>(*status), static_cast<int>(*status)});
      } else if (const auto written = reader_.text(*item)) {
        if (const auto ranges = reader_.checked(parse_status_ranges(*written), item->at))
          all.insert(all.end(), ranges->begin(), ranges->end());
      }
    }
    if (!all.empty()) check_.expect = std::move(all);
    if (value.is(Node::Kind::list) && value.items.empty())
      reader_.error(value.at, "no status would be healthy");
  }

  bool not_for_live(std::string_view what, Mark at) {
    if (!live_) return true;
    reader_.error(at, fmt::format("'{}' says that a replica became ready, not that it still lives", what),
                  "for pings use `watchdog`");
    return false;
  }

  const Reader& reader_;
  bool live_;
  std::vector<VariableUse>& uses_;
  HealthCheck check_;
};

}  // namespace

HealthCheck read_health(const Reader& reader, const Node& node, bool live, std::vector<VariableUse>& uses) {
  return HealthReader(reader, live, uses).read(node);
}

}  // namespace muster::spec
