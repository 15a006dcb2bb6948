// Who is at the other end of a unix socket.
#pragma once

namespace muster {

// Whether who listens at `path`, to which `connected` leads, is the owner of the path's folder, or the folder is root's.
// The folder of a replica's socket belongs to its user, who could put a link there to the socket of a mightier daemon,
// and have muster ask that in muster's name.
[[nodiscard]] bool is_of_folder_owner(int connected, const char* path);

}  // namespace muster
