#include "supervisor/credential_cache.h"

#include <sys/stat.h>

#include <cstddef>

namespace muster::supervisor {

namespace {
constexpr std::int64_t ns_per_s = 1'000'000'000;
}  // namespace

CredentialCache::Stamp CredentialCache::stamp() {
  constexpr std::array files{"/etc/passwd", "/etc/group", "/etc/nsswitch.conf"};
  Stamp stamp;
  for (std::size_t i = 0; i < files.size(); ++i) {
    struct stat file {};
    if (stat(files[i], &file) != 0) continue;  // one that is missing may also come
    stamp[i] = {.device = file.st_dev,
                .inode = file.st_ino,
                .size = file.st_size,
                .changed_ns = file.st_ctim.tv_sec * ns_per_s + file.st_ctim.tv_nsec};
  }
  return stamp;
}

void CredentialCache::keep(const std::string& user, const std::string& group, Credentials found,
                           const Stamp& stamp, Instant now) {
  std::erase_if(entries_, [now](const auto& entry) { return now - entry.second.since >= kept_for; });
  entries_[{user, group}] = Entry{.credentials = std::move(found), .stamp = stamp, .since = now};
}

std::optional<Credentials> CredentialCache::find(const std::string& user, const std::string& group,
                                                 const Stamp& stamp, Instant now) const {
  const auto known = entries_.find({user, group});
  if (known == entries_.end()) return std::nullopt;
  const Entry& entry = known->second;
  if (entry.stamp != stamp || now - entry.since >= kept_for) return std::nullopt;
  return entry.credentials;
}

}  // namespace muster::supervisor
