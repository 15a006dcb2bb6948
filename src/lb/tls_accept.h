// The server's part of a TLS handshake, at the beginning of a client's connection.
#pragma once

#include "lb/task.h"
#include "lb/tls_session.h"
#include "lb/worker.h"

namespace muster::lb {

// For a listener with `tls`; timeout.head is for all of it. After `done` the client's socket is encrypted, after all
// others it is not: with `plain_http` and `failed` the client may still hear why, with the rest there is nobody.
Task<TlsSession::Step> accept_tls(Worker& worker, Client& client, Ref<Frontend> frontend);

}  // namespace muster::lb
