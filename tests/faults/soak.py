#!/usr/bin/env python3
"""A stack under load, killed and reloaded without pause: descriptors, threads, memory, cgroups and files stay what they are.

    soak.py MUSTER REPLICA [--minutes M]

Once the first tenth is over, samples are taken all along and printed. The median of the second half may not be beyond that
of the first by more than the bounds below.
"""
import argparse
import dataclasses
import os
import pathlib
import random
import re
import shutil
import statistics
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

# pylint: disable=wrong-import-position
from lib import procs
from lib.expect import Failed, check, wait_for
from lib.load import Load
from lib.stack import Stack

SPEC = """
[app.web]
run      = "<REPLICA> {port}"
replicas = 6
health   = { http = "/healthz", every = "500ms" }
volume   = "data"
update   = { strategy = "rolling", unavailable = 3 }
restart  = { backoff = "1ms", max_backoff = "5ms", jitter = 0 }
stop     = { drain = "200ms", timeout = "1s" }

[app.crash]
run      = "/bin/false"
replicas = 12
restart  = { backoff = "1ms", max_backoff = "20ms", jitter = 0 }

[listen.web]
bind       = "127.0.0.1:<L0>"
to         = "web"
access_log = "json"
"""
# How much the second half may be above the first: what a leak per restart, reload or request would be beyond at once.
# A replica between two lives has six descriptors and four files fewer.
BOUNDS = {"descriptors": 12, "threads": 0, "pss_kib": 3072, "cgroups": 6, "files": 24, "processes": 4}
SAMPLE_S = 1.0
RELOAD_S, KILL_S = 1.5, 0.2  # a thousand reloads in half an hour


class Hammer:
    """wrk(1), where it is: ten times what clients in Python ask for."""

    def __init__(self, port: int, seconds: float) -> None:
        wrk = shutil.which("wrk")
        self.process = subprocess.Popen([wrk, "-t1", "-c16", f"-d{int(seconds) + 1}", f"http://127.0.0.1:{port}/"], stdout=subprocess.PIPE,
                                        text=True, preexec_fn=procs.die_with_parent) if wrk else None

    def result(self) -> tuple[int, int]:
        """Requests, and how many of them failed."""
        if self.process is None:
            return 0, 0
        text = self.process.communicate(timeout=60)[0]
        done = int(re.search(r"(\d+) requests in", text).group(1))
        counts = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
        bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
        return done, sum(int(word) for found in (counts, bad) if found for word in found.groups())


@dataclasses.dataclass
class Count:
    kills: int = 0
    reloads: int = 0


def pss_kib(pid: int) -> int:
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))


def cgroups(pid: int) -> int:
    return sum(len(folders) for root in procs.own_groups(pid) for _, folders, _ in os.walk(root))


def sample(stack: Stack, pid: int) -> dict[str, int]:
    return {"descriptors": len(os.listdir(f"/proc/{pid}/fd")), "threads": len(os.listdir(f"/proc/{pid}/task")), "pss_kib": pss_kib(pid),
            "cgroups": cgroups(pid), "files": sum(len(files) for _, _, files in os.walk(stack.folder)), "processes": len(procs.descendants(pid))}


def kill(stack: Stack, stop: threading.Event, count: Count) -> None:
    draw = random.Random(1)
    while not stop.wait(KILL_S):
        try:
            pids = list(stack.pids("web").values())
            if pids and procs.kill_quietly(draw.choice(pids)):
                count.kills += 1
        except (OSError, ValueError, Failed):
            continue  # what is wrong with the daemon is found by the sampler


def reload(stack: Stack, stop: threading.Event, count: Count) -> None:
    while not stop.wait(RELOAD_S):
        stack.write(SPEC.replace("volume   =", f'env      = {{ ROUND = "{count.reloads}" }}\nvolume   ='))
        try:
            if stack.api("POST", "/v1/apply", {"wait": False}).status in (200, 202):
                count.reloads += 1
        except (OSError, ValueError):
            continue


def started(stack: Stack) -> int:
    return sum(row["restarts"] for app in stack.ps()["apps"] for row in app["replicas"])


def judge(samples: list[dict[str, int]], minutes: float) -> list[str]:
    half = len(samples) // 2
    problems = []
    for name, bound in BOUNDS.items():
        if minutes < 10:
            # Few samples; what is remembered is not full yet, and each thread gets its arena at its first hard work.
            bound *= 4
        first, second = (statistics.median(s[name] for s in part) for part in (samples[:half], samples[half:]))
        print(f"{name}: median {first:.0f} in the first half, {second:.0f} in the second, at most {max(s[name] for s in samples)}")
        if second > first + bound:
            problems.append(f"{name} grows from {first:.0f} to {second:.0f}, more than {bound}")
    return problems


def soak(minutes: float) -> None:
    with Stack() as stack:
        stack.write(SPEC)
        daemon = stack.daemon()
        wait_for("web is ready", lambda: stack.app("web")["ready"] == 6)
        stop, count, samples = threading.Event(), Count(), []
        workers = [threading.Thread(target=deed, args=(stack, stop, count), daemon=True) for deed in (kill, reload)]
        begin = time.monotonic()
        end = begin + minutes * 60
        hammer = Hammer(stack.ports.listen(0), minutes * 60)
        with Load(stack.ports.listen(0), keep=2, fresh=1, pause=0.002) as load:
            for worker in workers:
                worker.start()
            while time.monotonic() < end:
                check(daemon.poll() is None, f"the daemon ended with {daemon.returncode}")
                if time.monotonic() > begin + minutes * 6:
                    samples.append(sample(stack, daemon.pid))
                    if len(samples) % 15 == 1:
                        print(f"+{time.monotonic() - begin:.0f} s: {samples[-1]}, {load.done} requests, {count.kills} kills, {count.reloads} reloads", flush=True)
                stop.wait(SAMPLE_S)
            stop.set()
            for worker in workers:
                worker.join(30)
        done, failed = (ours + theirs for ours, theirs in zip((load.done, len(load.failures)), hammer.result()))
        print(f"{done} requests, {failed} of them failed, {count.kills} kills, {started(stack)} restarts of this revision alone, {count.reloads} reloads")
        problems = judge(samples, minutes)
        check(not problems, "; ".join(problems))
        check(failed * 1000 <= done, f"{failed} of {done} requests failed: {load.failures[:5]}")
        stack.write(SPEC)
        stack.run("apply", "--no-wait")
        wait_for("web is ready at last", lambda: stack.app("web")["ready"] == 6)
        stack.end(code=0)
        stack.nothing_left()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("muster")
    parser.add_argument("replica")
    parser.add_argument("--minutes", type=float, default=30)
    options = parser.parse_args()
    Stack.muster, Stack.replica = str(pathlib.Path(options.muster).resolve()), str(pathlib.Path(options.replica).resolve())
    procs.adopt_orphans()
    try:
        soak(options.minutes)
    except Failed as problem:
        print(f"soak: {problem}")
        return 1
    print("ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
