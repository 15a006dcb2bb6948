#!/usr/bin/env python3
"""The n-th system call of the daemon that can fail, fails: for every n, from the start of a small stack over a request, a
reload and another request to its stop.

    nth.py MUSTER REPLICA FAULT_HOST [--mode up|daemon] [--fit fit|fit2] [--for MS] [--stride N] [--seed S] [--only N,N…]
           [--calls NAME,NAME…]

The daemon may refuse to start, with a sentence that says what failed, and leave nothing; or it goes on, and once the fault
is over every replica is ready, requests are answered, the reload is in force, and it holds the descriptors and threads that
it holds without a fault. However it ended, nothing is left. With `--for`, calls of the kind of the n-th fail from then on for
so long. With `--calls` it is the n-th of these, as many as there are.
"""
import argparse
import collections
import contextlib
import dataclasses
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import time
import typing

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

# pylint: disable=wrong-import-position
from lib import procs
from lib.expect import Failed, check, equal, wait_for
from lib.http import Answer, Broken, Connection, get
from lib.stack import Stack

SPEC = """
[app.web]
run      = "<REPLICA> {port}"
replicas = 2
health   = "/healthz"
volume   = "data"
restart  = { backoff = "20ms", max_backoff = "100ms" }
stop     = { drain = "1s", timeout = "2s" }

[listen.web]
bind    = "127.0.0.1:<L0>"
to      = "web"
timeout = { keepalive = "50ms" }
"""
RELOADED = SPEC.replace('volume   =', 'env      = { ROUND = "2" }\nvolume   =') + """
[listen.more]
bind    = "127.0.0.1:<L1>"
to      = "web"
timeout = { keepalive = "50ms" }
"""
DEADLINE = 20.0  # of each step; a daemon that hangs is found by it
# What the daemon may exit with when it does not start, beside a sentence. 134 is for memory alone: see `allowed_to_abort`.
REFUSALS = (1, 66, 69, 77)
MEMORY = ("mmap", "brk", "mprotect")


@dataclasses.dataclass
class Holds:
    """What a settled daemon has."""
    descriptors: "collections.Counter[str]"
    threads: int

    def as_good_as(self, usual: "Holds") -> bool:
        """Nothing more, and nothing less but what muster says that it does without: cgroups, its small shim, watches, the journal."""
        less = usual.descriptors - self.descriptors
        for name in usual.descriptors:
            if re.search(r"/sys/fs/cgroup/|muster-shim$|inotify$|/output/journal$", name):
                less.pop(name, None)
        more = self.descriptors - usual.descriptors
        fifos = [name for name in less if "/output/N." in name]  # a plain pipe for each that could not be made
        if more["pipe"] == sum(less[name] for name in fifos):
            more.pop("pipe", None)
            for name in fifos:
                less.pop(name)
        return not more and not less and self.threads == usual.threads


@dataclasses.dataclass
class Outcome:
    number: int
    fault: str = "not reached"
    end: str = ""
    problem: str = ""
    seconds: float = 0.0
    output: str = ""


def descriptors(pid: int) -> "collections.Counter[str]":
    found: "collections.Counter[str]" = collections.Counter()
    for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(entry)
        except OSError:
            continue
        target = re.sub(r":\[\d+\]$", "", target)
        target = "/dev/null" if target == "/" else target  # libuv's spare descriptor, after it was used
        target = re.sub(r"/output/\d+\.", "/output/N.", target)
        found[re.sub(rf"muster-{pid}\b(-\d+)?|muster-[0-9a-f]+\.run|/tmp/[^/]+", "…", target)] += 1
    return found


def holds(pid: int) -> Holds:
    return Holds(descriptors(pid), len(os.listdir(f"/proc/{pid}/task")))


def connections(pid: int) -> int:
    """The streams that the process has with others: TCP, and those of its control socket."""
    sockets = set()
    for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(entry))
            sockets |= {found.group(1)} if found else set()

    def rows(table: str) -> list[list[str]]:
        return [line.split() for line in pathlib.Path(f"/proc/{pid}/net/{table}").read_text(encoding="ascii", errors="replace").splitlines()]

    # Columns as in proc_net(5).
    return (sum(row[3] == "01" and row[9] in sockets for row in rows("tcp"))
            + sum(row[4:6] == ["0001", "03"] and row[6] in sockets for row in rows("unix")))


def quiet(ask: typing.Callable[[], Answer]) -> Answer | None:
    try:
        return ask()
    except (OSError, Broken, ValueError):
        return None


class Run:
    """One life of the daemon."""

    def __init__(self, stack: Stack, options: argparse.Namespace, rule: str | None) -> None:
        self.stack, self.options, self.rule = stack, options, rule
        self.report_path = stack.folder / "report"
        self.pid = 0

    def report(self) -> list[str]:
        return self.report_path.read_text(encoding="utf-8", errors="replace").splitlines() if self.report_path.exists() else []

    def told(self, word: str) -> str:
        return next((line.partition(" ")[2] for line in self.report() if line.split(" ")[0] == word), "")

    def has_ended(self) -> bool:
        process = self.stack.daemon_process
        return process is not None and process.poll() is not None

    def begin(self) -> None:
        self.report_path.unlink(missing_ok=True)
        before = [self.options.fault_host, "--after", "/dev/null", "--report", str(self.report_path)]
        if self.rule:
            before += ["--rule", self.rule]
        arguments = ["up"] if self.options.mode == "up" else ["daemon", "-f", "muster.toml"]
        self.stack.start(*arguments, wait=False, before=[*before, "--"])
        self.pid = int(wait_for("the daemon has a pid", lambda: self.told("pid"), DEADLINE, 0.002))

    def ends_or(self, what: str, probe: typing.Callable[[], object]) -> bool:
        """False: the daemon has ended."""
        wait_for(what, lambda: self.has_ended() or probe(), DEADLINE, 0.01)
        return not self.has_ended()

    def settled(self, revision: int) -> bool:
        status = self.status()
        if status is None or not status["apps"]:
            return False
        app = status["apps"][0]
        return (app["state"] == "ready" and app["ready"] == 2 and len(app["replicas"]) == 2 and app["revision"] == revision
                and all(row["revision"] == revision for row in app["replicas"]))

    def status(self) -> dict[str, typing.Any] | None:
        answer = quiet(lambda: self.ask("GET", "/v1/status"))
        return json.loads(answer.body) if answer is not None and answer.status == 200 else None

    def ask(self, method: str, target: str, body: bytes = b"") -> Answer:
        with Connection(0, timeout=10, path=self.stack.socket) as connection:
            return connection.ask(method, target, body, close=True)

    def answers(self, index: int) -> bool:
        """Both replicas, once each."""
        found = [quiet(lambda: get(self.stack.ports.listen(index), timeout=5)) for _ in range(2)]
        return sorted(answer.replica for answer in found if answer is not None) == ["web/0", "web/1"]

    def apply(self) -> bool:
        answer = quiet(lambda: self.ask("POST", "/v1/apply", b'{"wait":false}'))
        return answer is not None and answer.status in (200, 202)

    def live(self, usual: Holds | None) -> Holds | None:
        """Start to settled after the reload; None: it has ended before."""
        self.begin()
        if not self.ends_or("ready", lambda: self.settled(1)):
            return None
        if not self.ends_or("the listener answers", lambda: self.answers(0)):
            return None
        self.stack.write(RELOADED)
        if not self.ends_or("the reload is in force", lambda: self.settled(2) or (self.apply() and self.settled(2))):
            return None
        if not self.ends_or("the new listener answers", lambda: self.answers(1)):
            return None
        if usual is None:
            wait_for("connections are closed", lambda: not connections(self.pid), DEADLINE)
            looks: list[Holds] = []

            def is_steady() -> bool:  # nothing is just being written or looked at
                looks.append(holds(self.pid))
                return looks[-10:] == [looks[-1]] * 10

            wait_for("it holds the same in ten looks", is_steady, DEADLINE)
            return looks[-1]
        found = [holds(self.pid)]
        next_line = time.monotonic()

        def same() -> bool:
            nonlocal next_line
            # A log file that could not be written is opened again with a later line.
            if found[0] != usual and time.monotonic() > next_line:
                next_line = time.monotonic() + 1.5
                for _ in range(2):
                    quiet(lambda: get(self.stack.ports.listen(0), "/say/again", timeout=5))
            found[0] = holds(self.pid)
            return found[0].as_good_as(usual)

        try:
            if not self.ends_or("it holds what it holds without a fault", same):
                return None
        except Failed:
            raise Failed(f"it holds {dict(found[0].descriptors - usual.descriptors)} more, {dict(usual.descriptors - found[0].descriptors)} less,"
                         f" {found[0].threads} threads instead of {usual.threads}") from None
        # The fault may have met this very request.
        if not self.ends_or("the listener answers at last", lambda: self.answers(0)):
            return None
        return found[0]

    def stop(self) -> int:
        return self.stack.end()


def allowed_to_abort(fault: str) -> bool:
    """A C++ program that gets no memory for a small object has no way on; it says so, and the service manager starts it anew."""
    return fault.split(" ")[1:2] != [] and fault.split(" ")[1] in MEMORY


def judge(run: Run, outcome: Outcome, usual: Holds) -> None:
    held = run.live(usual)
    output = run.stack.output()
    fault = run.told("failed")
    outcome.fault = fault or "not reached"
    if held is None:
        code = run.stack.end()
        outcome.end = f"exit {code}"
        output = run.stack.output()
        if allowed_to_abort(fault) and "out of memory" in output:
            outcome.end = "out of memory"
        else:
            check(code in REFUSALS, f"it ended by itself with {code}")
            said = [line for line in output.splitlines() if re.search(r"error|muster: ", line)]
            check(said, "it ended and did not say why")
            outcome.end = f"refused: {said[-1]}"
    else:
        code = run.stop()
        fault = run.told("failed")
        outcome.fault = fault or "not reached"
        outcome.end = "recovered"
        if allowed_to_abort(fault) and "out of memory" in run.stack.output():
            outcome.end = "out of memory at its stop"
        else:
            equal(code, 143 if run.options.mode == "up" else 0, "exit code of the stop")
            state = (run.stack.folder / ".muster/state.json").read_text(encoding="utf-8")
            check("ROUND" in state or "the state cannot be saved" in run.stack.output(), "the state knows nothing of the reload")
    check("left" not in run.report(), "a process outlives the daemon")
    run.stack.nothing_left()
    unremovable = run.options.lasts and "rmdir " in outcome.fault  # also at the stop
    check(not procs.own_groups(run.pid) or outcome.end.startswith("out of memory") or unremovable, "a cgroup is left behind")
    if not outcome.end.startswith("out of memory"):
        left = [str(path) for path in (run.stack.folder / "run").rglob("*") if not path.is_dir()]
        # What could not be looked at to the very end is not removed: it might be another daemon's.
        check(not left or (run.options.lasts and "stat " in fault), f"files are left behind in the runtime folder: {left}")
        left = [str(path) for path in (run.stack.folder / ".muster").rglob("*.tmp")]
        check(not left or "EROFS" in fault or "EIO" in fault, f"temporary files are left behind: {left}")
    if held is None:
        starts_again(run)


def starts_again(run: Run) -> None:
    """What did not start has left nothing that stands in the way of the next start."""
    again = Run(run.stack, run.options, None)
    run.stack.write(SPEC)
    again.begin()
    check(again.ends_or("ready at the second start", lambda: (again.status() or {"apps": []})["apps"] and again.status()["apps"][0]["ready"] == 2),
          "the second start fails")
    again.stop()
    run.stack.nothing_left()


def one(options: argparse.Namespace, number: int, usual: Holds) -> Outcome:
    outcome, began = Outcome(number), time.monotonic()
    lasts = f"for={options.lasts}" if options.lasts else "count=1"
    stack = Stack()
    run = Run(stack, options, f"{options.calls} {options.fit} skip={number - 1} {lasts}")
    try:
        with stack:
            stack._tell = lambda: None  # pylint: disable=protected-access
            stack.write(SPEC)
            try:
                judge(run, outcome, usual)
            finally:
                outcome.output = stack.output()
                outcome.fault = run.told("failed") or outcome.fault
    except (Failed, OSError, ValueError, KeyError) as problem:
        outcome.problem = f"{type(problem).__name__}: {problem}"
    outcome.seconds = time.monotonic() - began
    return outcome


def without_fault(options: argparse.Namespace) -> tuple[int, Holds]:
    with Stack() as stack:
        stack.write(SPEC)
        run = Run(stack, options, None)
        usual = run.live(None)
        check(usual is not None, "the daemon ended without a fault")
        run.stop()
        return int(run.told("counted")), typing.cast(Holds, usual)


def tell(outcome: Outcome, verbose: bool) -> None:
    if outcome.problem:
        print(f"FAILED {outcome.number}: {outcome.fault}: {outcome.problem} ({outcome.seconds:.1f} s)", flush=True)
        print("\n".join("    " + line for line in outcome.output.splitlines()[-25:]), flush=True)
    elif verbose:
        print(f"{outcome.number}: {outcome.fault}: {outcome.end} ({outcome.seconds:.1f} s)", flush=True)


def numbers(options: argparse.Namespace, count: int) -> list[int]:
    if options.only:
        return [int(word) for word in options.only.split(",")]
    # What a run counts differs a little from run to run: the last numbers may not be reached.
    return list(range(1 + random.Random(options.seed).randrange(options.stride), count + 20, options.stride))


def main() -> int:
    parser = argparse.ArgumentParser()
    for name in ("muster", "replica", "fault_host"):
        parser.add_argument(name)
    parser.add_argument("--mode", choices=("up", "daemon"), default="up")
    parser.add_argument("--fit", choices=("fit", "fit2"), default="fit")
    parser.add_argument("--for", dest="lasts", type=int, default=0)
    parser.add_argument("--stride", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only")
    parser.add_argument("--calls", default="any")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--share", default="0/1", help="which part of the numbers: 1/3 is the second of three")
    options = parser.parse_args()
    Stack.muster, Stack.replica = str(pathlib.Path(options.muster).resolve()), str(pathlib.Path(options.replica).resolve())
    options.fault_host = str(pathlib.Path(options.fault_host).resolve())
    if subprocess.run([options.fault_host, "--", "/bin/true"], check=False, stdin=subprocess.DEVNULL).returncode == 125:
        print("skipped: this host does not let system calls fail (seccomp user notification)")
        return 77
    procs.adopt_orphans()
    count, usual = without_fault(options)
    part, parts = (int(word) for word in options.share.split("/"))
    ends: "collections.Counter[str]" = collections.Counter()
    bad = 0
    for number in numbers(options, count)[part::parts]:
        outcome = one(options, number, usual)
        if options.calls != "any" and outcome.fault == "not reached" and not outcome.problem:
            break
        tell(outcome, options.verbose)
        bad += outcome.problem != ""
        ends["bad" if outcome.problem else outcome.end.split(":")[0]] += 1
    print(f"{options.mode}, {options.fit}, {'for %d ms' % options.lasts if options.lasts else 'once'}: {count} calls, of "
          + ", ".join(f"{many} {end}" for end, many in ends.most_common()))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
