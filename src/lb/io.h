// The system calls of the data path, each once and non-blocking, and the waits around them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "lb/buffer.h"
#include "lb/socket.h"
#include "lb/task.h"

namespace muster::lb {

// Bytes moved (receive: 0 = the peer has ended its side), or one of these.
inline constexpr std::ptrdiff_t io_blocked = -1;
inline constexpr std::ptrdiff_t io_failed = -2;

std::ptrdiff_t receive(const Socket& socket, std::span<char> into);
// `flags`: further ones of send(2); none of them on one that is encrypted.
std::ptrdiff_t send_some(const Socket& socket, std::string_view bytes, int flags = 0);
std::ptrdiff_t send_some(const Socket& socket, std::string_view first, std::string_view second,
                         int flags = 0);
// The same on the socket itself, encrypted or not.
std::ptrdiff_t receive_plain(const Socket& socket, std::span<char> into);
std::ptrdiff_t send_plain(const Socket& socket, std::string_view bytes, int flags = 0);

enum class Then : std::uint8_t {
  more,  // may follow
  end,   // of our side: where all goes at once, its end goes with it, in one segment
};
// Sends what goes at once; the rest is copied to `blocked` (flush it before anything else). False: the peer is gone.
bool send_or_keep(const Socket& socket, std::string_view first, std::string_view second, Buffer& blocked,
                  Then then = Then::more);

// Sends all of it; no step may wait longer than `limit`. The buffer's memory is given back. False: the peer is gone or
// takes nothing; what was not sent is left.
Task<bool> flush(Socket& socket, Buffer& bytes, Millis limit);

// Ends our side of the stream. One that is encrypted and cannot say so within `limit` is left without an end.
Task<> end_output(Socket& socket, Millis limit);

// Ends our side and reads for a moment what the peer still sends, so that it gets our last answer instead of a reset.
Task<> linger(Socket& socket, std::span<char> scratch);

}  // namespace muster::lb
