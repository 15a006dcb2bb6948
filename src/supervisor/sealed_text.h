// Text that is whole or refused: a first line with kind, version, checksum and length, then the text. The first line is
// compared byte by byte with what it must be, so no flipped bit, cut or addition passes. Pure.
//
// {"muster_state":1,"crc32":"<8 hex>","bytes":N}
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/result.h"

namespace muster::supervisor {

struct Seal {
  std::string_view kind;  // "muster_state"
  std::string_view what;  // for errors: "a state of muster"
  int version = 1;
  std::size_t bytes_max = 0;
};

std::string seal(const Seal& kind, std::string_view body);

// The body, a part of `text`. The error is a sentence without the file's name: "is damaged: the checksum does not
// match", "was written by a newer muster (version 2; this one knows 1)", or an older one.
Result<std::string_view> unseal(const Seal& kind, std::string_view text);

}  // namespace muster::supervisor
