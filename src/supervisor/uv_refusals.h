// Where libuv ends the process because the kernel refuses a descriptor, a thread or memory for a moment.
#pragma once

#include <uv.h>

#include "base/result.h"

namespace muster::supervisor {

// Opens the loop, while nothing runs yet that could be lost: what libuv aborts on later without a word is an error here,
// or ends the process with a sentence and exit code 1.
Status open_loop(uv_loop_t* loop);
// The same for the threads of libuv's pool. It waits until they run.
Status start_pool(uv_loop_t* loop);

// epoll_ctl(2) of this loop, which libuv takes for a thing that cannot fail: ENOMEM and ENOSPC
// (fs.epoll.max_user_watches) are waited out for a few seconds. Of one loop for each process, once open_loop made it.

}  // namespace muster::supervisor
