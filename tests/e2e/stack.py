#!/usr/bin/env python3
"""The standard stack as it stands, and how `up` ends."""
import datetime
import pathlib
import shutil
import signal
import sys

from lib import procs
from lib.expect import check, contains, equal, wait_for
from lib.http import get
from lib.scenario import main, scenario
from lib.stack import Stack, Status

EXAMPLE = pathlib.Path(__file__).resolve().parents[2] / "config" / "examples" / "standard-stack"

# What SPEC says that `ps -o json` has: key to types. None is given where a value may be null.
NUMBER, TEXT = (int, float), (str,)
OPTIONAL_TEXT, OPTIONAL_NUMBER = (str, type(None)), (int, float, type(None))
DAEMON = {"pid": (int,), "version": TEXT, "uptime_s": NUMBER, "spec": (dict,)}
APP = {"name": TEXT, "desired": (int,), "ready": (int,), "state": TEXT, "reason": OPTIONAL_TEXT, "revision": (int,),
       "hold": OPTIONAL_TEXT, "replicas": (list,)}
REPLICA = {"id": TEXT, "ordinal": (int,), "revision": (int,), "state": TEXT, "reason": OPTIONAL_TEXT, "pid": (int, type(None)),
           "port": (int, type(None)), "address": OPTIONAL_TEXT, "restarts": (int,), "since": TEXT, "uptime_s": OPTIONAL_NUMBER,
           "cpu_percent": OPTIONAL_NUMBER, "memory_bytes": (int, type(None)), "in_flight": (int,), "requests": (int,),
           "next_start_s": OPTIONAL_NUMBER, "last_exit": (dict, type(None))}
LISTENER = {"name": TEXT, "bind": TEXT, "mode": TEXT, "app": TEXT, "connections": (int,), "requests": (int,)}
LAST_EXIT = {"code": (int, type(None)), "signal": OPTIONAL_TEXT, "reason": TEXT, "at": TEXT}


def has_shape(value: Status, shape: dict[str, tuple[type, ...]], what: str) -> None:
    for key, types in shape.items():
        check(key in value, f"{what} has no {key!r}")
        check(isinstance(value[key], types), f"{what}: {key} is {value[key]!r}")


def status_has_the_shape_of_the_contract(status: Status) -> None:
    equal(status["schema"], 1, "schema")
    has_shape(status["daemon"], DAEMON, "daemon")
    has_shape(status["daemon"]["spec"], {"path": TEXT, "revision": (int,), "error": OPTIONAL_TEXT}, "daemon.spec")
    for app in status["apps"]:
        has_shape(app, APP, app["name"])
        for replica in app["replicas"]:
            has_shape(replica, REPLICA, replica["id"])
            datetime.datetime.fromisoformat(replica["since"])
            check(replica["state"] in ("ready", "completed") or replica["reason"], f"{replica['id']} is not ready and has no reason")
            if replica["last_exit"]:
                has_shape(replica["last_exit"], LAST_EXIT, "last_exit")
    for listener in status["listeners"]:
        has_shape(listener, LISTENER, listener["name"])
    check(isinstance(status["jobs"], list), "jobs is no list")


def copy_of_the_standard_stack(stack: Stack) -> None:
    """Its own programs and keys; only the two port numbers are exchanged, for free ones."""
    shutil.copytree(EXAMPLE, stack.folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".muster", "__pycache__"))
    text = (EXAMPLE / "muster.toml").read_text(encoding="utf-8")
    check("127.0.0.1:8080" in text and "5440" in text, "the standard stack has other ports than it had")
    text = text.replace("127.0.0.1:8080", "127.0.0.1:<L0>").replace("= 5440", "= <N0>")
    (stack.folder / "muster.toml").write_text(stack.fill(text), encoding="utf-8")


@scenario
def standard_stack() -> None:
    with Stack() as stack:
        copy_of_the_standard_stack(stack)
        stack.up()
        status = stack.ready()
        status_has_the_shape_of_the_contract(status)
        counts = {app["name"]: (app["desired"], app["ready"], len(app["replicas"])) for app in status["apps"]}
        equal(counts, {"web": (4, 4, 4), "worker": (1, 1, 1), "db": (3, 3, 3)}, "replicas")
        db = next(app for app in status["apps"] if app["name"] == "db")
        equal([row["port"] for row in db["replicas"]], [stack.ports.numbered(i) for i in range(3)], "ports of db")
        for ordinal in range(3):
            check((stack.folder / f".muster/volumes/db/{ordinal}/data").is_dir(), f"db/{ordinal} has no volume")
        port = stack.ports.listen(0)
        answers = [get(port).replica for _ in range(8)]
        equal(sorted(answers), sorted([f"web/{i}" for i in range(4)] * 2), "two rounds over four replicas")
        equal(answers[:4], answers[4:], "the order of round robin")
        wait_for("the worker counts in the db", lambda: get(port, "/ticks").status == 200)
        pids = set(stack.pids().values())
        equal(len(pids), 8, "processes")
        stack.end(signal.SIGINT, code=130)
        check(not [pid for pid in pids if procs.alive(pid)], "a replica outlives Ctrl-C")
        stack.nothing_left()
        contains(stack.output(), ["web", "db", "worker"], "the merged logs")


SLOW_TO_STOP = """
[app.stubborn]
run  = "<REPLICA> {port} ignore-term"
port = <N0>
stop = { timeout = "300s" }
"""


@scenario
def second_interrupt_ends_at_once() -> None:
    with Stack() as stack:
        stack.write(SLOW_TO_STOP)
        daemon = stack.up()
        stack.ready()
        pid = stack.pids()["stubborn/0"]
        daemon.send_signal(signal.SIGINT)
        stack.in_state("stubborn/0", "stopping")
        equal(daemon.poll(), None, "the daemon waits for an app that ignores TERM")
        check(procs.alive(pid), "the app was killed before stop.timeout")
        stack.end(signal.SIGINT, code=130)
        stack.nothing_left()


def ends_with(number: int, code: int) -> None:
    with Stack() as stack:
        stack.write('[app.web]\nrun = "<REPLICA> {port}"\nlisten = <L0>\n')
        stack.up()
        stack.ready()
        stack.end(number, code)
        stack.nothing_left()


@scenario
def up_ends_by_term() -> None:
    ends_with(signal.SIGTERM, 143)


@scenario
def up_ends_by_hangup() -> None:
    ends_with(signal.SIGHUP, 129)


@scenario
def up_ends_when_all_is_done() -> None:
    """0 when every app completed, 1 when one failed; a bad spec 65, none 66."""
    for exits, code in ((0, 0), (3, 1)):
        with Stack() as stack:
            stack.write(f'[app.once]\nrun = "sh -c \'exit {exits}\'"\nrestart = "never"\n')
            daemon = stack.up(wait=False)
            wait_for("up ends by itself", lambda daemon=daemon: daemon.poll() is not None)
            equal(daemon.returncode, code, f"exit code of up after an app exits {exits}")
            stack.nothing_left()
    with Stack() as stack:
        stack.write("[app.web]\nrun = 7\n")
        run = stack.run("up", code=65)
        contains(run.stderr, ["muster.toml:2:", "error", "run = 7"], "the error of a bad spec")
        (stack.folder / "muster.toml").unlink()
        contains(stack.run("up", code=66).stderr, "muster.toml", "the error of a missing spec")


@scenario
def up_of_some_apps() -> None:
    """`up APP`: that app and what it needs."""
    with Stack() as stack:
        stack.write('[app.web]\nrun = "<REPLICA> {port}"\nlisten = <L0>\nafter = ["db"]\n'
                    '[app.db]\nrun = "<REPLICA> {port}"\nport = <N0>\n[app.other]\nrun = "<REPLICA> {port}"\n')
        stack.up("web")
        stack.ready("web", "db")
        check(not stack.pids().get("other/0"), "an app that was not asked for runs")


@scenario
def two_daemons_on_one_state_folder() -> None:
    with Stack() as stack:
        stack.write('[app.web]\nrun = "<REPLICA> {port}"\nport = <N0>\n')
        daemon = stack.up()
        stack.ready()
        before = stack.pids()
        second = stack.run("up", "--socket", str(stack.folder / "run" / "second"), code=None)
        check(second.returncode not in (0, 130), f"the second daemon exits {second.returncode}")
        contains(second.stdout + second.stderr, str(daemon.pid), "the second daemon names the first's pid")
        equal(stack.pids(), before, "pids after the second daemon")
        (stack.folder / "other").symlink_to(stack.folder / ".muster")
        third = stack.run("up", "--socket", str(stack.folder / "run" / "third"), "--state-dir", "other", code=None)
        check(third.returncode not in (0, 130), f"the daemon in a link to the folder exits {third.returncode}")
        contains(third.stdout + third.stderr, str(daemon.pid), "the daemon in a link to the folder names the first's pid")
        equal(stack.pids(), before, "pids after the third daemon")


if __name__ == "__main__":
    sys.exit(main())
