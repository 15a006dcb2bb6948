// The text of a schedule: five fields as in crontab(5), or one of its short forms. Pure.
#pragma once

#include <string_view>

#include "spec/cron.h"
#include "spec/literals.h"

namespace muster::spec {

// "30 2 * * mon-fri", "*/15 8-18 * * *", "@daily".
Parsed<Cron> parse_cron(std::string_view text);

}  // namespace muster::spec
