// The two clocks. Decisions use Instant and get it as an argument; only shells read a clock.
#pragma once

#include <chrono>

namespace muster {

using Nanos = std::chrono::nanoseconds;
using Millis = std::chrono::milliseconds;
using Instant = std::chrono::steady_clock::time_point;   // CLOCK_MONOTONIC: deadlines, ages, backoff
using WallTime = std::chrono::system_clock::time_point;  // CLOCK_REALTIME: only to be shown to people

}  // namespace muster
