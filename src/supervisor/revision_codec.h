// What a revision needs to be run again, as JSON and back: all that a process is born with, and how its readiness is
// told. How many run and what restarts them is the file's and is not kept. Holds secrets of environments: for the state
// file only. Pure.
#pragma once

#include <boost/json.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "spec/spec.h"

namespace muster::supervisor {

boost::json::object settings_to_json(const spec::App& app);

// The app with all other keys at their defaults. The error is half a sentence: "'umask' is not a number".
Result<spec::App> settings_from_json(const std::string& name, const boost::json::value& value);

// The keys in which two revisions differ, as the spec calls them; never their values.
std::vector<std::string> changed_keys(const spec::App& before, const spec::App& after);

// An earlier revision under the rules of today's file: what is born with the process and its checks are the earlier
// one's, the rest is the file's.
spec::App with_settings_of(const spec::App& file, const spec::App& earlier);

}  // namespace muster::supervisor
