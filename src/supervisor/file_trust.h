// Whose word root takes: a spec that somebody else may change is somebody else's word. As sshd(8) with StrictModes and
// sudo(8) with its files, the folders above count too, for who may write there can put another file in its place.
#pragma once

#include <optional>
#include <string>

#include "spec/load.h"

namespace muster::supervisor {

// "/srv/web is owned by dev (uid 1000), mode 0775"; none when root alone may change the file at this absolute path.
std::optional<std::string> changeable_by_others(const std::string& path);

// The first of the spec's files that others may change, as a sentence: its own and included ones, and env_files of apps
// that run as root.
std::optional<std::string> untrusted_file_of(const spec::Spec& spec);

// Reads like `read`, but follows no link that another user may have made.
spec::ReadFile without_planted_links(spec::ReadFile read);

}  // namespace muster::supervisor
