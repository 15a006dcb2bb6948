// Claims on ports and addresses: of apps, of listeners, of the range for automatic ports.
#include <algorithm>
#include <array>
#include <map>

#include "fmt/core.h"
#include "spec/draft.h"

namespace muster::spec {

namespace {

struct Claim {
  int first;
  int last;
  std::string who;  // "app 'db'", for errors
  Mark at;
};

std::string range_text(const Claim& claim) {
  return claim.first == claim.last ? fmt::format("port {}", claim.first)
                                   : fmt::format("ports {}-{}", claim.first, claim.last);
}

class PortCheck {
 public:
  PortCheck(const Reader& reader, const Draft& draft) : reader_(reader), draft_(draft) {}

  void run() {
    for (const AppDraft& app : draft_.apps) {
      claim(app, app.app.port, fmt::format("app '{}'", app.app.name), app.port_at);
      for (std::size_t i = 0; i < app.app.ports.size(); ++i)
        claim(app, app.app.ports[i].port, fmt::format("app '{}' ({})", app.app.name, app.app.ports[i].name),
              app.ports_at[i].at);
    }
    overlaps();
    range();
    listeners();
  }

 private:
  void claim(const AppDraft& app, const Port& port, std::string who, Mark at) {
    if (port.kind != PortKind::numbered) return;
    const int first = port.base;
    const int last = first + std::max(app.app.replicas_max(), 1) - 1;
    if (last > 65535)
      return reader_.error(at, fmt::format("{} replicas from port {} on would need port {}",
                                           app.app.replicas_max(), first, last));
    claims_.push_back({first, last, std::move(who), at});
  }

  // Two claims that meet: reported at the one that comes later in the files.
  void conflict(const Claim& one, const Claim& other) {
    const bool one_first = one.at < other.at;
    const Claim& earlier = one_first ? one : other;
    const Claim& later = one_first ? other : one;
    reader_.error(later.at,
                  fmt::format("{} of {} and {} of {} at {} overlap", range_text(later), later.who,
                              range_text(earlier), earlier.who, reader_.report().place(earlier.at)));
  }

  // After sorting each claim need only be held against the one that reaches furthest so far.
  void overlaps() {
    std::ranges::stable_sort(claims_, {}, &Claim::first);
    const Claim* furthest = nullptr;
    for (const Claim& claim : claims_) {
      if (furthest != nullptr && claim.first <= furthest->last) conflict(*furthest, claim);
      if (furthest == nullptr || claim.last > furthest->last) furthest = &claim;
    }
  }

  // Only a range that somebody chose: out of the default one automatic ports just pass numbered ones over.
  void range() {
    const Daemon& daemon = draft_.daemon.daemon;
    const Mark at = draft_.daemon.port_range_at;
    if (at.line == 0) return;
    const std::string whose = fmt::format("daemon.port_range {}-{} at {}", daemon.port_range_first,
                                          daemon.port_range_last, reader_.report().place(at));
    for (const Claim& claim : claims_) {
      if (claim.last < daemon.port_range_first || claim.first > daemon.port_range_last) continue;
      reader_.error(claim.at, fmt::format("{} of {} and {} overlap", range_text(claim), claim.who, whose),
                    "automatic ports are taken from there");
    }
  }

  void listeners() {
    std::map<std::string, const ListenerDraft*> names;
    std::map<std::string, std::pair<const ListenerDraft*, Mark>> binds;
    for (const ListenerDraft& listener : draft_.listeners) {
      const auto [named, fresh] = names.emplace(listener.listener.name, &listener);
      if (!fresh) twice(fmt::format("listener '{}'", listener.listener.name), named->second->at, listener.at);
      for (std::size_t i = 0; i < listener.listener.bind.size(); ++i) {
        const BindAddress& bind = listener.listener.bind[i];
        const auto [bound, first] = binds.emplace(bind.text, std::pair{&listener, listener.bind_at[i]});
        if (!first) twice(bind.text, bound->second.second, listener.bind_at[i]);
        if (bind.kind == BindAddress::Kind::inet) held_by_app(bind, listener, listener.bind_at[i]);
      }
    }
  }

  void twice(const std::string& what, Mark one, Mark other) {
    reader_.error(std::max(one, other), fmt::format("{} is already defined at {}", what,
                                                    reader_.report().place(std::min(one, other))));
  }

  // Replicas listen on the loopback addresses, or on all.
  void held_by_app(const BindAddress& bind, const ListenerDraft& listener, Mark at) {
    constexpr std::array<std::string_view, 4> shared{"127.0.0.1", "0.0.0.0", "::1", "::"};
    if (std::ranges::find(shared, bind.host) == shared.end()) return;
    for (const Claim& claim : claims_)
      if (claim.first <= bind.port && bind.port <= claim.last)
        conflict(claim, {bind.port, bind.port, fmt::format("listener '{}'", listener.listener.name), at});
  }

  const Reader& reader_;
  const Draft& draft_;
  std::vector<Claim> claims_;
};

}  // namespace

void check_ports(const Reader& reader, const Draft& draft) {
  PortCheck(reader, draft).run();
}

}  // namespace muster::spec
