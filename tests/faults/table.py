#!/usr/bin/env python3
"""Faults of the host: what a client, `ps` and `events` see of each, and how it ends when the fault is over.

    table.py MUSTER REPLICA FAULT_HOST WALL_CLOCK NAME      runs one; what it saw must be what docs/faults.md says of it
    table.py MUSTER REPLICA FAULT_HOST WALL_CLOCK --write   runs them all and writes docs/faults.md
    table.py --list                                         the names, one a line
    table.py --rows NAME…                                   the rows of docs/faults.md, and these names, are those of this file
"""
import contextlib
import dataclasses
import mmap
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import typing

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

# pylint: disable=wrong-import-position
from lib import procs
from lib.expect import DEADLINE, Failed, Skipped, check, contains, equal, wait_for
from lib.http import Broken, Connection, get
from lib.load import Load
from lib.stack import Stack, Status

DOCUMENT = ROOT / "docs" / "faults.md"
HEAD = """# Faults of the host

What happens when the host itself fails: no descriptors, no memory, a full or broken disk, a clock that jumps. Each row was
seen by `tests/faults/table.py`, which makes the fault (by limits, by signals, by letting the system calls of the daemon
fail), keeps clients asking all the while, and ends the fault. The suite runs each again and compares what it sees with this
file; nothing here is written by hand. `tests/faults/nth.py` does the same for every single system call: the n-th one fails,
for every n from the start to the stop of a stack.

"""
COLUMNS = ("fault", "clients", "`muster ps`", "events, warnings and worse", "when it is over")

SPEC = """
[app.web]
run      = "<REPLICA> {port}"
replicas = 2
health   = { http = "/healthz", every = "200ms", timeout = "1s" }
volume   = "data"
restart  = { backoff = "200ms", max_backoff = "400ms" }
stop     = { drain = "1s", timeout = "2s" }

[listen.web]
bind    = "127.0.0.1:<L0>"
to      = "web"
"""


@dataclasses.dataclass
class Seen:
    """One row."""
    clients: str = ""
    ps: str = ""
    events: str = ""
    after: str = ""


@dataclasses.dataclass
class Fault:
    title: str
    run: typing.Callable[[], Seen]


TABLE: dict[str, Fault] = {}
FAULT_HOST = ""
WALL_CLOCK = ""
SUSPENDED_S = 5.0


def fault(title: str) -> typing.Callable[[typing.Callable[[], Seen]], typing.Callable[[], Seen]]:
    def keep(function: typing.Callable[[], Seen]) -> typing.Callable[[], Seen]:
        TABLE[function.__name__] = Fault(title, function)
        return function

    return keep


class Host(Stack):
    """A stack whose daemon runs on a host that can fail."""

    def __init__(self, environment: dict[str, str] | None = None) -> None:
        super().__init__(environment)
        self.report_path = self.folder / "report"
        self.seen_events = 0

    def begin(self, *rules: str, before: list[str] | None = None, mode: str = "daemon", wait: bool = True) -> None:
        command = [FAULT_HOST, "--after", "/dev/null", "--report", str(self.report_path)]
        for rule in rules:
            command += ["--rule", rule.replace("<DIR>", str(self.folder))]
        reader, writer = os.pipe()
        arguments = ["up"] if mode == "up" else ["daemon", "-f", "muster.toml"]
        output = open(self.output_path, "ab")
        self.daemon_process = subprocess.Popen([*(before or []), *command, "--", self.muster, *arguments], cwd=self.folder, env=self.environment,
                                               stdin=reader, stdout=output, stderr=output, start_new_session=True,
                                               preexec_fn=procs.die_with_parent)
        output.close()
        os.close(reader)
        self.orders = os.fdopen(writer, "w", encoding="ascii")
        if wait:
            self.ready()

    def report(self) -> str:
        return self.report_path.read_text(encoding="utf-8", errors="replace") if self.report_path.exists() else ""

    @property
    def pid(self) -> int:
        return int(wait_for("the daemon has a pid", lambda: re.search(r"^pid (\d+)$", self.report(), re.MULTILINE)).group(1))

    def fail(self, *rules: str) -> None:
        for rule in rules:
            self._order(rule.replace("<DIR>", str(self.folder)))

    def heal(self) -> None:
        self._order("clear")

    def _order(self, line: str) -> None:
        before = self.report().count(f"taken {line}")
        self.orders.write(line + "\n")
        self.orders.flush()
        wait_for(f"the host takes {line!r}", lambda: self.report().count(f"taken {line}") > before)

    def has_failed(self, call: str = "") -> bool:
        return re.search(rf"^failed \d+ {call}", self.report(), re.MULTILINE) is not None

    def warnings(self) -> list[str]:
        """Since the last look, in words that are the same in each run."""
        events = self.events()
        fresh, self.seen_events = events[self.seen_events:], len(events)
        found: list[str] = []
        for event in fresh:
            if event["severity"] == "info":
                continue
            text = self.plain(event["text"])
            if event["app"]:
                text = f"{event['app']}: {text}"
            if text not in found:
                found.append(text)
        return found

    def plain(self, text: str) -> str:
        text = text.replace(str(self.folder), "…")
        text = re.sub(r"cannot be saved: \w+ \S+:", "cannot be saved: …:", text)  # whichever of its calls comes first
        text = re.sub(r"muster-\d+[^ :,;]*", "muster-…", text)
        text = re.sub(r"\b(web|odd)/\d+\b", r"\1/…", text)
        return re.sub(r"\b\d+(\.\d+)?( ?(ms|s|min|h|MiB|KiB|bytes))?\b", "…", text)

    def is_served(self) -> None:
        """Both replicas are ready and answer, over and over."""
        self.ready()
        port = self.ports.listen(0)
        wait_for("all replicas answer", lambda: get(port).replica != get(port).replica, 5)
        with Load(port, keep=1, fresh=1, total=50) as load:
            load.join()
        equal(load.failures, [], "requests after the fault")
        equal(sorted(load.replicas), sorted(self.pids("web")), "replicas that answer after the fault")


def said(events: list[str]) -> str:
    return "; ".join(f"“{event}”" for event in events) if events else "none"


def of_clients(load: Load, otherwise: str = "") -> str:
    if not load.failures:
        check(load.done > 0, "nobody asked anything")
        return "every request is answered"
    check(otherwise, f"{len(load.failures)} of {load.done} requests failed: {load.failures[:3]}")
    return otherwise


def state(host: Host) -> str:
    """`ready`, or what stands in its place with the reasons of replicas."""
    app = host.app("web")
    reasons = sorted({f"{row['state']}: {host.plain(row['reason'] or '')}" for row in app["replicas"] if row["state"] != "ready"})
    return app["state"] + (f" ({'; '.join(reasons)})" if reasons else "")


def same(host: Host, before: dict[str, int]) -> str:
    host.is_served()
    now = host.pids()
    equal(sorted(now), sorted(before), "replicas")
    changed = [name for name in now if now[name] != before[name]]
    return "all replicas are the same processes" if not changed else f"{len(changed)} of {len(now)} replicas were started again"


@contextlib.contextmanager
def running(spec: str = SPEC, mode: str = "daemon", before: list[str] | None = None) -> typing.Iterator[Host]:
    with Host() as host:
        host.write(spec)
        host.begin(mode=mode, before=before)
        host.warnings()
        yield host


# --- descriptors and memory


def at_the_limit(limit: int) -> Seen:
    with running(before=["prlimit", f"--nofile={limit}:{limit}", "--"]) as host:
        before, port = host.pids(), host.ports.listen(0)
        with Load(port, keep=2, pause=0.01) as load:
            wait_for("the clients are served", lambda: load.done > 10)
            idle = []
            for _ in range(limit + 40):  # the kernel takes more than the daemon
                idle.append(socket.create_connection(("127.0.0.1", port), 5))
            late = socket.create_connection(("127.0.0.1", port), 5)
            late.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            late.settimeout(0.5)
            try:
                waits = not late.recv(1)
            except TimeoutError:
                waits = True
            check(waits, "a connection beyond the limit was served")
            procs.kill_quietly(before["web/1"])
            wait_for("the killed replica is back", lambda: host.pids().get("web/1", 0) not in (0, before["web/1"]) and
                     host.one("web/1")["state"] == "ready")
            ps = state(host)
            events = host.warnings()
            for connection in idle:
                connection.close()
            late.settimeout(DEADLINE)
            check(late.recv(1), "the connection that waited is not served")
            late.close()
        host.is_served()
        return Seen(of_clients(load) + " on connections that are open; new ones wait in the kernel's queue", ps, said(events),
                    "those that waited are served; a replica killed meanwhile was started again at once")


@fault("descriptors: `ulimit -n 64`, and 100 idle clients")
def descriptors_64() -> Seen:
    return at_the_limit(64)


@fault("descriptors: `ulimit -n 300`, and 340 idle clients")
def descriptors_300() -> Seen:
    return at_the_limit(300)


def nothing_is_made(rule: str, reason: str) -> Seen:
    """A replica is killed while the daemon gets nothing that it needs to start another."""
    with running() as host:
        before, port = host.pids(), host.ports.listen(0)
        with Load(port, keep=2, pause=0.01) as load:
            wait_for("the clients are served", lambda: load.done > 10)
            done = load.done
            host.fail(rule)
            procs.kill_quietly(before["web/1"])
            wait_for("requests are answered meanwhile", lambda: load.done > done + 20)
            ps = wait_for("the start fails, and ps says why", lambda: (seen := state(host)).endswith(f": {reason})") and seen)
            pause = time.monotonic() + 1.0
            wait_for("a second of it", lambda: time.monotonic() > pause)
            host.heal()
            wait_for("the killed replica is back", lambda: host.pids().get("web/1", 0) not in (0, before["web/1"]) and
                     host.one("web/1")["state"] == "ready")
        return Seen(of_clients(load), ps, said(host.warnings()), same(host, before))


@fault("descriptors of the host are used up (ENFILE), a replica dies meanwhile")
def host_without_descriptors() -> Seen:
    return nothing_is_made("pipe2,memfd_create,pidfd_open,timerfd_create,eventfd2 ENFILE", "pipe: Too many open files in system")


@fault("no memory in the kernel (ENOMEM), a replica dies meanwhile")
def kernel_without_memory() -> Seen:
    return nothing_is_made("memfd_create,clone3,clone ENOMEM", "memfd_create: Cannot allocate memory")


@fault("no memory for the daemon itself (ENOMEM of brk and mmap)")
def daemon_without_memory() -> Seen:
    with running(mode="up") as host:
        host.fail("brk,mmap ENOMEM")
        with contextlib.suppress(OSError, Broken, Failed):
            while host.daemon_process is not None and host.daemon_process.poll() is None:
                host.run("plan", code=None)
        equal(host.end(), 128 + signal.SIGABRT, "how it ends")
        contains(host.output(), "muster: out of memory", "its last words")
        host.nothing_left()
        return Seen("connections are closed", "no daemon", "it ends by SIGABRT: “muster: out of memory”",
                    "its service manager starts it anew; with `on_crash = \"stop\"` the replicas have ended with it")


@fault("no more processes (EAGAIN of fork), a replica dies meanwhile")
def no_more_processes() -> Seen:
    return nothing_is_made("clone,clone3,vfork,fork EAGAIN", "fork: Resource temporarily unavailable")


@fault("descriptors of the host are used up while clients connect (ENFILE of accept and socket)")
def no_descriptors_for_clients() -> Seen:
    with running() as host:
        before, port = host.pids(), host.ports.listen(0)
        host.fail("accept4 ENFILE")
        with Load(port, fresh=2, total=40) as load:
            wait_for("accept fails", lambda: host.has_failed("accept4"))
            pause = time.monotonic() + 0.5
            wait_for("a while of it", lambda: time.monotonic() > pause)
            check(load.done == 0, "a request was served by a listener that cannot accept")
            ps = "no answer: the control socket cannot accept either"
            with contextlib.suppress(OSError, Broken), Connection(0, 1, host.socket) as connection:
                connection.ask("GET", "/v1/version")
                ps = state(host)
            host.heal()
            load.join()
        events = host.warnings()
        return Seen(of_clients(load) + ", those of new connections when the fault is over", ps, said(events), same(host, before))


# --- disks


def disk(rule: str, deed: typing.Callable[[Host], None], healed: typing.Callable[[Host], None], spec: str = SPEC) -> Seen:
    with running(spec) as host:
        before = host.pids()
        with Load(host.ports.listen(0), keep=1, fresh=1, pause=0.01) as load:
            host.fail(rule)
            deed(host)
            wait_for("the disk fails", lambda: host.has_failed())
            ps = state(host)
            host.heal()
            healed(host)
        # That a log is written again may be said later than this looks.
        events = [event for event in host.warnings() if "is written again" not in event]
        check(events, "nobody was told")
        return Seen(of_clients(load), ps, said(events), same(host, before))


def hold(host: Host) -> None:
    host.run("scale", "web=3", "--no-wait")
    host.event("the state cannot be saved", lambda e: "cannot be saved" in e["text"])
    wait_for("web/2 is ready", lambda: host.app("web")["ready"] == 3)
    host.run("scale", "web=2", "--no-wait")
    wait_for("web/2 has ended", lambda: len(host.replicas("web")) == 2)


def state_is_there(host: Host) -> None:
    host.event("the state is written again", lambda e: "written again" in e["text"])
    contains((host.folder / ".muster/state.json").read_text(encoding="utf-8"), '"web"', "the state file")


@fault("the disk of the state folder is full (ENOSPC)")
def full_disk_of_the_state() -> Seen:
    seen = disk("write,openat,link,rename ENOSPC path=<DIR>/.muster/state", hold, state_is_there)
    return dataclasses.replace(seen, after="“the state file is written again”; " + seen.after)


@fault("the disk of the state folder is broken (EIO of fsync)")
def broken_disk_of_the_state() -> Seen:
    seen = disk("fsync EIO path=<DIR>/.muster", hold, state_is_there)
    return dataclasses.replace(seen, after="“the state file is written again”; " + seen.after)


@fault("the state folder becomes read-only (EROFS)")
def read_only_state() -> Seen:
    seen = disk("openat,mkdir,rename,link,unlink EROFS path=<DIR>/.muster/state", hold, state_is_there)
    return dataclasses.replace(seen, after="“the state file is written again”; " + seen.after)


def say(host: Host, word: str) -> None:
    for _ in range(2):
        equal(get(host.ports.listen(0), f"/say/{word}").status, 200, "an answer")


def log_lines_come(host: Host) -> None:
    def come() -> bool:
        say(host, "afterwards")
        return "afterwards" in host.run("logs", code=None).stdout

    wait_for("lines are logged again", come)


@fault("the disk of the logs is full (ENOSPC)")
def full_disk_of_the_logs() -> Seen:
    seen = disk("write,writev,openat ENOSPC path=<DIR>/.muster/log", lambda host: say(host, "lost"), log_lines_come)
    return dataclasses.replace(seen, after="new lines are logged; " + seen.after)


@fault("the folder of the logs is removed")
def logs_removed() -> Seen:
    with running() as host:
        before = host.pids()
        with Load(host.ports.listen(0), keep=1, fresh=1, pause=0.01) as load:
            shutil.rmtree(host.folder / ".muster/log")
            host.event("the folder is missed", lambda e: "was removed" in e["text"])
            ps = state(host)
            log_lines_come(host)
        return Seen(of_clients(load), ps, said(host.warnings()), "made again with the next line; " + same(host, before))


@fault("the disk of the volumes is full: no folder for a new replica (ENOSPC)")
def full_disk_of_the_volumes() -> Seen:
    with running() as host:
        before = host.pids()
        with Load(host.ports.listen(0), keep=1, fresh=1, pause=0.01) as load:
            host.fail("mkdir,mkdirat ENOSPC path=<DIR>/.muster/volumes")
            host.run("scale", "web=3", "--no-wait")
            host.in_state("web/2", "backoff")
            contains(host.one("web/2")["reason"], "No space left", "the reason")
            ps = state(host)
            host.heal()
            wait_for("web/2 is ready", lambda: host.one("web/2")["state"] == "ready")
        events = host.warnings()
        equal({name: pid for name, pid in host.pids().items() if name in before}, before, "the other replicas")
        return Seen(of_clients(load), re.sub(r"degraded|starting", "degraded", ps), said(events), "the new replica starts by itself; the others are the same processes")


@fault("start with a read-only state folder (EROFS)")
def read_only_at_the_start() -> Seen:
    with Host() as host:
        host.write(SPEC)
        host.begin("mkdir,openat EROFS path=<DIR>/.muster", wait=False)
        process = host.daemon_process
        wait_for("the daemon ends", lambda: process is not None and process.poll() is not None)
        equal(process.returncode if process else None, 1, "exit code")
        line = next(line for line in host.output().splitlines() if "error" in line)
        return Seen("no listener is open", "no daemon", "it exits 1: “" + host.plain(re.sub(r"^\S+Z error ", "", line)) + "”", "it starts when it is started")


# --- watches


@fault("the kernel drops file events (inotify queue overflow), the spec is edited meanwhile")
def watch_overflows() -> Seen:
    with running(mode="up") as host:
        before = host.pids()
        with Load(host.ports.listen(0), keep=1, pause=0.01) as load:
            wait_for("the client is served", lambda: load.done > 10)
            limit = int(pathlib.Path("/proc/sys/fs/inotify/max_queued_events").read_text(encoding="ascii"))
            if limit > 40000:
                raise Skipped("fs.inotify.max_queued_events is larger than this test can fill")
            os.kill(host.pid, signal.SIGSTOP)
            names = [host.folder / "a", host.folder / "b"]
            for index in range(limit // 2 + 50):  # creating, writing, removing: more than one event each
                names[index % 2].write_bytes(b"")
                names[index % 2].unlink()
            host.edit("replicas = 2", "replicas = 3")
            os.kill(host.pid, signal.SIGCONT)
            wait_for("the edit is in force", lambda: host.app("web")["ready"] == 3)
        events = host.warnings()
        equal({name: pid for name, pid in host.pids().items() if name in before}, before, "the other replicas")
        return Seen(of_clients(load), state(host), said(events), "the edit is in force: all watched files were looked at; all replicas are the same processes")


@fault("no file can be watched (fs.inotify.max_user_instances)")
def no_watches() -> Seen:
    with Host() as host:
        host.write(SPEC)
        host.begin("inotify_init1 EMFILE", mode="up")
        with Load(host.ports.listen(0), keep=1, fresh=1, total=20) as load:
            load.join()
        ps, events = state(host), host.warnings()
        host.edit("replicas = 2", "replicas = 1")
        host.run("apply")
        equal(host.app("web")["ready"], 1, "replicas after apply")
        return Seen(of_clients(load), ps, said(events), "edits count from the next `muster apply`")


# --- time


PINGS = SPEC.replace('"<REPLICA> {port}"', '"<REPLICA> {port} ping"').replace("volume ", 'watchdog = "1s"\nlive     = { http = "/healthz", every = "200ms", timeout = "1s" }\nvolume ')


@fault("the daemon is suspended (SIGSTOP), with `live`, `health` and `watchdog` far shorter than that")
def suspended() -> Seen:
    with running(PINGS) as host:
        before = host.pids()
        with Load(host.ports.listen(0), keep=2, pause=0.01) as load:
            wait_for("the clients are served", lambda: load.done > 10)
            os.kill(host.pid, signal.SIGSTOP)
            end = time.monotonic() + SUSPENDED_S
            wait_for("it was suspended for long enough", lambda: time.monotonic() > end, SUSPENDED_S + 5)
            os.kill(host.pid, signal.SIGCONT)
            done = load.done
            wait_for("the clients are served again", lambda: load.done > done + 50)
            ps = state(host)
            end = time.monotonic() + 2  # what is still to come of it: a second watchdog period, probes
            wait_for("two seconds more", lambda: time.monotonic() > end)
        return Seen(of_clients(load) + ", late", ps, said(host.warnings()), same(host, before))


class Clock:
    """The wall clock of one daemon."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.path = folder / "clock"
        self.path.write_bytes(bytes(mmap.PAGESIZE))
        os.mkfifo(f"{self.path}.set")
        self.environment = {"LD_PRELOAD": WALL_CLOCK, "MUSTER_TEST_CLOCK": str(self.path)}
        with open(self.path, "r+b") as file:
            self.page = mmap.mmap(file.fileno(), mmap.PAGESIZE)

    def move(self, seconds: int) -> None:
        self.page[0:8] = struct.pack("q", seconds * 1_000_000_000)
        fifo = os.open(f"{self.path}.set", os.O_RDWR | os.O_NONBLOCK)
        os.write(fifo, b"!")
        os.close(fifo)


NIGHTLY = PINGS + """
[job.yearly]
run      = "/bin/true"
schedule = "30 3 1 1 *"
timezone = "UTC"
"""
HOUR, YEAR = 3600, 31_557_600


def clock_jumps(seconds: int) -> Seen:
    with Host() as host:
        clock = Clock(host.folder)
        host.environment |= clock.environment
        host.write(NIGHTLY)
        host.start("daemon", "-f", "muster.toml")
        host.ready()
        host.warnings()
        before = host.pids()

        def next_run() -> str:
            return str(host.ps()["jobs"][0]["next"])

        with Load(host.ports.listen(0), keep=1, fresh=1, pause=0.01) as load:
            clock.move(seconds)
            now = time.gmtime(time.time() + seconds)
            year = now.tm_year + (1 if time.strftime("%m-%dT%H:%M", now) >= "01-01T03:30" else 0)
            wait_for(f"the next run is in {year}", lambda: next_run().startswith(f"{year}-01-01T03:30"))
            procs.kill_quietly(before["web/1"])
            wait_for("the killed replica is back", lambda: host.pids().get("web/1", 0) not in (0, before["web/1"]) and
                     host.one("web/1")["state"] == "ready")
            end = time.monotonic() + 2
            wait_for("two seconds, a watchdog period and many probes", lambda: time.monotonic() > end)
            ps = state(host)
            uptime = host.ps()["daemon"]["uptime_s"]
            check(0 <= uptime < 600, f"the daemon says that it has run for {uptime} s")
            events = [event for event in host.warnings() if "SIGKILL" not in event]
        host.is_served()
        equal(host.pids()["web/0"], before["web/0"], "the replica that was not killed")
        return Seen(of_clients(load), ps, said(events), "schedules are reckoned anew; probes, watchdogs and backoff go by the steady clock")


@fault("the wall clock is set an hour forward")
def clock_an_hour_forward() -> Seen:
    return clock_jumps(HOUR)


@fault("the wall clock is set an hour back")
def clock_an_hour_back() -> Seen:
    return clock_jumps(-HOUR)


@fault("the wall clock is set ten years forward")
def clock_ten_years_forward() -> Seen:
    return clock_jumps(10 * YEAR)


@fault("the wall clock is set ten years back")
def clock_ten_years_back() -> Seen:
    return clock_jumps(-10 * YEAR)


# --- what the kernel shows


@fault("/proc of other processes cannot be read (EACCES)")
def proc_is_hidden() -> Seen:
    with running() as host:
        before = host.pids()
        with Load(host.ports.listen(0), keep=1, fresh=1, pause=0.01) as load:
            host.fail("open,openat,readlink,readlinkat EACCES path=/proc/ not=/proc/self")
            procs.kill_quietly(before["web/1"])
            wait_for("the killed replica is back", lambda: host.pids().get("web/1", 0) not in (0, before["web/1"]) and
                     host.one("web/1")["state"] == "ready")
            ps = state(host)
            host.heal()
        events = [event for event in host.warnings() if "SIGKILL" not in event]
        return Seen(of_clients(load), ps, said(events), same(host, before))


@fault("no cgroup can be made at the start (cgroup file system gone)")
def no_cgroups_at_the_start() -> Seen:
    with Host() as host:
        host.write(SPEC)
        host.begin("any ENOENT path=/sys/fs/cgroup")
        before = host.pids()
        with Load(host.ports.listen(0), keep=1, fresh=1, pause=0.01) as load:
            procs.kill_quietly(before["web/1"])
            wait_for("the killed replica is back", lambda: host.pids().get("web/1", 0) not in (0, before["web/1"]) and
                     host.one("web/1")["state"] == "ready")
            ps = state(host)
        contains(host.output(), "session+subreaper+token", "what keeps processes together")
        events = [event for event in host.warnings() if "SIGKILL" not in event]
        return Seen(of_clients(load), ps, said(events), "processes are kept together by session, subreaper and a token, as the first line of the log says; " + same(host, before))


@fault("cgroups fail in the middle (ENODEV for all files of theirs), a replica dies meanwhile")
def cgroups_go_away() -> Seen:
    with running() as host:
        if "kept together by cgroup" not in host.output():
            raise Skipped("no cgroup can be made on this host")
        before = host.pids()
        with Load(host.ports.listen(0), keep=1, fresh=1, pause=0.01) as load:
            host.fail("any ENODEV path=/sys/fs/cgroup")
            procs.kill_quietly(before["web/1"])
            wait_for("the group cannot be asked", lambda: host.has_failed())
            pause = time.monotonic() + 5  # many probes
            wait_for("a while of it", lambda: time.monotonic() > pause)
            equal(host.one("web/0")["state"], "ready", "the other replica")
            ps = state(host)
            host.heal()
            wait_for("the killed replica is back", lambda: host.pids().get("web/1", 0) not in (0, before["web/1"]) and
                     host.one("web/1")["state"] == "ready")
        return Seen(of_clients(load), ps, said(host.warnings()), same(host, before))


# --- the document


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def row(name: str, seen: Seen) -> str:
    return "| " + " | ".join(cell(text) for text in (TABLE[name].title, seen.clients, seen.ps, seen.events, seen.after)) + f" | <!-- {name} -->"


def rows() -> dict[str, str]:
    text = DOCUMENT.read_text(encoding="utf-8")
    return {name: line for line in text.splitlines() if line.startswith("| ") for name in re.findall(r"<!-- (\w+) -->$", line)}


def compare(name: str) -> int:
    found, wanted = row(name, TABLE[name].run()), rows().get(name, "nothing")
    if found == wanted:
        print("ok")
        return 0
    print(f"docs/faults.md says\n  {wanted}\nbut this was seen (--write writes it down):\n  {found}")
    return 1


def write() -> int:
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for name in TABLE:
        print(name, flush=True)
        try:
            lines.append(row(name, TABLE[name].run()))
        except Skipped as reason:
            print(f"skipped, as it was: {reason}")
            lines.append(rows()[name])
    DOCUMENT.write_text(HEAD + "\n".join(lines) + "\n", encoding="utf-8")
    return 0


def main() -> int:
    global FAULT_HOST, WALL_CLOCK, SUSPENDED_S  # pylint: disable=global-statement
    if sys.argv[1:] == ["--list"]:
        print("\n".join(TABLE))
        return 0
    if sys.argv[1:2] == ["--rows"]:
        equal(sys.argv[2:], list(TABLE), "faults of CMakeLists.txt")
        titles = {name: line.split(" | ")[0][2:] for name, line in rows().items()}
        equal(titles, {name: cell(entry.title) for name, entry in TABLE.items()}, "rows of docs/faults.md")
        return 0
    Stack.muster, Stack.replica, FAULT_HOST, WALL_CLOCK = (str(pathlib.Path(word).resolve()) for word in sys.argv[1:5])
    if len(sys.argv) > 6:
        SUSPENDED_S = float(sys.argv[6])
    procs.adopt_orphans()
    if subprocess.run([FAULT_HOST, "--", "/bin/true"], check=False, stdin=subprocess.DEVNULL).returncode == 125:
        print("skipped: this host does not let system calls fail (seccomp user notification)")
        return 77
    try:
        return write() if sys.argv[5] == "--write" else compare(sys.argv[5])
    except Skipped as reason:
        print(f"skipped: {reason}")
        return 77
    except (Failed, Broken, OSError) as problem:
        print(f"{sys.argv[5]}: {type(problem).__name__}: {problem}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
