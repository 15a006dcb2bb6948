#!/usr/bin/env python3
"""What changes under the daemon's hands is mended or shown within a second, with one event, and left alone then."""
import json
import os
import pathlib
import resource
import shutil
import signal
import socket
import sys
import typing

from lib.expect import check, contains, equal, wait_for
from lib.http import get
from lib.procs import alive, kill_quietly
from lib.scenario import main, scenario
from lib.stack import Stack

SPEC = """
[app.web]
run      = "<DIR>/bin/app {port}"
replicas = 2
listen   = ["127.0.0.1:<L0>", "unix:<DIR>/front.sock"]
health   = { http = "/healthz", every = "200ms" }
limits   = { files = 200 }
env      = { MODE = "fast" }

[app.db]
run      = "<REPLICA> {port}"
port     = <N0>
volume   = "data"
"""


class Watch:
    """Events since a moment: what came of one change, and that nothing comes twice."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.seen = len(stack.events())

    def one(self, kind: str, words: str | list[str]) -> None:
        found = wait_for(f"an event {kind}", lambda: [e for e in self.new() if e["kind"] == kind], seconds=5)
        contains(found[0]["text"], words, f"the event {kind}")

    def new(self) -> list[dict]:
        return self.stack.events()[self.seen:]

    def no_more(self, kind: str) -> None:
        """Also after everybody has looked again."""
        self.stack.run("plan", code=None)
        self.stack.ps()
        equal(len([e for e in self.new() if e["kind"] == kind]), 1, f"events {kind}")


def stack_of(stack: Stack) -> None:
    (stack.folder / "bin").mkdir()
    shutil.copy(stack.replica, stack.folder / "bin" / "app")
    stack.write(SPEC)
    stack.daemon()
    stack.ready()


def fast(what: str, probe: typing.Callable[[], object]) -> None:
    wait_for(what, probe, seconds=5)


def warned(stack: Stack, ident: str, words: str) -> bool:
    return any(words in text for text in stack.one(ident)["warnings"])


@scenario
def processes_that_drift() -> None:
    """Killed, asked to end, frozen, without its limits, with another program on disk, out of its cgroup."""
    with Stack() as stack:
        stack_of(stack)
        # killed by somebody
        watch, pid = Watch(stack), stack.pids()["web/0"]
        os.kill(pid, signal.SIGKILL)
        fast("web/0 is back", lambda: stack.pids().get("web/0") not in (None, pid) and stack.app("web")["ready"] == 2)
        watch.one("exited", "killed by SIGKILL")
        watch.no_more("exited")
        # asked to end by somebody: an end that muster did not want
        watch, pid = Watch(stack), stack.pids()["db/0"]
        os.kill(pid, signal.SIGTERM)
        fast("db/0 is back", lambda: stack.pids().get("db/0") not in (None, pid) and stack.app("db")["ready"] == 1)
        watch.one("exited", "SIGTERM")
        watch.no_more("exited")
        # frozen: out of rotation at once, shown, not restarted
        watch, pid = Watch(stack), stack.pids()["web/1"]
        os.kill(pid, signal.SIGSTOP)
        stack.until("web/1", lambda row: row["state"] == "unready" and "stopped by SIGSTOP" in row["reason"], "unready, frozen")
        watch.one("frozen", ["SIGSTOP", "muster did not send"])
        for _ in range(6):
            equal(get(stack.ports.listen(0)).replica, "web/0", "who answers beside a frozen one")
        watch.no_more("frozen")
        os.kill(pid, signal.SIGCONT)
        stack.in_state("web/1", "ready")
        equal(stack.pids()["web/1"], pid, "the pid after SIGCONT")
        # limits
        watch = Watch(stack)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (100, 100))
        fast("the limit is shown", lambda: warned(stack, "web/1", "limits.files is 100 now, declared is 200"))
        watch.one("drift", "limits.files")
        contains(stack.run("plan").stdout, ["! web/1: limits.files is 100 now"], "plan")
        watch.no_more("drift")
        # the program is replaced on disk; nothing is restarted for that
        watch, before = Watch(stack), stack.pids()
        fresh = stack.folder / "bin" / "app.new"
        shutil.copy(stack.replica, fresh)
        fresh.rename(stack.folder / "bin" / "app")
        watch.one("drift", ["bin/app was replaced on disk", "muster restart web/"])
        fast("both are shown", lambda: all(warned(stack, f"web/{n}", "was replaced on disk") for n in (0, 1)))
        equal(stack.pids(), before, "pids")
        contains(stack.run("ps").stdout, "was replaced on disk", "ps")
        stack.run("restart", "web")
        fast("it runs the new one", lambda: not any(warned(stack, f"web/{n}", "replaced") or warned(stack, f"web/{n}", "limits") for n in (0, 1)))


@scenario
def files_that_drift() -> None:
    """The control socket, a listener's socket, the state file, logs, their folder and a volume are taken away."""
    with Stack() as stack:
        stack_of(stack)
        before = stack.pids()
        state = stack.folder / ".muster"
        # the control socket
        watch = Watch(stack)
        control = pathlib.Path(stack.socket)
        control.unlink()
        fast("the control socket is back", stack.ps_or_none)
        watch.one("control-socket", "was removed: made again")
        # the socket of a listener
        watch = Watch(stack)
        front = stack.folder / "front.sock"
        front.unlink()
        fast("the listener's socket is back", front.is_socket)
        watch.one("listener", ["front.sock", "opened again"])
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(front))
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            contains(client.recv(100).decode(), "200 OK", "the answer over the new socket")
        watch.no_more("listener")
        # … and is now somebody else's
        watch = Watch(stack)
        front.unlink()
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.bind(str(front))
            stranger.listen()
            watch.one("listener", ["cannot be opened again", "Address already in use"])
        front.unlink()
        fast("the listener's socket is back", front.is_socket)
        # the state file
        watch = Watch(stack)
        (state / "state.json").unlink()
        fast("the state file is back", (state / "state.json").exists)
        watch.one("state", "was removed: written again")
        watch.no_more("state")
        # a log, and the folder of all
        log = state / "log" / "web-0.log"
        get(stack.ports.listen(0), "/say/first")
        fast("a log", lambda: any("first" in path.read_text() for path in (state / "log").glob("web-*.log")))
        watch = Watch(stack)
        log.unlink()

        def again() -> bool:
            for _ in range(2):
                get(stack.ports.listen(0), "/say/again")
            return log.exists()
        fast("the log is back", again)
        watch.one("log", ["web-0.log", "was removed: made again"])
        watch.no_more("log")
        watch = Watch(stack)
        shutil.rmtree(state / "log")
        watch.one("logs", "was removed: made again")

        def said() -> bool:
            for _ in range(2):
                get(stack.ports.listen(0), "/say/second")
            return log.exists() and "second" in log.read_text()
        fast("the folder of the logs is back", said)
        watch.no_more("logs")
        # a volume: shown, and not made again under a process that has the old one open
        watch = Watch(stack)
        volume = next((state / "volumes").rglob("data"))
        volume.rmdir()
        watch.one("drift", ["its volume", "is gone"])
        fast("ps shows it", lambda: warned(stack, "db/0", "is gone"))
        check(not volume.exists(), "a volume was made under a running process")
        watch.no_more("drift")
        equal(stack.pids(), before, "pids")


def cgroup_of(pid: int) -> pathlib.Path | None:
    """The folder of its cgroup2 group; none where there is none, or it may not be written."""
    path = next((line[3:].strip() for line in pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines() if line.startswith("0::")), None)
    mounts = [line.split() for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines() if " - cgroup2 " in line]
    if path is None or not mounts:
        return None
    folder = pathlib.Path(mounts[0][4] + path)
    return folder if os.access(folder.parent / "cgroup.procs", os.W_OK) else None


@scenario
def surroundings_that_drift() -> None:
    """A wrapper that runs the app with another environment; a process that is taken out of its cgroup."""
    with Stack() as stack:
        stack.write('[app.web]\nrun = ["sh", "-c", "MODE=slow exec <REPLICA> $PORT"]\nport = "auto"\nenv = { MODE = "fast", DB_PASSWORD = "hunter2" }\n')
        stack.daemon()
        stack.ready()
        watch = Watch(stack)
        fast("the environment is shown", lambda: warned(stack, "web/0", "another value of MODE than declared"))
        contains(stack.run("why", "web/0").stdout, "drift: it runs with another value of MODE", "why")
        equal([e["text"].count("MODE") for e in stack.events(app="web") if e["kind"] == "drift"], [1], "events of the environment")
        pid = stack.pids()["web/0"]
        folder = cgroup_of(pid) if "cgroup" == json.loads(stack.api("GET", "/v1/version").body)["containment"] else None
        if folder is None:
            print("no cgroup of its own here: only the environment was looked at")
            return
        watch = Watch(stack)
        (folder.parent / "cgroup.procs").write_text(str(pid))
        fast("the cgroup is shown", lambda: warned(stack, "web/0", "moved out of its cgroup"))
        watch.one("drift", "moved out of its cgroup")
        watch.no_more("drift")
        stack.run("restart", "web")
        fast("it is back in one", lambda: not warned(stack, "web/0", "cgroup"))
        check(kill_quietly(pid, 0) is False or not alive(pid), "the one that was moved is left over")


@scenario
def sockets_that_drift() -> None:
    """A replica that does not listen any more, or at whose port a stranger listens: out of rotation, named, back by itself."""
    with Stack() as stack:
        stack.write('[app.web]\nrun = "<REPLICA> {port}"\nreplicas = 2\nlisten = "127.0.0.1:<L0>"\nhealth = { http = "/healthz", every = "100ms", fall = 2 }\n')
        stack.daemon()
        stack.ready()
        watch = Watch(stack)
        get(stack.ports.listen(0), "/sick")
        sick = wait_for("one is sick", lambda: [r for r in stack.replicas("web") if r["state"] == "unready"], seconds=5)
        contains(sick[0]["reason"], "503", "the reason")
        watch.one("unready", ["503", "out of rotation"])
        watch.no_more("unready")
        for _ in range(4):
            check(get(stack.ports.listen(0)).replica != sick[0]["id"], "a sick one is asked")


if __name__ == "__main__":
    sys.exit(main())
