#include "sim/spec_builder.h"

#include <algorithm>

namespace muster::sim {

spec::App app(const std::string& name, int replicas) {
  spec::App result;
  result.name = name;
  result.replicas = replicas;
  result.restart.jitter = 0;
  set_run(result, "./" + name);
  return result;
}

spec::App port_app(const std::string& name, int replicas) {
  spec::App result = app(name, replicas);
  result.port.kind = spec::PortKind::automatic;
  result.health.tcp = true;
  return result;
}

spec::App numbered_app(const std::string& name, int replicas, std::uint16_t base) {
  spec::App result = port_app(name, replicas);
  result.port = spec::Port{.kind = spec::PortKind::numbered, .base = base};
  return result;
}

spec::Listener listener(const std::string& name, const std::string& to, std::uint16_t port) {
  spec::Listener result;
  result.name = name;
  result.app = to;
  result.bind.push_back(spec::BindAddress{.text = "127.0.0.1:" + std::to_string(port),
                                          .kind = spec::BindAddress::Kind::inet,
                                          .host = "127.0.0.1",
                                          .port = port,
                                          .path = {}});
  return result;
}

std::shared_ptr<const spec::Spec> spec_of(std::vector<spec::App> apps,
                                          std::vector<spec::Listener> listeners) {
  spec::Spec result;
  result.path = "/stack/muster.toml";
  result.folder = "/stack";
  std::ranges::sort(apps, {}, &spec::App::name);
  std::ranges::sort(listeners, {}, &spec::Listener::name);
  result.apps = std::move(apps);
  result.listeners = std::move(listeners);
  return std::make_shared<const spec::Spec>(std::move(result));
}

void set_run(spec::App& app, const std::string& text) {
  app.run = {spec::Template(text)};
}

void set_after(spec::App& app, const std::string& name, spec::AfterCondition condition) {
  app.after.push_back(spec::Dependency{.app = name, .condition = condition});
}

void set_volume(spec::App& app, const std::string& name) {
  app.volumes.push_back(spec::Volume{.key = name, .name = name, .mode = 0700, .path = std::nullopt});
}

}  // namespace muster::sim
