#include "supervisor/name_service.h"

#include <grp.h>
#include <pwd.h>

#include <cerrno>
#include <string>
#include <vector>

#include "supervisor/proc_files.h"

namespace muster::supervisor {
namespace {

constexpr std::size_t name_service_bytes_max = 1U << 20U;
constexpr std::size_t groups_max = 1U << 16U;  // NGROUPS_MAX

using Failed = std::optional<ShimFailure>;

// getpwnam_r(3) and its kin: 0 with no entry is "no such user"; their buffer grows until the entry fits.
template <typename Entry, typename Call>
int look_up(Entry& entry, std::vector<char>& buffer, bool& found, Call call) {
  for (buffer.resize(4096);; buffer.resize(buffer.size() * 2)) {
    Entry* result = nullptr;
    const int error = call(&entry, buffer.data(), buffer.size(), &result);
    if (error == ERANGE && buffer.size() < name_service_bytes_max) continue;
    found = error == 0 && result != nullptr;
    const bool absent = error == 0 || error == ENOENT || error == ESRCH || error == EBADF || error == EPERM;
    return absent ? 0 : error;
  }
}

// user: as getgrouplist(3) wants it.
Failed look_up_user(const std::string& name, Credentials& ids, std::string& user) {
  passwd entry{};
  std::vector<char> buffer;
  bool found = false;
  int error =
      look_up(entry, buffer, found, [&](passwd* into, char* bytes, std::size_t size, passwd** result) {
        return getpwnam_r(name.c_str(), into, bytes, size, result);
      });
  if (const auto number = parse_number(name); !found && error == 0 && number && *number < 0xffffffffU) {
    error = look_up(entry, buffer, found, [&](passwd* into, char* bytes, std::size_t size, passwd** result) {
      return getpwuid_r(static_cast<uid_t>(*number), into, bytes, size, result);
    });
  }
  if (!found) return ShimFailure{ShimStep::user, error};
  ids.uid = entry.pw_uid;
  ids.gid = entry.pw_gid;
  user = entry.pw_name;
  return std::nullopt;
}

Failed look_up_group(const std::string& name, Credentials& ids) {
  group entry{};
  std::vector<char> buffer;
  bool found = false;
  const int error =
      look_up(entry, buffer, found, [&](group* into, char* bytes, std::size_t size, group** result) {
        return getgrnam_r(name.c_str(), into, bytes, size, result);
      });
  if (found) {
    ids.gid = entry.gr_gid;
    return std::nullopt;
  }
  const auto number = parse_number(name);
  if (error != 0 || !number || *number >= 0xffffffffU) return ShimFailure{ShimStep::group, error};
  ids.gid = static_cast<gid_t>(*number);  // a group may be used without having a name
  return std::nullopt;
}

// Like initgroups(3), which does not tell.
bool look_up_groups(const std::string& user, Credentials& ids) {
  const gid_t main_group = ids.gid.value_or(0);
  for (std::size_t room = 64; room <= groups_max; room *= 4) {
    auto count = static_cast<int>(room);
    ids.groups.resize(room);
    const bool fits = getgrouplist(user.c_str(), main_group, ids.groups.data(), &count) >= 0;
    if (!fits) continue;
    ids.groups.resize(static_cast<std::size_t>(count));
    return true;
  }
  errno = EINVAL;
  return false;
}

}  // namespace

std::optional<ShimFailure> look_up_credentials(const std::string& user, const std::string& group,
                                               Credentials& found) {
  std::string name;
  if (!user.empty()) {
    if (const Failed no = look_up_user(user, found, name)) return no;
  }
  if (!group.empty()) {
    if (const Failed no = look_up_group(group, found)) return no;
  }
  if (found.uid && !look_up_groups(name, found)) return ShimFailure{ShimStep::groups, errno};
  return std::nullopt;
}

}  // namespace muster::supervisor
