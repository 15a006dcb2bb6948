// The routes of a [listen.NAME].
#include <algorithm>
#include <map>

#include "fmt/core.h"
#include "spec/draft.h"

namespace muster::spec {

namespace {

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool is_host_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
}

Parsed<std::string> parse_host(std::string text) {
  std::ranges::transform(text, text.begin(), lower);
  if (text == "*") return std::string();
  if (text.starts_with('[') && text.ends_with(']')) return text;  // an IPv6 address, as in a Host field
  const std::string_view name = std::string_view(text).substr(text.starts_with("*.") ? 2 : 0);
  const std::size_t colon = name.find(':');
  if (colon != std::string_view::npos && name.find(':', colon + 1) == std::string_view::npos)
    return Complaint{fmt::format("'{}': a route's host has no port", text),
                     fmt::format("\"{}\"", text.substr(0, text.rfind(':')))};
  if (name.find('*') != std::string_view::npos)
    return Complaint{fmt::format("'{}': a star stands for the first labels only", text), "\"*.example.org\""};
  const bool fine = !name.empty() && std::ranges::all_of(name, is_host_char) && !name.starts_with('.') &&
                    name.find("..") == std::string_view::npos;
  if (!fine) return Complaint{fmt::format("'{}' is no host", text), ""};
  if (text.ends_with('.')) text.pop_back();
  return text;
}

Parsed<std::string> parse_path(std::string text) {
  if (!text.starts_with('/')) return Complaint{fmt::format("'{}': a path begins with /", text), ""};
  const auto is_bad = [](char c) { return c <= ' ' || c == 0x7f || c == '?' || c == '#'; };
  if (const auto bad = std::ranges::find_if(text, is_bad); bad != text.end())
    return Complaint{fmt::format("'{}': a path has no {}", text,
                                 *bad == '?'   ? "query"
                                 : *bad == '#' ? "fragment"
                                               : "blanks or control bytes"),
                     ""};
  while (text.size() > 1 && text.ends_with('/')) text.pop_back();
  return text;
}

class RouteReader {
 public:
  RouteReader(const Reader& reader, const ListenTimeouts& timeouts) : reader_(reader) {
    route_.timeout = timeouts;
  }

  std::optional<Route> read(const Node& node) {
    if (!reader_.table(node, "a table { host, path, to … }")) return std::nullopt;
    to_at = node.at;
    reader_.each_key(Section::route, node,
                     [this](std::string_view key, const Node& value) { set(key, value); });
    const int targets = (to_given_ ? 1 : 0) + (route_.redirect ? 1 : 0) + (route_.respond ? 1 : 0);
    if (targets == 0 && !failed_)
      reader_.missing(node.at, "the route has none of `to`, `redirect` and `respond`");
    if (targets > 1) reader_.error(node.at, "a route has one of `to`, `redirect` and `respond`");
    if (weight_given_ && !to_given_ && targets == 1)
      reader_.error(weight_at_, "'weight' is for routes that lead to an app");
    return std::move(route_);
  }

  // Whether its host and path are what was written.
  [[nodiscard]] bool is_placed() const { return placed_; }
  Mark to_at;

 private:
  void take(std::optional<std::string> read, std::string& into) {
    placed_ = placed_ && read;
    if (read) into = std::move(*read);
  }
  void set(std::string_view key, const Node& value) {
    if (key == "host") {
      if (const auto text = reader_.text_not_empty(value))
        take(reader_.checked(parse_host(*text), value.at), route_.host);
    } else if (key == "path") {
      if (const auto text = reader_.text_not_empty(value))
        take(reader_.checked(parse_path(*text), value.at), route_.path);
    } else if (key == "to") {
      to_given_ = true;
      to_at = value.at;
      route_.app = reader_.text_not_empty(value).value_or("");
    } else if (key == "weight") {
      weight_given_ = true;
      weight_at_ = value.at;
      route_.weight = static_cast<int>(reader_.integer(value, 0, 1000).value_or(1));
    } else if (key == "redirect") {
      redirect(value);
    } else if (key == "respond") {
      respond(value);
    } else if (value.is(Node::Kind::table)) {
      read_timeouts(reader_, value, route_.timeout);
    } else if (const auto duration = reader_.duration(value, Millis(1))) {
      route_.timeout.response = *duration;
    }
  }

  void redirect(const Node& value) {
    std::vector<VariableUse> uses;
    route_.redirect = reader_.templated(value, uses);
    failed_ = failed_ || !route_.redirect;
    for (const VariableUse& use : uses) {
      const bool known =
          use.variable.argument.empty() && (use.variable.name == "host" || use.variable.name == "uri");
      if (!known)
        reader_.error(use.at,
                      fmt::format("'{{{}}}': a redirect knows {{host}} and {{uri}}", use.variable.name));
    }
    if (!route_.redirect) return;
    const std::string text = route_.redirect->text();
    const bool is_location =
        text.starts_with('/') || text.starts_with("http://") || text.starts_with("https://");
    if (!is_location)
      reader_.error(value.at, fmt::format("'{}': a redirect leads to http://…, https://… or /…", text));
    if (std::ranges::any_of(text, [](char c) { return (c >= 0 && c <= ' ') || c == 0x7f; }))
      reader_.error(value.at, "a redirect has no blanks and no control bytes");
  }

  void respond(const Node& value) {
    if (!reader_.table(value, "a table { status, body, type }")) return;
    Respond respond{.status = 200, .body = "", .type = "text/plain; charset=utf-8"};
    reader_.each_key(Section::respond, value, [&](std::string_view key, const Node& node) {
      if (key == "status") {
        respond.status = static_cast<int>(reader_.integer(node, 200, 599).value_or(200));
      } else if (key == "body") {
        respond.body = reader_.text(node).value_or("");
      } else if (const auto type = reader_.text(node)) {
        respond.type = *type;
        if (std::ranges::any_of(*type, [](char c) { return (c >= 0 && c < ' ') || c == 0x7f; }))
          reader_.error(node.at, "a type has no control bytes");
      }
    });
    const bool never_has_one = respond.status == 204 || respond.status == 205 || respond.status == 304;
    if (never_has_one && !respond.body.empty())
      reader_.error(value.at, fmt::format("an answer {} has no body", respond.status));
    route_.respond = std::move(respond);
  }

  const Reader& reader_;
  Route route_;
  Mark weight_at_;
  bool to_given_ = false;
  bool weight_given_ = false;
  bool failed_ = false;
  bool placed_ = true;
};

// Of one host and path: several apps by weight, or one rule.
void check_twins(const Reader& reader, const ListenerDraft& draft) {
  std::map<std::pair<std::string, std::string>, std::size_t> first;
  std::map<std::size_t, int> weights;
  const std::vector<Route>& routes = draft.listener.routes;
  for (std::size_t i = 0; i < routes.size(); ++i) {
    if (draft.routes_at[i] == Mark{}) continue;  // nobody knows where it should be
    const auto [known, fresh] = first.emplace(std::pair{routes[i].host, routes[i].path}, i);
    weights[known->second] += routes[i].weight;
    if (fresh || (!routes[i].app.empty() && !routes[known->second].app.empty())) continue;
    reader.error(draft.routes_at[i], fmt::format("a route of this host and path is already defined at {}",
                                                 reader.report().place(draft.routes_at[known->second])));
  }
  for (const auto& [route, weight] : weights)
    if (weight == 0) reader.error(draft.routes_at[route], "the weights of this host and path are all 0");
}

}  // namespace

void read_timeouts(const Reader& reader, const Node& node, ListenTimeouts& timeouts) {
  reader.each_key(Section::timeout, node, [&](std::string_view key, const Node& value) {
    const auto duration = reader.duration(value, Millis(1));
    if (!duration) return;
    if (key == "connect") timeouts.connect = *duration;
    if (key == "head") timeouts.head = *duration;
    if (key == "idle") timeouts.idle = *duration;
    if (key == "keepalive") timeouts.keepalive = *duration;
    if (key == "response") timeouts.response = *duration;
    if (key == "tunnel") timeouts.tunnel = *duration;
    if (key == "send") timeouts.send = *duration;
  });
}

void read_routes(const Reader& reader, const Node& node, ListenerDraft& draft) {
  if (!node.is(Node::Kind::list)) return reader.wrong_type(node, "a list of tables: [[listen.NAME.route]]");
  if (!reader.few_enough(node.items.size(), node.at, "routes")) return;
  for (const Node& item : node.items) {
    RouteReader route(reader, draft.listener.timeout);
    auto read = route.read(item);
    if (!read) continue;
    draft.listener.routes.push_back(std::move(*read));
    draft.routes_at.push_back(route.is_placed() ? item.at : Mark{});
    draft.routes_to_at.push_back(route.to_at);
  }
  check_twins(reader, draft);
}

}  // namespace muster::spec
