#!/usr/bin/env python3
"""Releases that are no good: they go back by themselves, and by hand."""
import concurrent.futures
import json
import re
import subprocess
import sys
import threading

from lib.expect import check, contains, equal, wait_for
from lib.http import Broken, Connection, get
from lib.load import Load
from lib.scenario import main, scenario
from lib.stack import Stack

WEB = """
[app.web]
run      = "<REPLICA> {port} text=one"
replicas = 4
listen   = "127.0.0.1:<L0>"
health   = "/healthz"
update   = { deadline = "3s" }
"""


def texts(stack: Stack) -> set[str]:
    return {get(stack.ports.listen(0)).text.split()[1] for _ in range(8)}


def applied_while_counting(stack: Stack) -> tuple[int, str, int]:
    """`apply` in the background: its exit code, what it said, and the fewest ready replicas meanwhile."""
    fewest = 4
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        apply = pool.submit(stack.run, "apply", code=None)
        while not apply.done():
            fewest = min(fewest, stack.app("web")["ready"])
        done = apply.result()
    return done.returncode, done.stdout + done.stderr, fewest


@scenario
def a_release_that_never_listens_goes_back() -> None:
    """apply exits 1, no request fails, at least 3 of 4 are ready all the time; it is not tried again, also not by a restart."""
    with Stack() as stack:
        stack.write(WEB)
        stack.daemon()
        stack.ready()
        with Load(stack.ports.listen(0), keep=8, fresh=4) as load:
            stack.edit("text=one", "text=two start=600000")
            code, said, fewest = applied_while_counting(stack)
        equal(code, 1, "exit code of apply")
        contains(said, ["revision 2 failed", "within 3.0 s", "back to revision 1"], "apply")
        equal(load.failures[:10], [], "failed requests")
        check(load.done > 20, "no traffic")
        check(fewest >= 3, f"{fewest} of 4 were ready")
        stack.ready("web")
        equal({row["revision"] for row in stack.replicas("web")}, {1}, "revisions that run")
        equal(texts(stack), {"one"}, "what answers")
        contains(stack.app("web")["reason"], "revision 2 failed", "ps")
        before = stack.pids()
        contains(stack.run("reload", code=1).stderr, "apply --retry", "reload")
        equal(stack.pids(), before, "pids after another reload")
        stack.end(code=0)
        stack.daemon()
        stack.ready("web")
        equal(texts(stack), {"one"}, "what answers after a restart of the daemon")
        contains(stack.app("web")["reason"], "revision 2 failed", "ps after a restart of the daemon")
        stack.edit("text=two start=600000", "text=three")
        stack.run("apply")
        equal(texts(stack), {"three"}, "what answers after a good edit")
        equal(stack.app("web")["reason"], None, "ps after a good edit")


@scenario
def a_release_that_answers_errors_goes_back() -> None:
    """Ready, but half of what it answers is 500: the balancer's counts tell."""
    with Stack() as stack:
        stack.write(WEB)
        stack.daemon()
        stack.ready()
        with Load(stack.ports.listen(0), keep=8, fresh=4) as load:
            stack.write(WEB.replace('deadline = "3s"', 'deadline = "10m", min_ready = "10s"').replace("text=one", "text=two answer=500"))
            done = stack.run("apply", code=1)
        contains(done.stderr, ["revision 2 failed: it answers worse", "back to revision 1"], "apply")
        check(load.done > 100, "no traffic")
        wait_for("only the old one runs", lambda: {row["revision"] for row in stack.replicas("web")} == {1} and len(stack.replicas("web")) == 4)
        equal(texts(stack), {"one"}, "what answers")


class Tunnels:
    """Clients that hold an upgraded connection each, and open another when it is ended."""

    def __init__(self, port: int, count: int) -> None:
        self.port = port
        self.opened = self.echoed = 0
        self.failures: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(count)]

    def __enter__(self) -> "Tunnels":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _run(self) -> None:
        while not self._stop.is_set():
            with Connection(self.port) as client:
                client.send("GET", "/", fields={"Connection": "Upgrade", "Upgrade": "echo"})
                status = client.answer().status
                if status != 101:
                    self.failures.append(f"status {status}")
                    continue
                self.opened += 1
                try:
                    while not self._stop.wait(0.05):
                        client.socket.sendall(b"hello")
                        check(client.exactly(5) == b"hello", "another echo")
                        self.echoed += 1
                except (OSError, Broken):
                    continue  # the replica went, and the tunnel with it


def fewest_ready(events: str, app: str) -> int:
    """By the event log, from the moment on when all were ready first."""
    ready: set[int] = set()
    most, fewest = 0, 1000
    for line in events.splitlines():
        event = json.loads(line)
        if event.get("app") != app:
            continue
        if event["kind"] == "ready":
            ready.add(event["instance"])
        elif event["kind"] in ("stopping", "unready", "exited"):
            ready.discard(event["instance"])
        most = max(most, len(ready))
        if most >= {"web": 4, "one": 1}[app]:
            fewest = min(fewest, len(ready))
    return fewest


def many_updates(count: int) -> None:
    with Stack() as stack, open(stack.folder / "events.out", "wb") as out:
        stack.write(WEB.replace('update   = { deadline = "3s" }', 'stop     = { drain = "300ms" }') +
                    '[app.one]\nrun = "<REPLICA> {port} text=one"\nlisten = "127.0.0.1:<L1>"\nhealth = "/healthz"\nstop = { drain = "300ms" }\n')
        stack.daemon()
        stack.ready()
        follow = subprocess.Popen([stack.muster, "events", "--follow", "-o", "json"], cwd=stack.folder, env=stack.environment, stdout=out)
        try:
            first, second = stack.ports.listen(0), stack.ports.listen(1)
            with Load(first, keep=32, fresh=8, pause=0.05) as web, Tunnels(first, 4) as tunnels, Load(second, keep=8, fresh=2, pause=0.05) as one, Tunnels(second, 2) as others:
                for number in range(count):
                    text = (stack.folder / "muster.toml").read_text()
                    stack.write(re.sub(r"text=\w+", f"text=n{number}", text))
                    stack.run("apply")
            last = stack.events()[-1]["seq"]
            wait_for("the last event is told", lambda: f'"seq":{last},' in (stack.folder / "events.out").read_text())
        finally:
            follow.terminate()
            follow.wait()
        equal((web.failures[:10], one.failures[:10], tunnels.failures[:10], others.failures[:10]), ([], [], [], []), "failures")
        told = (stack.folder / "events.out").read_text()
        equal((fewest_ready(told, "web"), fewest_ready(told, "one")), (4, 1), "fewest ready of web and one")
        equal(texts(stack), {f"n{count - 1}"}, "what answers")
        equal({row["revision"] for row in stack.replicas("web")}, {count + 1}, "the revision")
        check(web.done > 20 * count and tunnels.opened >= 4, f"no traffic: {web.done} requests, {tunnels.opened} tunnels")
        print(f"{count} updates: {web.done} + {one.done} requests, {tunnels.opened} + {others.opened} tunnels, 0 failed; "
              f"never fewer than 4 of 4 and 1 of 1 ready")


@scenario
def updates_in_a_row_lose_nothing() -> None:
    many_updates(8)


@scenario
def a_hundred_updates_lose_nothing() -> None:
    many_updates(100)


@scenario
def rollouts_by_hand() -> None:
    """status, history and undo; the hold outlives the daemon and ends by resume."""
    with Stack() as stack:
        stack.write(WEB.replace("replicas = 4", 'replicas = 2\nenv = { API_TOKEN = "s3cr3t" }'))
        stack.daemon()
        stack.ready()
        stack.edit("text=one", "text=two")
        stack.run("apply")
        contains(stack.run("rollout", "status", "web").stdout, ["revision 2", "2 of 2 ready", "in force"], "rollout status")
        history = stack.run("rollout", "history", "web").stdout
        contains(history, ["was ready", "in force", "run"], "rollout history")
        found = json.loads(stack.run("rollout", "history", "web", "-o", "json").stdout)
        equal([row["revision"] for row in found["history"]], [1, 2], "history")
        equal(found["history"][1]["changed"], ["run"], "what changed")
        check("s3cr3t" not in history + json.dumps(found), "a secret is shown")
        stack.run("rollout", "undo", "web")
        equal(texts(stack), {"one"}, "what answers after undo")
        contains(stack.app("web")["hold"], "rolled back by hand to revision 1", "hold")
        stack.run("reload")
        equal(texts(stack), {"one"}, "what answers after a reload")
        stack.end(code=0)
        stack.daemon()
        stack.ready()
        equal(texts(stack), {"one"}, "what answers after a restart of the daemon")
        contains(stack.app("web")["hold"], "rolled back by hand to revision 1", "hold")
        stack.run("resume", "web")
        equal(texts(stack), {"two"}, "what answers after resume")
        equal(stack.app("web")["hold"], None, "hold")
        contains(stack.run("rollout", "undo", "nosuch", code=1).stderr, "no app 'nosuch'", "undo of no app")
        contains(stack.run("rollout", "redo", "web", code=64).stderr, "status, undo and history", "an unknown word")


if __name__ == "__main__":
    sys.exit(main())
