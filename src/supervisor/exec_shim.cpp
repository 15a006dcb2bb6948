#include "supervisor/exec_shim.h"

#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <string>

#include "supervisor/name_service.h"
#include "supervisor/proc_files.h"
#include "supervisor/shim_order.h"
#include "supervisor/shim_steps.h"

namespace muster::supervisor {
namespace {

std::string text_at(const ShimImage& image, std::uint32_t offset) {
  return offset == 0 ? std::string() : std::string(reinterpret_cast<const char*>(&image) + offset);
}

// Asks the name services and tells the daemon what they said.
Credentials look_up(ShimImage& image) {
  Credentials found;
  const auto failure = look_up_credentials(text_at(image, image.user), text_at(image, image.group), found);
  if (failure) fail_shim(image, failure->step, failure->error);
  image.has_uid = found.uid ? 1 : 0;
  image.uid = found.uid.value_or(0);
  image.has_gid = found.gid ? 1 : 0;
  image.gid = found.gid.value_or(0);
  if (found.groups.size() <= reported_groups_max) {
    const std::string report = encode(found);
    while (write(image.report_fd, report.data(), report.size()) < 0 && errno == EINTR) {
    }
  }
  return found;
}

}  // namespace

int exec_shim_main(int argc, char** argv) {
  // "exe", the name of /proc/self/exe, would puzzle whoever sees a start that hangs.
  prctl(PR_SET_NAME, "muster-shim");
  const auto fd = argc >= 3 ? parse_number(argv[2]) : std::nullopt;
  if (!fd || std::strcmp(argv[1], exec_shim_flag) != 0) return exit_of_failed_shim;
  ShimImage* const image = map_shim_image(static_cast<int>(*fd));
  // Without an order there is no pipe to say so; the daemon sees a helper that ended without a word.
  if (image == nullptr) return exit_of_failed_shim;
  const bool named = image->user != 0 || image->group != 0;
  if (named && image->has_credentials == 0) {
    const Credentials found = look_up(*image);
    carry_out(*image, found.groups.data(), static_cast<std::uint32_t>(found.groups.size()));
  }
  const auto* const groups = groups_of(*image);
  carry_out(*image, groups, image->group_count);
}

}  // namespace muster::supervisor
