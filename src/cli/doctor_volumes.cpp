#include "cli/doctor_volumes.h"

#include <algorithm>

#include "supervisor/project_quota.h"

namespace muster::cli {

std::vector<VolumeFolder> volume_folders(const Context& context) {
  const auto paths = daemon_paths(context.arguments, context.around);
  if (!paths) return {};
  std::vector<std::string> folders{paths.value().state_dir + "/volumes"};
  const auto add = [&folders](const spec::App& app) {
    for (const spec::Volume& volume : app.volumes) {
      if (volume.path && std::ranges::find(folders, *volume.path) == folders.end())
        folders.push_back(*volume.path);
    }
  };
  if (const spec::Loaded loaded = load_as_its_daemon(context, paths.value()); loaded.spec) {
    for (const spec::App& app : loaded.spec->apps) add(app);
    for (const spec::Job& job : loaded.spec->jobs) add(job.task);
  }
  std::vector<VolumeFolder> all;
  for (std::string& folder : folders) {
    supervisor::SizeSupport support = supervisor::size_support(folder);
    all.push_back(
        {.path = std::move(folder), .enforced = support.enforced, .found = std::move(support.found)});
  }
  return all;
}

}  // namespace muster::cli
