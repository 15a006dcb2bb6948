// [daemon].
#include "fmt/core.h"
#include "spec/draft.h"

namespace muster::spec {

namespace {

void read_threads(const Reader& reader, const Node& value, Daemon& daemon) {
  if (value.is(Node::Kind::text) && value.text == "auto") return;
  if (value.is(Node::Kind::text)) return reader.wrong_type(value, "an integer or \"auto\"");
  daemon.threads = static_cast<int>(reader.integer(value, 1, 1024).value_or(0));
}

void read_port_range(const Reader& reader, const Node& value, DaemonDraft& draft) {
  draft.port_range_at = value.at;
  const auto written = reader.text(value);
  if (!written) return;
  const auto dash = written->find('-');
  const auto first = parse_digits(std::string_view(*written).substr(0, dash), 65535);
  const auto last = dash == std::string::npos
                        ? std::nullopt
                        : parse_digits(std::string_view(*written).substr(dash + 1), 65535);
  if (!first || !last || *first == 0 || *last < *first)
    return reader.error(value.at, fmt::format("'{}' is no range of ports", *written),
                        "write \"20000-29999\"");
  draft.daemon.port_range_first = static_cast<std::uint16_t>(*first);
  draft.daemon.port_range_last = static_cast<std::uint16_t>(*last);
}

}  // namespace

DaemonDraft read_daemon(const Reader& reader, const Node* node) {
  DaemonDraft draft;
  Daemon& daemon = draft.daemon;
  daemon.watch_spec = reader.options().mode == Mode::up;
  if (reader.options().mode == Mode::up) daemon.on_crash = OnCrash::stop;
  if (node == nullptr || !reader.table(*node, "a table")) return draft;
  reader.each_key(Section::daemon, *node, [&](std::string_view key, const Node& value) {
    if (key == "threads") {
      read_threads(reader, value, daemon);
    } else if (key == "port_range") {
      read_port_range(reader, value, draft);
    } else if (key == "log_level") {
      if (const auto level = reader.word(value, {"debug", "info", "warn", "error"}))
        daemon.log_level = static_cast<LogLevel>(*level);
    } else if (key == "log_budget") {
      const auto bytes = reader.size(value);
      if (bytes && *bytes < (1U << 20U)) return reader.error(value.at, "the logs need room for 1MiB");
      daemon.log_budget_bytes = bytes.value_or(daemon.log_budget_bytes);
    } else if (key == "watch_spec") {
      if (const auto flag = reader.boolean(value)) daemon.watch_spec = *flag;
    } else if (key == "on_crash") {
      if (const auto word = reader.word(value, {"stop", "keep"}))
        daemon.on_crash = static_cast<OnCrash>(*word);
    }
  });
  return draft;
}

}  // namespace muster::spec
