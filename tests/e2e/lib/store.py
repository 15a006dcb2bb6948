"""Databases of three with a volume each: what is done to such a stack, and what each ordinal must find again."""
import dataclasses
import json
import os
import shutil
import signal
import typing

from lib.expect import Skipped, check, equal
from lib.stack import Stack, Status


def needs(*programs: str) -> None:
    for program in programs:
        if not shutil.which(program):
            raise Skipped(f"{program} is not installed")


@dataclasses.dataclass
class Store:
    app: str
    spec: str
    fill: typing.Callable[[Stack], None]                    # each of the three with data of its own
    holds: typing.Callable[[Stack, range, str], None]       # these have theirs
    is_empty: typing.Callable[[Stack, int], None]           # this one has none


def listed(stack: Stack, *of: str) -> dict[str, Status]:
    """The rows of `muster volumes -o json`, by name."""
    rows = json.loads(stack.run("volumes", *of, "-o", "json").stdout)["volumes"]
    return {f"{row['app']}/{row['ordinal']}/{row['name']}": row for row in rows}


def begin(stack: Stack, store: Store) -> None:
    """Each of the three has data of its own."""
    stack.write(store.spec)
    stack.daemon()
    stack.ready()
    store.fill(stack)


def all_are_killed(stack: Stack, store: Store) -> None:
    """kill -9 of every main process, and until all are there again."""
    for pid in stack.pids(store.app).values():
        os.kill(pid, signal.SIGKILL)
    stack.until(store.app, lambda app: app["ready"] == 3 and all(row["restarts"] == 1 for row in app["replicas"]), "all restarted")
    store.holds(stack, range(3), "after kill -9 of all")


def scaled_down_and_up(stack: Stack, store: Store) -> None:
    app = store.app
    stack.run("scale", f"{app}=1")
    equal({name: row["state"] for name, row in listed(stack).items()},
          {f"{app}/0/data": "in use", f"{app}/1/data": "idle", f"{app}/2/data": "idle"}, "after scale 1")
    store.holds(stack, range(1), "after scale 1")
    stack.run("scale", f"{app}=3")
    store.holds(stack, range(3), "after scale 3")


def renamed_and_back(stack: Stack, store: Store) -> None:
    app = store.app
    stack.edit(f"[app.{app}]", "[app.other]")
    stack.run("apply")
    stack.ready("other")
    store.is_empty(stack, 0)
    equal([row["state"] for row in listed(stack, app).values()], ["orphan"] * 3, "volumes of the name that is gone")
    stack.edit("[app.other]", f"[app.{app}]")
    stack.run("apply")
    stack.ready(app)
    store.holds(stack, range(3), "after a rename and back")


def a_new_daemon(stack: Stack, store: Store) -> None:
    stack.end(signal.SIGTERM, code=0)
    stack.nothing_left()
    stack.daemon()
    stack.ready()
    store.holds(stack, range(3), "after a restart of the daemon")


def upgraded(stack: Stack, store: Store) -> None:
    stack.run("upgrade")
    last = f"{store.app}/2"
    os.kill(stack.pids()[last], signal.SIGKILL)
    stack.until(last, lambda row: row["restarts"] == 1 and row["state"] == "ready", "started again by the next image")
    store.holds(stack, range(3), "after an upgrade")


def each_finds_its_own_data(stack: Stack, store: Store) -> None:
    """kill -9, scale 3 to 1 to 3, the app renamed and back, a new daemon, an upgrade, a rolling restart."""
    stack.muster = str(shutil.copy2(Stack.muster, stack.folder / "muster"))  # what is installed
    begin(stack, store)
    for event in (all_are_killed, scaled_down_and_up, renamed_and_back, a_new_daemon, upgraded):
        event(stack, store)
    stack.run("restart", store.app)
    store.holds(stack, range(3), "after a rolling restart")
    check(len(listed(stack)) == 6, f"nothing is forgotten: {listed(stack)}")
