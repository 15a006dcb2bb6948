// What a spec would change, as a value: per app what and why, field by field, which processes start and end, how few
// are ready meanwhile, how long it takes. Made of the planner itself (rehearsal.h). Pure.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "spec/fields.h"
#include "supervisor/drift.h"
#include "supervisor/planner.h"

namespace muster::supervisor {

struct PlannedReplica {
  enum class What { start, replace, stop };
  ReplicaId replica;
  What what = What::start;
  std::optional<Revision> from;  // none: nothing ran
  std::optional<Revision> to;    // none: nothing runs
  Nanos at{0};                   // when it begins, about
  std::string why;
};

enum class PlannedChange { none, added, changed, removed };

struct PlannedApp {
  std::string name;
  PlannedChange change = PlannedChange::none;
  std::vector<spec::FieldChange> fields;  // secrets as they are: mask what is shown
  std::optional<Revision> revision;       // in force now
  Revision next_revision{};               // in force then
  std::string strategy;                   // "rolling, surge 1, unavailable 1"; empty: no rollout
  std::vector<PlannedReplica> replicas;   // in the order of their turns
  int wanted = 0;                         // replicas, then
  int ready = 0;                          // now
  int ready_min = 0;                      // on the way
  Nanos takes{0};                         // until all is settled, about
  std::string hold;
  std::string failure;  // why what the file says is not in force
};

struct PlannedListener {
  std::string name;
  PlannedChange change = PlannedChange::none;
  std::vector<spec::FieldChange> fields;
};

struct PlannedJob {
  std::string name;
  PlannedChange change = PlannedChange::none;
  std::vector<spec::FieldChange> fields;
  std::vector<std::string> runs;  // why each begins: "before revision 2 of web"
};

struct Plan {
  std::string id;
  std::string spec_path;
  std::uint32_t spec_revision = 0;  // in force now
  std::vector<PlannedApp> apps;     // those there is something to say of
  std::vector<PlannedJob> jobs;
  std::vector<PlannedListener> listeners;
  std::vector<spec::FieldChange> daemon;
  std::vector<Drift> drift;
  bool whole = true;  // false: the course was too long to be looked at to its end

  // There is something to do, or something of the file cannot be done.
  [[nodiscard]] bool changes() const;
};

// Names what would be applied to what: the same file against the same revisions and holds has the same id.
std::string plan_id(const World& world, const spec::Spec& spec);

Plan make_plan(const Planner& planner, const std::shared_ptr<const spec::Spec>& spec, Now now,
               std::vector<Drift> drift);

// "2 to start, 4 to replace, 1 to stop"; "nothing to do".
std::string plan_summary(const Plan& plan);

// The body of GET /v1/plan. Values of secret names are masked.
std::string plan_json(const Plan& plan);

}  // namespace muster::supervisor
