#include "supervisor/volume_size.h"

#include "fmt/core.h"

namespace muster::supervisor {

std::optional<std::uint32_t> free_project(ProjectQuota& quota, int folder,
                                          const std::function<bool(std::uint32_t)>& taken) {
  const std::set<std::uint32_t> reserved = quota.reserved();
  for (int tried = 0; tried < project_tries_max; ++tried) {
    const std::uint32_t number = project_first + static_cast<std::uint32_t>(tried);
    if (reserved.contains(number) || (taken && taken(number))) continue;
    const auto use = quota.use(folder, number);
    if (!use) return std::nullopt;
    if (use.value().files == 0 && use.value().used_bytes == 0 && use.value().limit_bytes == 0) return number;
  }
  return std::nullopt;
}

namespace {

SizeAnswer not_enforced(std::uint32_t project, std::string why) {
  return {.enforced = false, .why_not = std::move(why), .project = project};
}

// Whoever may pass over quotas: ext4 lets CAP_SYS_RESOURCE do so.
constexpr const char* root_passes = "root passes over quotas";

}  // namespace

SizeAnswer hold_to_size(ProjectQuota& quota, const SizeQuestion& question) {
  if (!question.size) {
    if (question.project != 0 && quota.missing(question.folder).empty())
      static_cast<void>(quota.limit(question.folder, question.project, 0));
    return {.project = question.project};
  }
  if (std::string missing = quota.missing(question.folder); !missing.empty())
    return not_enforced(question.project, std::move(missing));
  const auto current = quota.project_of(question.folder);
  if (!current) return not_enforced(question.project, current.error().message);
  if (current.value() != 0 && current.value() != question.project)
    return not_enforced(question.project,
                        fmt::format("it is of project {}, which is not muster's", current.value()));
  std::uint32_t project = question.project;
  if (project == 0) {
    const auto free = free_project(quota, question.folder, question.taken);
    if (!free) return not_enforced(0, "no number of a project is free");
    project = *free;
  }
  if (const Status limited = quota.limit(question.folder, project, *question.size); !limited)
    return not_enforced(question.project, limited.error().message);
  SizeAnswer answer{.enforced = question.uid != 0,
                    .why_not = question.uid != 0 ? "" : root_passes,
                    .project = project,
                    .assign_files = current.value() != project};
  return answer;
}

}  // namespace muster::supervisor
