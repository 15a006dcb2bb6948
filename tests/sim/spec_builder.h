// Specs as values, without a file: what the tests of the planner start from.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "spec/spec.h"

namespace muster::sim {

// An app with one line of `run`; alive for 1 s means ready. The tests change the fields that they are about.
spec::App app(const std::string& name, int replicas = 1);
// … with an automatic port, probed by tcp.
spec::App port_app(const std::string& name, int replicas = 1);
// … with a numbered port: one process an ordinal.
spec::App numbered_app(const std::string& name, int replicas, std::uint16_t base);

spec::Listener listener(const std::string& name, const std::string& to, std::uint16_t port = 8080);

std::shared_ptr<const spec::Spec> spec_of(std::vector<spec::App> apps,
                                          std::vector<spec::Listener> listeners = {});

void set_run(spec::App& app, const std::string& text);  // a new revision
void set_after(spec::App& app, const std::string& name,
               spec::AfterCondition condition = spec::AfterCondition::ready);
void set_volume(spec::App& app, const std::string& name);

}  // namespace muster::sim
