// Folders in places where others may write: walked one name at a time by descriptors, so that nobody can lead root
// elsewhere by a symbolic link, neither before the look nor after it.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace muster::supervisor {

// The folder of an absolute path, O_PATH; what is missing is made with `mode` (before the umask). As root a link is
// followed only where nobody but root can have made it: it is root's, and so is its folder, in which no other may write
// or (sticky) move it. Who is not root can do no more by it than whoever made the link.
Result<Fd> open_or_make_folder(const std::string& path, mode_t mode);

// The file at an absolute path, O_PATH, found by the same rule; nothing is made. ELOOP: another user may have made a
// link on the way.
Result<Fd> find_file(const std::string& path);

// A folder that was just made and that nobody has put anything into, or something else in its place.
bool is_untouched_folder(int folder);

}  // namespace muster::supervisor
