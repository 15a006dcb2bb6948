#!/usr/bin/env python3
"""Programs that nobody here wrote, under fire: redis, node, Python's file server; loaded by wrk and h2load."""
import os
import re
import shutil
import signal
import subprocess
import sys
import threading

from lib.expect import DEADLINE, check, equal
from lib.redis import REDIS, Redis
from lib.scenario import main, scenario
from lib.stack import Stack
from lib.store import a_new_daemon, all_are_killed, begin, needs, scaled_down_and_up


# --- storage


@scenario
def redis_keeps_its_data() -> None:
    """Written to each of three; survives kill -9 of all, scale 3 → 1 → 3, restart of the daemon."""
    needs("redis-server", "redis-cli")
    with Stack() as stack:
        begin(stack, REDIS)
        answers = []
        for _ in range(6):
            with Redis(stack.ports.listen(0)) as redis:
                answers.append(redis.ask("GET", "who"))
        equal(sorted(answers), ["redis/0", "redis/0", "redis/1", "redis/1", "redis/2", "redis/2"], "round robin over TCP")
        for event in (all_are_killed, scaled_down_and_up, a_new_daemon):
            event(stack, REDIS)


# --- real servers under wrk and h2load


def kill_one_after_the_other(stack: Stack, app: str, loader: subprocess.Popen[str]) -> int:
    killed = 0
    while loader.poll() is None:
        victims = [row for row in stack.replicas(app) if row["state"] == "ready"]
        if len(victims) > 2:
            os.kill(victims[killed % len(victims)]["pid"], signal.SIGKILL)
            killed += 1
        threading.Event().wait(0.5)  # the rate of the kills
    return killed


def under_load(stack: Stack, app: str, command: list[str]) -> str:
    loader = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        killed = kill_one_after_the_other(stack, app, loader)
        output = loader.communicate(timeout=DEADLINE)[0]
    finally:
        loader.kill()
    equal(loader.returncode, 0, f"{command[0]}:\n{output}")
    check(killed >= 2, f"only {killed} replicas were killed")
    return output


def wrk_is_clean(stack: Stack, app: str) -> None:
    output = under_load(stack, app, ["wrk", "-t2", "-c40", "-d6s", "--timeout", "30s", f"http://127.0.0.1:{stack.ports.listen(0)}/"])
    requests = int(re.search(r"(\d+) requests in", output).group(1))  # type: ignore[union-attr]
    print(f"wrk: {requests} requests")
    check(requests > 100, output)
    check("Non-2xx" not in output and "Socket errors" not in output, output)


def h2load_is_clean(stack: Stack, app: str) -> None:
    # 10: Python's server has a backlog of 5, and two of the four may be starting. Beyond it SYNs are dropped.
    output = under_load(stack, app, ["h2load", "--h1", "-t1", "-c10", "-D6", f"http://127.0.0.1:{stack.ports.listen(0)}/"])
    total, failed = (int(re.search(pattern, output).group(1)) for pattern in (r"requests: (\d+) total", r"(\d+) failed"))  # type: ignore[union-attr]
    status = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", output)
    print(f"h2load: {total} requests")
    check(total > 100 and status is not None, output)
    equal((failed, [int(n) for n in status.groups()[1:]]), (0, [0, 0, 0]), output)  # type: ignore[union-attr]


NODE = """
[app.api]
run      = "node server.js"
replicas = 4
port     = "auto"
listen   = "127.0.0.1:<L0>"
health   = "/healthz"
restart  = { backoff = "1ms", max_backoff = "1ms", jitter = 0 }
"""


@scenario
def node_under_wrk_while_killed() -> None:
    needs("node", "wrk")
    with Stack() as stack:
        shutil.copy(stack.examples / "node-http" / "server.js", stack.folder)
        stack.write(NODE)
        stack.daemon()
        stack.ready()
        wrk_is_clean(stack, "api")
        stack.ready()


@scenario
def python_under_h2load_while_killed() -> None:
    needs("h2load")
    with Stack() as stack:
        (stack.folder / "index.html").write_text("hello\n", encoding="utf-8")
        stack.write('[app.files]\nrun = "python3 -m http.server --bind {addr} {port}"\nreplicas = 4\nlisten = "127.0.0.1:<L0>"\n'
                    'health = "/"\nrestart = { backoff = "1ms", max_backoff = "1ms", jitter = 0 }\n')
        stack.daemon()
        stack.ready()
        h2load_is_clean(stack, "files")
        stack.ready()


if __name__ == "__main__":
    sys.exit(main())
