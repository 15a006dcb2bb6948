#include "supervisor/project_quota.h"

#include <fcntl.h>
#include <linux/dqblk_xfs.h>
#include <linux/fs.h>
#include <linux/quota.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <utility>

#include "base/fd.h"
#include "fmt/core.h"
#include "supervisor/proc_scan.h"

namespace muster::supervisor {
namespace {

// <sys/quota.h> of glibc 2.36 has no project quotas and cannot stand beside <linux/quota.h>; both say the same of this.
constexpr int command(unsigned int what) {
  return static_cast<int>((what << 8U) | PRJQUOTA);
}

long ask(int folder, int what, std::uint32_t project, void* about) {
  return ::syscall(SYS_quotactl_fd, folder, what, project, about);
}

std::string file_system(int folder) {
  struct statfs info {};
  if (::fstatfs(folder, &info) != 0) return "the file system";
  constexpr std::array<std::pair<unsigned long, const char*>, 10> names{{{0xEF53UL, "ext4"},
                                                                         {0x58465342UL, "xfs"},
                                                                         {0x9123683EUL, "btrfs"},
                                                                         {0x01021994UL, "tmpfs"},
                                                                         {0x794c7630UL, "overlayfs"},
                                                                         {0x6969UL, "nfs"},
                                                                         {0x2FC12FC1UL, "zfs"},
                                                                         {0xF2F52010UL, "f2fs"},
                                                                         {0x65735546UL, "fuse"},
                                                                         {0x01021997UL, "9p"}}};
  for (const auto& [magic, name] : names) {
    if (static_cast<unsigned long>(info.f_type) == magic) return name;
  }
  return "a file system";
}

class KernelProjectQuota final : public ProjectQuota {
 public:
  std::string missing(int folder) override {
    fs_quota_stat state{};
    if (ask(folder, command(Q_XGETQSTAT), 0, &state) != 0) {
      if (errno == EPERM) return "only root may look at quotas";
      return file_system(folder) + " without project quota";
    }
    if ((state.qs_flags & FS_QUOTA_PDQ_ENFD) == 0) return file_system(folder) + " without project quota";
    return "";
  }

  Result<ProjectUse> use(int folder, std::uint32_t project) override {
    if_dqblk found{};
    if (ask(folder, command(Q_GETQUOTA), project, &found) != 0) {
      if (errno == ENOENT || errno == ESRCH) return ProjectUse{};  // xfs: nobody has asked for that number
      return system_error("Q_GETQUOTA", errno);
    }
    return ProjectUse{.used_bytes = found.dqb_curspace,
                      .limit_bytes = found.dqb_bhardlimit * QIF_DQBLKSIZE,
                      .files = found.dqb_curinodes};
  }

  Status limit(int folder, std::uint32_t project, std::uint64_t bytes) override {
    if_dqblk wanted{};
    wanted.dqb_bhardlimit = bytes / QIF_DQBLKSIZE + (bytes % QIF_DQBLKSIZE != 0 ? 1 : 0);
    wanted.dqb_valid = QIF_BLIMITS;
    if (ask(folder, command(Q_SETQUOTA), project, &wanted) != 0) return system_error("Q_SETQUOTA", errno);
    return Unit{};
  }

  Result<std::uint32_t> project_of(int file) override {
    fsxattr attributes{};
    if (::ioctl(file, FS_IOC_FSGETXATTR, &attributes) != 0) return system_error("FS_IOC_FSGETXATTR", errno);
    return attributes.fsx_projid;
  }

  Status assign(int file, bool is_folder, std::uint32_t project) override {
    fsxattr attributes{};
    if (::ioctl(file, FS_IOC_FSGETXATTR, &attributes) != 0) return system_error("FS_IOC_FSGETXATTR", errno);
    attributes.fsx_projid = project;
    if (is_folder) attributes.fsx_xflags |= FS_XFLAG_PROJINHERIT;
    if (::ioctl(file, FS_IOC_FSSETXATTR, &attributes) != 0) return system_error("FS_IOC_FSSETXATTR", errno);
    return Unit{};
  }

  std::set<std::uint32_t> reserved() override {
    std::set<std::uint32_t> all;
    for (const char* const path : {"/etc/projects", "/etc/projid"}) {
      if (const auto text = read_small_file(path)) all.merge(project_numbers(text.value()));
    }
    return all;
  }
};

}  // namespace

ProjectQuota& kernel_project_quota() {
  static KernelProjectQuota quota;
  return quota;
}

std::set<std::uint32_t> project_numbers(std::string_view text) {
  std::set<std::uint32_t> all;
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos || line.front() == '#') continue;
    for (const std::string_view part : {line.substr(0, colon), line.substr(colon + 1)}) {
      std::uint32_t number = 0;
      const auto [end, problem] = std::from_chars(part.data(), part.data() + part.size(), number);
      if (problem == std::errc{} && end == part.data() + part.size()) all.insert(number);
    }
  }
  return all;
}

SizeSupport size_support(const std::string& path) {
  std::string at = path;
  for (;;) {
    const Fd folder(::open(at.empty() ? "/" : at.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (folder) {
      const std::string missing = kernel_project_quota().missing(folder.get());
      if (!missing.empty()) return {.enforced = false, .found = missing};
      return {.enforced = true, .found = file_system(folder.get()) + " with project quota"};
    }
    if (at.empty()) return {.enforced = false, .found = errno_text(errno)};
    at.erase(at.find_last_of('/') == std::string::npos ? 0 : at.find_last_of('/'));
  }
}

}  // namespace muster::supervisor
