// muster's own log, to standard error. Thread-safe after open_own_log(); before it, lines go out plain.
#pragma once

#include <string_view>

#include "spec/spec.h"

namespace muster::supervisor {

enum class OwnLogStyle {
  journal,  // "<6>text": systemd reads the level from the prefix of each line (sd-daemon(3)) and has the time
  plain,    // "2026-01-01T00:00:00.000Z info text"
  terminal,  // "muster  text", the level as a word and in colour where it is not info
};

// journal when standard error is the journal ($JOURNAL_STREAM names its device and inode), terminal when it is a
// tty, else plain.
OwnLogStyle detect_own_log_style();

void open_own_log(OwnLogStyle style, spec::LogLevel level, bool colour);
void set_own_log_level(spec::LogLevel level);  // live

// Text of more than one line gets its prefix on each. Control bytes are escaped.
void own_log(spec::LogLevel level, std::string_view text);
inline void log_debug(std::string_view text) {
  own_log(spec::LogLevel::debug, text);
}
inline void log_info(std::string_view text) {
  own_log(spec::LogLevel::info, text);
}
inline void log_warn(std::string_view text) {
  own_log(spec::LogLevel::warn, text);
}
inline void log_error(std::string_view text) {
  own_log(spec::LogLevel::error, text);
}

}  // namespace muster::supervisor
