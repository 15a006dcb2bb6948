// PersistentState as text and back. Pure.
//
// Two lines of JSON: {"muster_state":1,"crc32":"<8 hex>","bytes":N} and the state, N bytes that the checksum
// is of. The first line is compared byte by byte with what it must be, so no flipped bit, cut or addition is
// read as a state.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "supervisor/persistent.h"

namespace muster::supervisor {

inline constexpr int state_version = 1;

std::string encode_state(const PersistentState& state);

// The error is a sentence without the file's name: "is damaged: the checksum does not match", "was written by a
// newer muster (version 2; this one knows 1)", "app 'web': 'revision' is not a number from 1 to 4294967295".
Result<PersistentState> decode_state(std::string_view text);

}  // namespace muster::supervisor
