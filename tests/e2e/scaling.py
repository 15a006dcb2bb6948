#!/usr/bin/env python3
"""As many replicas as the load needs, and as few."""
import json
import sys

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


if __name__ == "__main__":
    sys.exit(main())
