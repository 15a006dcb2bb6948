// Project quotas of a file system (ext4 and xfs with `prjquota`): a limit for everything that bears a project's number,
// which files take over from the folder that they are made in. See quotactl(2), FS_IOC_FSSETXATTR in ioctl_xfs(2).
#pragma once

#include <cstdint>
#include <set>
#include <string>

#include "base/result.h"

namespace muster::supervisor {

struct ProjectUse {
  std::uint64_t used_bytes = 0;
  std::uint64_t limit_bytes = 0;  // 0: none
  std::uint64_t files = 0;
};

// The kernel's part. `folder` is any descriptor on the file system, O_PATH too unless it says otherwise.
class ProjectQuota {
 public:
  virtual ~ProjectQuota() = default;
  // "" where limits are enforced, else why not: "ext4 without project quota".
  virtual std::string missing(int folder) = 0;
  virtual Result<ProjectUse> use(int folder, std::uint32_t project) = 0;
  virtual Status limit(int folder, std::uint32_t project, std::uint64_t bytes) = 0;  // 0: none
  // Of a file or folder itself; the descriptor must be open for reading.
  virtual Result<std::uint32_t> project_of(int file) = 0;
  virtual Status assign(int file, bool is_folder, std::uint32_t project) = 0;
  // Numbers that the host's own files (projects(5), projid(5)) speak of.
  virtual std::set<std::uint32_t> reserved() = 0;

 protected:
  ProjectQuota() = default;
  ProjectQuota(const ProjectQuota&) = default;
  ProjectQuota& operator=(const ProjectQuota&) = default;
};

ProjectQuota& kernel_project_quota();

// The numbers in a file as projects(5) ("10:/export") or projid(5) ("logs:10") has them. Pure.
std::set<std::uint32_t> project_numbers(std::string_view text);

// Whether volumes below `path` can be held to a size; its nearest folder that exists is asked.
struct SizeSupport {
  bool enforced = false;
  std::string found;  // "ext4 with project quota", "ext4 without project quota"
};
SizeSupport size_support(const std::string& path);

}  // namespace muster::supervisor
