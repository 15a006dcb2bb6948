// Users and groups, passwd(5) and group(5).
#pragma once

#include <sys/types.h>

#include <map>
#include <optional>
#include <string>

#include "base/time.h"
#include "supervisor/credential_cache.h"
#include "supervisor/launch.h"

namespace muster::supervisor {

struct Account {
  uid_t uid = 0;
  gid_t gid = 0;
  AccountInfo info;
};

std::optional<Account> find_account(const std::string& user);  // "" = the daemon's own
// find_account() for starts: what was found is kept for a minute, and only while the files behind it are what they were
// (see CredentialCache), so that a crash loop does not ask a slow user database each time.
class AccountCache {
 public:
  std::optional<Account> find(const std::string& user, Instant now);

 private:
  struct Entry {
    Account account;
    CredentialCache::Stamp stamp;
    Instant since;
  };
  std::map<std::string, Entry> entries_;
};

std::optional<gid_t> find_group(const std::string& group_name);

}  // namespace muster::supervisor
