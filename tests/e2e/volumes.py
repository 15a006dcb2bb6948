#!/usr/bin/env python3
"""Volumes: one tenant at a time, whoever started it."""
import contextlib
import os
import pathlib
import resource
import signal
import sys
import tempfile
import time

from lib import procs
from lib.expect import check, contains, equal, wait_for
from lib.scenario import main, scenario
from lib.stack import Stack

DB = """
[app.db]
run         = "sh -c 'setsid sleep 1111 & exec <REPLICA> $PORT'"
port        = <N0>
volume.data = {{ path = "{disk}" }}
stop        = {{ timeout = "2s" }}
"""


def resource_of(pid: int) -> int:
    return resource.prlimit(pid, resource.RLIMIT_NOFILE)[0]


@scenario
def a_volume_has_one_tenant() -> None:
    """Two daemons with different state folders and one `path`: the second waits until the first one's last process has
    ended, also when that first daemon was killed."""
    with tempfile.TemporaryDirectory(prefix="muster-e2e-disk-") as disk, Stack() as first, Stack() as second:
        for stack in (first, second):
            stack.write(DB.format(disk=disk))
        first.daemon()
        first.ready("db")
        tenant = first.pids()["db/0"]
        sleeper = wait_for("the tenant's stray", lambda: [pid for pid in procs.descendants(os.getpid())
                                                         if "1111" in procs.describe({pid})])[0]
        equal(sorted(os.listdir(disk)), [".0.lock", "0"], "the disk")
        equal(os.listdir(pathlib.Path(disk) / "0"), [], "what the app sees in its volume")
        limit = min(1024, resource_of(sleeper))
        equal(sorted(int(fd) for fd in os.listdir(f"/proc/{sleeper}/fd")), [0, 1, 2, limit - 1], "descriptors of a process with a volume")
        second.daemon()
        busy = f"volume data of db/0 is in use by pid {tenant} (e2e_replica)"
        row = second.in_state("db/0", "backoff")
        contains(row["reason"], busy, "the reason in ps")
        contains(second.run("why", "db/0").stdout, busy, "why")
        equal(row["restarts"], 0, "restarts of the one that waits")
        equal(len([e for e in second.events(app="db") if e["kind"] == "volume-busy"]), 1, "events about it")
        assert first.daemon_process is not None
        first.daemon_process.kill()
        first.daemon_process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.kill(tenant, signal.SIGKILL)
        check(procs.alive(sleeper), "the stray went with its daemon, nothing is proven")
        second.until("db/0", lambda row: f"in use by pid {sleeper} (sleep)" in (row["reason"] or ""), "names the stray")
        equal(second.pids(), {}, "processes of the second")
        begin = time.monotonic()
        os.kill(sleeper, signal.SIGKILL)
        second.ready("db")
        print(f"free to ready: {time.monotonic() - begin:.2f} s")


@scenario
def a_tenant_follows_at_once() -> None:
    """Restarts and crashes of our own never find the volume in use, whatever the last tenant left running."""
    with Stack() as stack:
        stack.write("""
[app.db]
run    = "sh -c 'setsid sleep 1111 & exec <REPLICA> $PORT'"
port   = <N0>
volume = "data"
stop   = { timeout = "1s" }
""")
        stack.daemon()
        stack.ready("db")
        for _ in range(5):
            stack.run("restart", "db")
        for _ in range(2):
            pid = stack.pids()["db/0"]
            os.kill(pid, signal.SIGKILL)
            stack.until("db/0", lambda row, pid=pid: row["state"] == "ready" and row["pid"] != pid, "started again")
        equal([e["reason"] for e in stack.events(app="db") if e["kind"] == "volume-busy"], [], "events of a busy volume")


if __name__ == "__main__":
    sys.exit(main())
