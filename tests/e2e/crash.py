#!/usr/bin/env python3
"""The daemon dies, at any moment; what it looks after does not notice, and the next one goes on with it."""
import contextlib
import datetime
import json
import os
import pathlib
import random
import re
import resource
import signal
import subprocess
import sys
import time

from lib import procs
from lib.expect import Failed, check, contains, equal, wait_for
from lib.http import Connection, get
from lib.scenario import main, scenario
from lib.stack import Stack

SPEC = """
[app.web]
run      = "<REPLICA> {port}"
replicas = 3
listen   = "127.0.0.1:<L0>"
health   = { http = "/healthz", every = "200ms" }

[app.db]
run      = "python3 <APPS>/tenant.py {volume} <DIR>/clashes"
replicas = 2
volume   = "data"

[app.once]
run     = "sh -c 'echo >> <DIR>/once'"
restart = "never"
"""


def crash(stack: Stack) -> None:
    daemon = stack.daemon_process
    assert daemon is not None
    daemon.kill()
    daemon.wait()


def replicas_of(stack: Stack) -> set[int]:
    """Living processes of the stack's apps, whoever their parent is."""
    return {pid for pid in procs.descendants(os.getpid()) if str(stack.folder) in procs.command(pid) or "e2e_replica" in procs.command(pid)}


def no_clashes(stack: Stack) -> None:
    clashes = stack.folder / "clashes"
    check(not clashes.exists(), f"two tenants: {clashes.read_text(encoding='utf-8') if clashes.exists() else ''}")


@scenario
def a_new_daemon_takes_over() -> None:
    """The same processes, ports and holds; one that has died meanwhile is restarted, a stranger is left alone."""
    with Stack() as stack:
        stack.write(SPEC)
        stack.daemon()
        stack.ready("web", "db")
        stack.in_state("once", "completed")
        stack.run("scale", "web=2")
        stack.run("drain", "web/1")
        before = stack.pids()
        rows = {row["id"]: row for row in stack.replicas("web")}
        crash(stack)
        check(all(procs.alive(pid) for pid in before.values()), "the replicas live on without the daemon")
        stack.daemon()
        equal(stack.pids(), before, "the processes")
        row = {row["id"]: row for row in stack.replicas("web")}["web/0"]
        equal((row["address"], row["restarts"], row["revision"]), (rows["web/0"]["address"], 0, 1), "its row")
        # The kernel counts a start in ticks of 10 ms: before a second's edge or behind it.
        since = [datetime.datetime.fromisoformat(one["since"].replace("Z", "+00:00")) for one in (rows["web/0"], row)]
        check(abs(since[1] - since[0]) <= datetime.timedelta(seconds=1), f"since {since[0]}, then {since[1]}")
        equal(stack.one("web/1")["state"], "draining", "the drain that was asked for")
        contains(stack.app("web")["hold"], "scaled to 2 by hand", "the hold")
        equal(stack.app("once")["state"], "completed", "what has ended for good")
        equal(get(stack.ports.listen(0), "/").replica, "web/0", "who answers")
        # one dies while there is no daemon; its number is given to somebody else as far as the record can tell
        crash(stack)
        os.kill(before["db/1"], signal.SIGKILL)
        wait_for("db/1 is gone", lambda: not procs.alive(before["db/1"]))
        record = next(path for path in (stack.folder / ".muster/replicas").glob("*.mark") if f'"pid":{before["db/0"]},' in path.read_text())
        stranger = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        try:
            mark = json.loads(record.read_text())
            aside = {"pid": stranger.pid, **{key: value for key, value in mark.items() if key != "pid"}}
            os.kill(before["db/0"], signal.SIGKILL)
            record.write_text(json.dumps(aside, separators=(",", ":")).ljust(255) + "\n")
            stack.daemon()
            stack.until("db", lambda app: app["ready"] == 2, "has two again")
            after = stack.pids()
            check(after["db/0"] not in (before["db/0"], stranger.pid) and after["db/1"] != before["db/1"], f"db was started anew: {after}")
            equal({key: pid for key, pid in after.items() if key.startswith("web")}, {key: pid for key, pid in before.items() if key.startswith("web")}, "web")
            check(procs.alive(stranger.pid), "whoever has the number now was killed")
        finally:
            stranger.kill()
            stranger.wait()
        equal((stack.folder / "once").read_text().count("\n"), 1, "runs of an app that ends")
        no_clashes(stack)
        stack.run("down")
        equal(list((stack.folder / ".muster/replicas").iterdir()), [], "records after an orderly end")


@scenario
def a_new_daemon_finds_another_file() -> None:
    """What the file no longer has is ended; what it has anew is rolled out; jobs under way are theirs still."""
    with Stack() as stack:
        stack.write(SPEC + '\n[job.work]\nrun = "sleep 1000"\n\n[job.gone]\nrun = "sleep 1000"\n')
        stack.daemon()
        stack.ready("web", "db")
        wait_for("both jobs run", lambda: all(job["state"] == "running" for job in stack.ps()["jobs"]))
        before = stack.pids()
        sleeps = {pid for pid in procs.descendants(os.getpid()) if procs.command(pid) == "sleep 1000"}
        equal(len(sleeps), 2, "runs of jobs")
        crash(stack)
        stack.write(SPEC.replace("replicas = 3", "replicas = 3\nenv = { X = \"1\" }").replace("[app.db]", "[app.store]")
                    + '\n[job.work]\nrun = "sleep 1000"\n')
        stack.daemon()
        stack.ready("web", "store")
        wait_for("what was removed has ended", lambda: not [app for app in stack.ps()["apps"] if app["name"] == "db"])
        check(not any(procs.alive(before[key]) for key in before), "an old process runs on")
        left = {pid for pid in procs.descendants(os.getpid()) if procs.command(pid) == "sleep 1000"}
        equal(len(left), 1, "runs of the job that is left")
        check(left < sleeps, "the run under way was started anew")
        no_clashes(stack)


@scenario
def what_has_ended_for_good_is_not_run_again() -> None:
    """The daemon dies right after an app has ended, when the state on the disk does not know of it yet."""
    with Stack() as stack:
        stack.write('[app.once]\nrun = "sh -c \'echo >> <DIR>/once\'"\nrestart = "never"\n')
        stack.daemon()
        stack.in_state("once", "completed")
        runs = lambda: (stack.folder / "once").read_text(encoding="utf-8").count("\n")  # noqa: E731
        for turn in range(2, 8):
            stack.run("restart", "once", "--no-wait")
            wait_for(f"run {turn}", lambda: runs() == turn)
            crash(stack)
            stack.daemon()
            # Where nobody saw the end, its status is not known.
            stack.until("once", lambda app: app["state"] in ("completed", "failed"), "has ended")
            equal(runs(), turn, "runs of an app that ends for good")


@scenario
def leftovers_are_ended_by_the_manager() -> None:
    """ExecStopPost= of the units: after a stop that timed out nothing stays, after a crash all do."""
    with Stack() as stack:
        stack.write(SPEC)
        stack.daemon()
        stack.ready("web", "db")
        state = str(stack.folder / ".muster")
        contains(stack.run("end-leftovers", "--state-dir", state, code=1).stderr, "in use by another muster", "beside a living daemon")
        before = set(stack.pids().values())
        crash(stack)
        stack.environment["SERVICE_RESULT"] = "signal"
        stack.run("end-leftovers", "--state-dir", state)
        check(all(procs.alive(pid) for pid in before), "replicas of a crash were ended")
        stack.environment["SERVICE_RESULT"] = "timeout"
        contains(stack.run("end-leftovers", "--state-dir", state).stdout, "5 replicas", "what is said")
        check(not any(procs.alive(pid) for pid in before), "a replica is left")
        del stack.environment["SERVICE_RESULT"]
        stack.daemon()
        stack.ready("web", "db")
        no_clashes(stack)


# As SPEC, with processes that come back at once, and a log that is full again and again.
RESTLESS = SPEC.replace("replicas = ", 'restart = { backoff = "20ms", max_backoff = "500ms" }\nreplicas = ').replace(
    "<DIR>/clashes\"", '<DIR>/clashes <DIR>/receipts"\nlog = { rotate = "16KiB", keep = 1000 }')


def disturb(stack: Stack, luck: random.Random, turn: int) -> None:
    """Something that starts, ends or replaces processes, or moves files; nobody waits for it."""
    what = luck.randrange(7)
    with contextlib.suppress(subprocess.TimeoutExpired):
        if what == 0:
            stack.write(RESTLESS.replace("replicas = 3", f'replicas = 3\nenv = {{ TURN = "{turn}" }}'))
            stack.run("reload", "--no-wait", code=None)
        elif what == 1:
            stack.write(RESTLESS.replace("[app.db]", f'[app.db]\nenv = {{ TURN = "{turn}" }}'))
            stack.run("reload", "--no-wait", code=None)
        elif what == 2:
            stack.run("scale", f"web={luck.randrange(1, 5)}", "--no-wait", code=None)
        elif what == 3:
            stack.run("restart", luck.choice(["db", "web"]), "--no-wait", code=None)
        elif what == 4:
            stack.run("stop" if luck.randrange(2) else "start", "db", "--no-wait", code=None)
        elif what == 5:
            os.kill(stack.daemon_process.pid, signal.SIGUSR1)  # type: ignore[union-attr]
        else:
            for pid in list(replicas_of(stack))[:1]:
                procs.kill_quietly(pid)


def settled(stack: Stack) -> bool:
    status = stack.ps_or_none()
    if status is None:
        return False
    for app in status["apps"]:
        if app["name"] in ("web", "db"):
            fine = app["state"] in ("ready", "stopped") and len([row for row in app["replicas"] if row["pid"]]) == (0 if app["state"] == "stopped" else app["desired"])
            if not fine:
                return False
    return True


def give_its_number_to(stack: Stack, luck: random.Random, stranger: int) -> None:
    """While no daemon lives: a replica ends, and its record says the number of a process that has nothing to do with it."""
    marks = [(path, json.loads(path.read_text())) for path in sorted((stack.folder / ".muster/replicas").glob("*.mark"))]
    marks = [(path, mark) for path, mark in marks if mark["pid"] != stranger]  # an end that the last daemon could not take off the records
    if not marks:
        return
    path, mark = luck.choice(marks)
    procs.kill_quietly(mark["pid"])
    path.write_text(json.dumps({**mark, "pid": stranger}, separators=(",", ":")).ljust(255) + "\n")


def lines_of(stack: Stack) -> dict[str, list[int]]:
    """What is in the files of db, by the process that said it, in the order of the files."""
    found: dict[str, list[int]] = {}
    for ordinal in (0, 1):
        files = sorted((stack.folder / ".muster/log").glob(f"db-{ordinal}.log*"), key=lambda path: -int(path.name.partition(".log")[2].strip(".") or 0))
        for path in files:
            for name, number in re.findall(r" out (\d+-\d+) line (\d+)$", path.read_text(encoding="utf-8"), re.MULTILINE):
                found.setdefault(name, []).append(int(number))
    return found


def no_line_is_lost(stack: Stack) -> int:
    """Every line that a process of db has printed is there once, in its order; each counts a line before it prints it."""
    found, all_lines = lines_of(stack), 0
    for receipt in (stack.folder / "receipts").iterdir():
        numbers = found.get(receipt.name, [])
        equal(numbers, list(range(1, len(numbers) + 1)), f"the lines of {receipt.name}")
        counted = int(receipt.read_text() or 0)
        check(len(numbers) >= counted - 1, f"{receipt.name} has printed {counted} lines, and {len(numbers)} are there")
        all_lines += len(numbers)
    return all_lines


def crash_again_and_again(times: int, seed: int) -> None:
    luck = random.Random(seed)
    slowest = 0.0
    with Stack() as stack:
        stranger = subprocess.Popen(["sleep", "100000"], start_new_session=True)
        try:
            (stack.folder / "receipts").mkdir()
            stack.write(RESTLESS)
            stack.daemon()
            stack.ready("web", "db")
            for turn in range(times):
                disturb(stack, luck, turn)
                time.sleep(luck.random() * luck.choice([0.02, 0.3]))  # the moment is the input
                crash(stack)
                if luck.randrange(8) == 0:
                    give_its_number_to(stack, luck, stranger.pid)
                began = time.monotonic()
                stack.daemon()
                try:
                    wait_for(f"turn {turn}: what is wanted runs", lambda: settled(stack), seconds=20)
                except Failed:
                    print("--- processes: " + procs.describe(replicas_of(stack)))
                    raise
                slowest = max(slowest, time.monotonic() - began)
                told = set(stack.pids().values())
                strays = replicas_of(stack) - told
                wait_for(f"turn {turn}: nobody else runs: {procs.describe(strays)}", lambda: not (replicas_of(stack) - set(stack.pids().values())), seconds=5)
                no_clashes(stack)
                check(procs.alive(stranger.pid), f"turn {turn}: whoever has the number of a replica now was killed")
            equal((stack.folder / "once").read_text().count("\n"), 1, "runs of an app that ends")
            stack.run("down")
            lines = no_line_is_lost(stack)
            check(slowest < 10, f"what is wanted runs only {slowest:.1f} s after a crash")
        finally:
            stranger.kill()
            stranger.wait()
    print(f"{times} crashes: settled again within {slowest:.2f} s; {lines} lines, none lost or twice")


@scenario
def crashes_at_any_moment() -> None:
    """kill -9 in the middle of starts, rollouts, scaling, stops: no clash, no duplicate, no orphan."""
    crash_again_and_again(25, 1)


@scenario
def two_hundred_crashes() -> None:
    crash_again_and_again(200, 2)


@scenario
def more_replicas_than_descriptors_at_first() -> None:
    """Started with a small soft limit, as systemd does: all replicas are taken over, and clients are not held to it either."""
    with Stack() as stack:
        stack.write('[app.web]\nrun = "<REPLICA> {port}"\nlisten = <L0>\n\n[app.many]\nrun = "sleep 1000"\nreplicas = 60\n')
        before = ["prlimit", "--nofile=128:8192", "--"]
        stack.start("daemon", "-f", "muster.toml", before=before)
        stack.ready("web", "many")
        pids = stack.pids()
        crash(stack)
        daemon = stack.start("daemon", "-f", "muster.toml", before=before)
        equal(stack.pids(), pids, "the processes")
        limits = {resource.prlimit(pid, resource.RLIMIT_NOFILE) for pid in pids.values()}
        equal(limits, {(128, 8192)}, "the replicas' own limit")
        with contextlib.ExitStack() as clients:
            for _ in range(200):
                clients.enter_context(Connection(stack.ports.listen(0)))
            equal(get(stack.ports.listen(0), "/").status, 200, "a request beside them")
            wait_for("all are taken", lambda: stack.ps()["listeners"][0]["connections"] >= 200)
        os.kill(pids["many/7"], signal.SIGKILL)
        stack.until("many", lambda app: app["ready"] == 60 and stack.pids().get("many/7") not in (None, pids["many/7"]), "has all again")
        equal(resource.prlimit(stack.pids()["many/7"], resource.RLIMIT_NOFILE), (128, 8192), "the limit of one that was started since")
        check(daemon.poll() is None, "the daemon is gone")


@scenario
def what_is_to_end_with_its_daemon_is_edited_between_two_crashes() -> None:
    """A process ends with its daemon or outlives it as the file said when it was started, whatever it says since."""
    spec = '[daemon]\non_crash = "keep"\nport_range = "<RANGE>"\n\n[defaults]\nuser = "root"\n\n[app.old]\nrun = "sleep 1000"\nvolume = "data"\n'
    if os.getuid() != 0:
        spec = spec.replace('[defaults]\nuser = "root"\n', "")
    more = '\n[app.new]\nrun = "sleep 1001"\n'
    with Stack() as stack:
        spec = spec.replace("<RANGE>", stack.ports.auto_range())
        stack.write(spec)
        stack.daemon()
        stack.ready("old")
        old = stack.pids()["old/0"]
        crash(stack)
        stack.write(spec.replace("keep", "stop") + more)
        stack.daemon()
        stack.ready("old", "new")
        pids = stack.pids()
        equal(pids["old/0"], old, "what the first one started")
        crash(stack)
        wait_for("the second one's own ended with it", lambda: not procs.alive(pids["new/0"]))
        check(procs.alive(old), "the first one's ended")
        stack.daemon()
        stack.ready("old", "new")
        equal(stack.pids()["old/0"], old, "what the first one started, after the second crash")
        crash(stack)
        stack.write(spec + more)
        stack.daemon()
        stack.ready("old", "new")
        equal(stack.pids()["old/0"], old, "what the first one started, after the third crash")


def damage(path: pathlib.Path, luck: random.Random) -> str:
    """Cuts it somewhere, or flips one of its bits."""
    content = bytearray(path.read_bytes())
    at = luck.randrange(len(content))
    if luck.randrange(3) == 0:
        path.write_bytes(content[:at])
        return f"{path.name} cut at {at}"
    bit = luck.randrange(8)
    content[at] ^= 1 << bit
    path.write_bytes(content)
    return f"{path.name}, byte {at}, bit {bit} flipped"


@scenario
def damaged_files_of_a_killed_daemon() -> None:
    """Whatever of its state, records or list of volumes is damaged: the next daemon starts, nobody is taken for another, nothing is left over."""
    luck = random.Random(3)
    adopted = 0
    with Stack() as stack:
        stranger = subprocess.Popen(["sleep", "100000"], start_new_session=True)
        try:
            stack.write(SPEC.replace("replicas = ", 'restart = { backoff = "20ms", max_backoff = "500ms" }\nreplicas = '))
            stack.daemon()
            stack.ready("web", "db")
            state = stack.folder / ".muster"
            for turn in range(60):
                before = stack.pids()
                crash(stack)
                kinds = [[state / "state.json"], [state / "state.json.prev"], [state / "volumes.json"], [state / "replicas/daemon"],
                         [path for path in (state / "replicas").iterdir() if path.name.isdigit()], list((state / "replicas").glob("*.mark"))]
                there = [path for path in sorted(kinds[turn % len(kinds)]) if path.exists() and path.stat().st_size]
                check(there, f"turn {turn}: nothing to damage among {sorted(path.name for path in state.rglob('*'))}")
                what = f"turn {turn}: {damage(luck.choice(there), luck)}"
                stack.daemon()
                wait_for(f"{what}: what is wanted runs", lambda: settled(stack), seconds=20)
                wait_for(f"{what}: nobody else runs", lambda: not (replicas_of(stack) - set(stack.pids().values())), seconds=10)
                after = stack.pids()
                check(len({pid for key, pid in after.items() if before.get(key) != pid}) <= (len(before) if "daemon" in what else 1),
                      f"{what}: more than what it was of was started anew: {before}, {after}")
                adopted += len([key for key in before if after.get(key) == before[key]])
                no_clashes(stack)
                check(procs.alive(stranger.pid), f"{what}: a stranger was killed")
                equal(get(stack.ports.listen(0), "/").status, 200, f"{what}: a request")
            equal((stack.folder / "once").read_text().count("\n"), 1, "runs of an app that ends")
        finally:
            stranger.kill()
            stranger.wait()
    print(f"60 damaged files: {adopted} times a process was taken over")


if __name__ == "__main__":
    sys.exit(main())
