#include "health/verdict.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "health/outcome.h"

namespace muster::health {

namespace {
constexpr std::array rows{
    OutcomeRow{ProbeCode::ok, true, true, "ok"},
    OutcomeRow{ProbeCode::ok_wide, true, true, "ok-wide"},
    OutcomeRow{ProbeCode::refused, false, true, "refused"},
    OutcomeRow{ProbeCode::timeout, false, true, "timeout"},
    OutcomeRow{ProbeCode::closed, false, true, "closed"},
    OutcomeRow{ProbeCode::bad_status, false, true, "bad-status"},
    OutcomeRow{ProbeCode::bad_answer, false, true, "bad-answer"},
    OutcomeRow{ProbeCode::cmd_failed, false, true, "cmd-failed"},
    OutcomeRow{ProbeCode::cmd_error, false, true, "cmd-error"},
    OutcomeRow{ProbeCode::wrong_port, false, true, "wrong-port"},
    OutcomeRow{ProbeCode::foreign, false, true, "foreign"},
    OutcomeRow{ProbeCode::error, false, false, "error"},
};

constexpr int rise_after_fall = 2;
constexpr int coarse_share = 8;  // of the time since the start
constexpr int fine_share = 256;
constexpr Millis first_pause{5};
constexpr Millis first_pause_cmd{50};
constexpr Millis first_pause_fine{1};
constexpr Millis between_starters{1};  // between two probes of any of them
}  // namespace

const OutcomeRow& outcome_row(ProbeCode code) {
  const auto index = static_cast<std::size_t>(code);
  MUSTER_CHECK(index < rows.size() && rows.at(index).code == code);
  return rows.at(index);
}

Verdict::Verdict(const spec::HealthCheck& check, bool healthy)
    : fall_(check.fall), rise_(check.rise), healthy_(healthy) {}

Verdict::Change Verdict::record(bool success) {
  if (success) {
    failures_ = 0;
    ++successes_;
    const int needed = has_fallen_ ? std::max(rise_, rise_after_fall) : rise_;
    if (healthy_ || successes_ < needed) return Change::none;
    healthy_ = true;
    return Change::rose;
  }
  successes_ = 0;
  ++failures_;
  if (!healthy_ || failures_ < fall_) return Change::none;
  healthy_ = false;
  has_fallen_ = true;
  return Change::fell;
}

bool probed(const spec::HealthCheck& check) {
  return check.tcp || check.http || !check.cmd.empty();
}

Millis start_pause(const spec::HealthCheck& check, const StartProgress& progress) {
  const auto share = [&](int of) { return std::chrono::duration_cast<Millis>(progress.running_for / of); };
  const Millis coarse = std::max(share(coarse_share), check.cmd.empty() ? first_pause : first_pause_cmd);
  Millis pause = coarse;
  if (progress.refused && check.cmd.empty()) {
    const Millis fine =
        std::max(std::clamp(share(coarse_share), first_pause_fine, first_pause), share(fine_share));
    pause = std::min(coarse, std::max(fine, between_starters * progress.starting));
  }
  return std::min(pause, check.every);
}

}  // namespace muster::health
