// Users and groups, passwd(5) and group(5).
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "supervisor/launch.h"

namespace muster::supervisor {

struct Account {
  uid_t uid = 0;
  gid_t gid = 0;
  AccountInfo info;
};

std::optional<Account> find_account(const std::string& user);  // "" = the daemon's own
std::optional<gid_t> find_group(const std::string& group);

}  // namespace muster::supervisor
