// What the rules of an app are by the file, whatever the planner was told and made of it: own arithmetic, so that a
// mistake in the planner's is seen.
#pragma once

#include <string>

#include "simulator/fake_host.h"

namespace muster::sim {

// None: the file has no such app (any more).
const spec::App* true_app(const FakeHost& host, const std::string& name);

int surge_of(const spec::Update& update, int replicas);
int unavailable_of(const spec::Update& update, int replicas, bool one_by_one);
// After `failures` unasked ends in a row, without jitter.
Nanos pause_of(const spec::Restart& restart, int failures);

bool fit(const Tenant& tenant);  // ready, or drained by hand
bool wanted_by_hand_and_file(const AppWorld& app, const Slot& slot);

struct Found {
  const AppWorld* app = nullptr;
  const Slot* slot = nullptr;
  const Tenant* tenant = nullptr;  // null: there is none of that id
};
Found find_tenant(const World& world, InstanceId id);

}  // namespace muster::sim
