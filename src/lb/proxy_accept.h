// The PROXY protocol of a listener, at the beginning of a client's connection and of those to replicas.
#pragma once

#include "lb/task.h"
#include "lb/worker.h"

namespace muster::lb {

// For a listener with `proxy_protocol`, before anything else is read. `in`: takes the header off the stream, exactly,
// within timeout.head, and sets the client's address. `out`: sets its proxy_header. False: the connection is over,
// without an answer.
Task<bool> begin_proxied(Client& client, Ref<Frontend> frontend);

}  // namespace muster::lb
