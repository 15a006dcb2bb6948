#!/usr/bin/env python3
"""As many replicas as the load needs, and as few."""
import http.client
import json
import os
import socket
import sys
import threading
import time

from lib.expect import check, contains, equal, wait_for
from lib.load import Load
from lib.scenario import main, scenario
from lib.stack import Stack

LOOK = 15.0  # seconds between two looks at the load


def scaled(stack: Stack) -> list[str]:
    return [e["text"] for e in stack.events(app="web") if e["kind"] == "scale"]


def ready(stack: Stack, count: int, looks: int) -> None:
    wait_for(f"{count} replicas", lambda: (app := stack.app("web"))["ready"] == count == app["desired"] and len(app["replicas"]) == count,
             seconds=looks * LOOK, every=0.2)


@scenario
def replicas_follow_the_requests() -> None:
    """1 -> 4 -> 1 by requests in flight, without a lost one; kept over a restart of the daemon; a hold wins."""
    with Stack() as stack:
        stack.write('[app.web]\nrun = "<REPLICA> {port}"\nlisten = "127.0.0.1:<L0>"\nhealth = "/healthz"\nscale = { max = 4, in_flight = 2, window = "0s" }\n')
        stack.daemon()
        stack.ready()
        equal(stack.app("web")["desired"], 1, "replicas at first")
        with Load(stack.ports.listen(0), keep=8, target="/sleep/200") as load:
            ready(stack, 4, 5)
            wait_for("all are asked", lambda: len(load.replicas) == 4, seconds=10)
            contains(scaled(stack)[0], ["1 -> 4 replicas: in_flight is", "target 2"], "the event")
            contains(stack.run("why", "web").stdout, "scale: 4 of 1 to 4 replicas", "why")
        equal(load.failures[:5], [], "failed requests")
        stack.end(code=0)
        stack.daemon()
        stack.ready("web")
        equal(stack.app("web")["desired"], 4, "replicas after a restart of the daemon")
        ready(stack, 1, 5)
        contains(scaled(stack)[-1], "-> 1 replicas: in_flight is 0 on average", "the event")
        stack.run("scale", "web=3")
        row = stack.app("web")
        equal((row["desired"], row["hold"]), (3, "scaled to 3 by hand, the file says 1 to 4"), "with a hold")
        equal(json.loads(stack.run("plan", "-o", "json").stdout)["code"], 0, "a plan")


@scenario
def replicas_follow_the_work() -> None:
    """By CPU: a closed loop of busy requests; no flapping while it goes on."""
    with Stack() as stack:
        stack.write('[app.web]\nrun = "<REPLICA> {port}"\nreplicas = 2\nlisten = "127.0.0.1:<L0>"\nhealth = "/healthz"\n'
                    'scale = { min = 2, max = 4, cpu = 15, window = "45s" }\n')
        stack.daemon()
        stack.ready()
        with Load(stack.ports.listen(0), keep=4, target="/burn/20") as load:
            ready(stack, 4, 6)
            seen = len(scaled(stack))
            wait_for("four looks later", lambda: load.done > 400, seconds=6 * LOOK)
            equal(len(scaled(stack)), seen, f"changes while the load goes on: {scaled(stack)}")
            contains(scaled(stack)[0], ["2 -> ", "cpu is", "target 15 % of a core"], "the event")
        ready(stack, 2, 8)
        equal(load.failures[:5], [], "failed requests")
        check(len(scaled(stack)) <= seen + 3, f"flapping: {scaled(stack)}")


ON_DEMAND = ('[app.web]\nrun = "<REPLICA> {port} start=200"\nlisten = "127.0.0.1:<L0>"\nhealth = "/healthz"\n'
             'scale = { min = 0, max = 2, window = "1s" }\n')


def asleep(stack: Stack) -> bool:
    app = stack.app("web")
    return app["desired"] == 0 and not app["replicas"]


def first_requests(port: int, count: int) -> list[tuple[int, float]]:
    """Status and seconds of requests that are sent all at once."""
    found: list[tuple[int, float]] = []

    def ask() -> None:
        begun = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/")
        answer = connection.getresponse()
        answer.read()
        connection.close()
        found.append((answer.status, time.monotonic() - begun))

    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def cycle(stack: Stack, count: int) -> list[tuple[int, float]]:
    answers = first_requests(stack.ports.listen(0), count)
    equal([status for status, _ in answers], [200] * count, "the first requests")
    wait_for("the idle end", lambda: asleep(stack), seconds=30)
    return answers


@scenario
def the_first_request_starts_an_app() -> None:
    """`min = 0`: 50 first requests at once, the idle end, the next ones; a stream; a hold."""
    with Stack() as stack:
        stack.write(ON_DEMAND + '[app.db]\nrun = "<REPLICA> {port}"\nport = "auto"\nscale = { min = 0, max = 1, window = "1s" }\n'
                    '[listen.db]\nbind = "127.0.0.1:<L1>"\nmode = "tcp"\nto = "db"\n')
        stack.daemon()
        equal((stack.app("web")["state"], stack.app("web")["replicas"]), ("stopped", []), "at first")
        contains(stack.app("web")["reason"], "idle: the first request starts it", "the reason")
        answers = cycle(stack, 50)
        print("first answers after", sorted(round(seconds * 1000) for _, seconds in answers)[::7], "ms; the app takes 200 ms")
        cycle(stack, 1)
        contains(scaled(stack)[0], "0 -> 1 replicas: a request came", "the event")
        contains(scaled(stack)[1], "1 -> 0 replicas: no request for 1s", "the event")
        contains(stack.run("why", "web").stdout, ["idle: the first request starts it", "scale: 0 of 0 to 2 replicas"], "why")
        with socket.create_connection(("127.0.0.1", stack.ports.listen(1)), timeout=60) as stream:
            stream.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            contains(stream.recv(4096).decode(), "200", "the stream")
            since = time.monotonic()
            while time.monotonic() < since + 2.5:  # longer than the window
                equal(stack.app("db")["ready"], 1, "replicas beside an idle stream")
        wait_for("the stream's end is the app's", lambda: not stack.app("db")["replicas"], seconds=30)
        stack.run("scale", "web=0")
        status = [status for status, _ in first_requests(stack.ports.listen(0), 1)]
        equal(status, [503], "with 0 replicas by hand")
        equal(stack.app("web")["replicas"], [], "a hold wins")


@scenario
def an_app_that_cannot_start_on_demand() -> None:
    """503 with Retry-After after the queue's time; backoff in `ps`; an edit mends it."""
    with Stack() as stack:
        listen = '[listen.web]\nbind = "127.0.0.1:<L0>"\nto = "web"\nqueue = { timeout = "1s" }\n'
        scale = 'health = "/healthz"\nscale = { min = 0, max = 2, window = "1s" }\n'
        stack.write('[app.web]\nrun = "/bin/false"\nport = "auto"\n' + scale + listen)
        stack.daemon()
        connection = http.client.HTTPConnection("127.0.0.1", stack.ports.listen(0), timeout=60)
        connection.request("GET", "/")
        answer = connection.getresponse()
        equal((answer.status, answer.getheader("Retry-After")), (503, "1"), "the answer")
        wait_for("backoff in ps", lambda: any(row["state"] == "backoff" for row in stack.app("web")["replicas"]), seconds=30)
        wait_for("the idle end", lambda: asleep(stack), seconds=30)
        stack.write('[app.web]\nrun = "<REPLICA> {port}"\n' + scale + listen)
        stack.run("reload")
        equal([status for status, _ in first_requests(stack.ports.listen(0), 8)], [200] * 8, "after the edit")


@scenario
def a_thousand_starts_on_demand() -> None:
    """Flat in descriptors and memory of the daemon."""
    with Stack() as stack:
        stack.write(ON_DEMAND.replace(" start=200", ""))
        stack.daemon()

        def figures() -> tuple[int, int]:
            pid = stack.daemon_process.pid
            rollup = open(f"/proc/{pid}/smaps_rollup").read()
            return len(os.listdir(f"/proc/{pid}/fd")), int(rollup.split("Pss:")[1].split()[0])

        for _ in range(50):
            cycle(stack, 2)
        before = figures()
        for _ in range(950):
            cycle(stack, 2)
        after = figures()
        print(f"descriptors {before[0]} -> {after[0]}, PSS {before[1]} -> {after[1]} KiB")
        check(after[0] <= before[0], f"descriptors: {before[0]} -> {after[0]}")
        check(after[1] <= before[1] * 1.2 + 512, f"PSS: {before[1]} -> {after[1]} KiB")


if __name__ == "__main__":
    sys.exit(main())
