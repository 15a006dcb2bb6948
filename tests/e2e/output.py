#!/usr/bin/env python3
"""The output of replicas when the daemon is killed, and what apps do with their standard output."""
import os
import re
import signal
import subprocess
import sys

from lib import procs
from lib.expect import Skipped, check, equal, wait_for
from lib.scenario import main, scenario
from lib.stack import Stack

# Counts on standard output as fast as it can, a number a line, and notes in a file how far it has got.
COUNTER = """
import os, sys
life = open("<DIR>/lives", "a+")
life.write("x")
life.flush()
life.seek(0)
name = len(life.read())
done = os.open("<DIR>/done.%d" % name, os.O_RDWR | os.O_CREAT)
number = 0
while True:
    text = "".join("%d:%d\\n" % (name, n) for n in range(number, number + 50))
    os.write(1, text.encode())
    number += 50
    os.pwrite(done, b"%d" % number, 0)
"""


def numbers(stack: Stack, name: int) -> list[int]:
    texts = []
    files = sorted((stack.folder / ".muster/log").glob("count-0.log*"), key=lambda path: -int(path.name.partition(".log")[2].strip(".") or 0))
    for path in files:
        texts += re.findall(rf" out {name}:(\d+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return [int(text) for text in texts]


def done(stack: Stack, name: int) -> int:
    path = stack.folder / f"done.{name}"
    return int(path.read_text() or 0) if path.exists() else 0


COUNTING = '[app.count]\nrun = "python3 <DIR>/count.py"\nlog = { rotate = "200KiB", keep = 1000 }\n'


def kill(daemon: "subprocess.Popen[bytes]") -> None:
    daemon.kill()
    daemon.wait()


@scenario
def a_killed_daemon_loses_no_line() -> None:
    """kill -9 again and again under a replica that writes on, and is killed itself while no daemon lives: all that it had
    written is in the files once, in order."""
    with Stack() as stack:
        (stack.folder / "count.py").write_text(stack.fill(COUNTER), encoding="utf-8")
        stack.write(COUNTING)
        for _ in range(6):
            before = done(stack, 1)
            daemon = stack.daemon()
            wait_for("it counts", lambda: done(stack, 1) > before + 20000)
            pid = stack.pids()["count/0"]
            kill(daemon)
        check(procs.alive(pid), "the replica lives on")
        check(not (stack.folder / "done.2").exists(), "it was started twice")
        os.kill(pid, signal.SIGKILL)
        wait_for("the replica is gone", lambda: not procs.alive(pid))
        stack.write('[app.other]\nrun = "sleep 1000"\n')
        stack.daemon()
        stack.ready()
        found = numbers(stack, 1)
        equal(found, list(range(len(found))), "its lines")
        check(len(found) >= done(stack, 1), f"it wrote {done(stack, 1)} lines, {len(found)} are there")


@scenario
def a_replica_that_ends_with_its_daemon_leaves_whole_lines() -> None:
    """on_crash = "stop": what was read is written, once, in order; what lay in the FIFO went with the replica."""
    with Stack() as stack:
        (stack.folder / "count.py").write_text(stack.fill(COUNTER), encoding="utf-8")
        stack.write(COUNTING + f'[daemon]\nthreads = 2\non_crash = "stop"\nport_range = "{stack.ports.auto_range()}"\n')
        lives = 4
        for life in range(1, lives + 1):
            daemon = stack.daemon()
            wait_for("it counts", lambda life=life: done(stack, life) > 20000)
            kill(daemon)
        stack.daemon()
        stack.ready()
        for life in range(1, lives + 1):
            found = numbers(stack, life)
            equal(found, list(range(len(found))), f"the lines of life {life}")
            check(len(found) > 10000, f"only {len(found)} lines of life {life}")


@scenario
def standard_output_is_opened_anew() -> None:
    """/dev/stdout and /dev/stderr, by the app's own user and after it has become another, as nginx's workers do."""
    with Stack() as stack:
        stack.write("""
[app.own]
run = "sh -c 'echo one > /dev/stdout; echo two > /dev/stderr; echo three > /proc/self/fd/1; exec sleep 1000'"
""")
        stack.daemon()
        stack.ready()
        wait_for("all lines are there", lambda: stack.run("logs", "own").stdout.count("\n") >= 3)
        check({"one", "two", "three"} <= set(stack.run("logs", "own").stdout.split()), "a line is missing")
        if os.getuid() != 0:
            raise Skipped("only root can become somebody else")
        stack.write("""
[app.other]
run  = "sh -c 'echo one > /dev/stdout; echo two > /dev/stderr; exec sleep 1000'"
user = "nobody"
dir  = "/"
[app.changes]
run = "setpriv --reuid=65534 --regid=65534 --clear-groups sh -c 'echo one > /dev/stdout; echo two > /dev/stderr; exec sleep 1000'"
""")
        stack.run("reload")
        stack.ready()
        for app in ("other", "changes"):
            wait_for(f"all lines of {app} are there", lambda: {"one", "two"} <= set(stack.run("logs", app).stdout.split()))


@scenario
def the_keeper_is_started_again() -> None:
    """What holds the output while no daemon lives: one small process, replaced when it is killed, gone with the daemon."""
    with Stack() as stack:
        stack.write('[app.web]\nrun = "sleep 1000"\nreplicas = 2\n')
        stack.daemon()
        stack.ready()
        first = procs.keepers(os.getpid())
        equal(len(first), 1, "keepers of two replicas")
        os.kill(min(first), signal.SIGKILL)
        wait_for("another is there", lambda: procs.keepers(os.getpid()) - first)


if __name__ == "__main__":
    sys.exit(main())
