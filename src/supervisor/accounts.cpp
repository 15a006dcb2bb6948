#include "supervisor/accounts.h"

#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

namespace muster::supervisor {

namespace {
constexpr std::size_t entry_bytes_max = 1U << 20U;

// getpwnam_r and its like want a buffer that is large enough, and say ERANGE until it is.
template <typename Entry, typename Ask>
std::optional<Entry> ask(std::vector<char>& buffer, Ask question) {
  for (buffer.resize(4096); buffer.size() <= entry_bytes_max; buffer.resize(buffer.size() * 4)) {
    Entry entry{};
    Entry* found = nullptr;
    const int error_number = question(&entry, buffer.data(), buffer.size(), &found);
    if (error_number == ERANGE) continue;
    if (found == nullptr) return std::nullopt;
    return entry;
  }
  return std::nullopt;
}
}  // namespace

std::optional<Account> find_account(const std::string& user) {
  std::vector<char> buffer;
  const auto entry = ask<passwd>(buffer, [&](passwd* into, char* bytes, std::size_t size, passwd** found) {
    return user.empty() ? getpwuid_r(geteuid(), into, bytes, size, found)
                        : getpwnam_r(user.c_str(), into, bytes, size, found);
  });
  if (!entry) {
    if (!user.empty()) return std::nullopt;
    // A uid without an entry, as in a bare container.
    return Account{.uid = geteuid(), .gid = getegid(), .info = {}};
  }
  return Account{.uid = entry->pw_uid,
                 .gid = entry->pw_gid,
                 .info = {.name = entry->pw_name, .home = entry->pw_dir, .shell = entry->pw_shell}};
}

std::optional<Account> AccountCache::find(const std::string& user, Instant now) {
  const CredentialCache::Stamp stamp = CredentialCache::stamp();
  const auto known = entries_.find(user);
  if (known != entries_.end() && known->second.stamp == stamp &&
      now - known->second.since < CredentialCache::kept_for)
    return known->second.account;
  std::optional<Account> found = find_account(user);
  if (found) entries_[user] = Entry{.account = *found, .stamp = stamp, .since = now};
  return found;
}

std::optional<gid_t> find_group(const std::string& group_name) {
  std::vector<char> buffer;
  const auto entry = ask<group>(buffer, [&](group* into, char* bytes, std::size_t size, group** found) {
    return getgrnam_r(group_name.c_str(), into, bytes, size, found);
  });
  if (!entry) return std::nullopt;
  return entry->gr_gid;
}

}  // namespace muster::supervisor
