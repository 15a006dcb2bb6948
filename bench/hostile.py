#!/usr/bin/env python3
"""A good client beside bad ones: idle by the thousand, slow heads, slow bodies, slow readers, half-open.

    bench/hostile.py [--peers muster,haproxy] [--idle 5000] [--slow 300] [--seconds 5] [--rounds 3] [--bar-ms 5]

wrk with 4 connections is the good client: first alone, then beside the bad ones, then alone again. Printed are its failures and its p99,
and the proxy's memory (PSS) before the bad ones came, with them, and after they had left. With --bar-ms the exit status is 1 when a request
of the good client failed or its p99 rose by more. The bad ones are one process, nice 19, beside the load; the proxy has a processor for itself
where there are two.
"""
import argparse
import contextlib
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
import typing

import end_to_end
from end_to_end import Run, tree_of

STEP = 0.2      # seconds between two bytes of one that is slow
READ = 2048     # bytes that a slow reader takes at a time
SETTLE = 2      # seconds until what fits the buffers of their sockets has gone: that is load, and not slow
DEADLINE = 60

# `/sink` takes the whole body before it answers.
end_to_end.BACKEND = end_to_end.BACKEND.replace(
    "listen 127.0.0.1:{port} backlog=4096; }}",
    "listen 127.0.0.1:{port} backlog=4096; location /sink {{ client_max_body_size 0; proxy_method GET; proxy_pass http://127.0.0.1:{port}/64; }} }}")


def bad_clients(port: int, idle: int, slow: int) -> None:
    """Runs in a process of its own until TERM; says "there" when all are slow."""
    os.nice(19)
    held: list[socket.socket] = []

    def connect(first: bytes, receive_buffer: int = 0) -> socket.socket:
        one = socket.socket()
        if receive_buffer:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        one.settimeout(DEADLINE)
        one.connect(("127.0.0.1", port))
        one.sendall(first)
        held.append(one)
        return one

    for number in range(idle):  # half of them after a request
        one = connect(b"GET /64 HTTP/1.1\r\nHost: h\r\n\r\n" if number % 2 else b"")
        if number % 2:
            one.recv(4096)
    dribble = [connect(b"GET / HTTP/1.1\r\nHost: h\r\nX: ") for _ in range(slow)]
    dribble += [connect(b"POST /sink HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n") for _ in range(slow)]
    readers = [connect(b"GET /1048576 HTTP/1.1\r\nHost: h\r\n\r\n", 4096) for _ in range(slow)]
    for number in range(slow):  # half-open: silent in the middle of a head, or with one side ended
        one = connect(b"GET /1048576 HTTP/1.1\r\nHost: h\r\n" + b"\r\n" * (number % 2))
        if number % 2:
            one.shutdown(socket.SHUT_WR)
    settled = time.monotonic() + SETTLE
    said = False
    while True:
        if not said and time.monotonic() > settled:
            print("there", flush=True)
            said = True
        for one in dribble:
            with contextlib.suppress(OSError):
                one.send(b"x", socket.MSG_DONTWAIT)
        for one in readers:
            with contextlib.suppress(OSError):
                one.recv(READ, socket.MSG_DONTWAIT)
        select.select([], [], [], STEP)


def pss_kib(pids: list[int]) -> int:
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
            total += int(re.search(r"^Pss:\s+(\d+)", rollup, re.M)[1])  # type: ignore[index]
    return total


class Good(typing.NamedTuple):
    p99_ms: float
    requests: int
    failed: int


def good_client(run: Run, port: int, seconds: float) -> Good:
    argv = ["wrk", "-t1", "-c4", f"-d{seconds:g}s", "--timeout", "10s", "--latency", f"http://127.0.0.1:{port}/64"]
    out = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=seconds + 30, preexec_fn=lambda: os.sched_setaffinity(0, run.for_load)).stdout
    p99, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", out).groups()  # type: ignore[union-attr]
    requests = int(re.search(r"(\d+) requests in", out)[1])  # type: ignore[index]
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", out)
    failed = (int(bad[1]) if bad else 0) + (sum(int(n) for n in errors.groups()) if errors else 0)
    return Good(float(p99) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit], requests, failed)


class Round(typing.NamedTuple):
    alone: Good
    beside: Good
    after: Good
    memory_kib: tuple[int, int, int]


def one_round(run: Run, peer: str, options: typing.Any) -> Round:
    proxy = run.start(peer)
    port = run.ports[peer]
    try:
        pids = [proxy.pid] if peer == "muster" else tree_of(proxy.pid)
        alone = good_client(run, port, options.seconds)
        before = pss_kib(pids)
        argv = [sys.executable, "-B", __file__, "--bad-clients-of", str(port), "--idle", str(options.idle), "--slow", str(options.slow)]
        bad = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, preexec_fn=lambda: os.sched_setaffinity(0, run.for_load))
        run.processes.append(bad)  # type: ignore[arg-type]
        assert bad.stdout is not None
        if bad.stdout.readline() != "there\n":
            sys.exit(f"{peer}: the bad clients could not connect")
        beside = good_client(run, port, options.seconds)
        most = pss_kib(pids)
        bad.send_signal(signal.SIGKILL)
        bad.wait()
        after = good_client(run, port, options.seconds)
        end = time.monotonic() + 10  # what is closed is given back with what closes it
        while (left := pss_kib(pids)) > before * 1.2 and time.monotonic() < end:
            time.sleep(0.2)
        return Round(alone, beside, after, (before, most, left))
    finally:
        run.stop_all()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", default="muster", type=lambda text: text.split(","))
    parser.add_argument("--idle", type=int, default=5000)
    parser.add_argument("--slow", type=int, default=300)
    parser.add_argument("--seconds", type=int, default=5, help="whole ones: wrk takes no others")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bar-ms", type=float)
    parser.add_argument("--muster", default=str(end_to_end.TREE / "build/release/muster"))
    parser.add_argument("--bad-clients-of", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bad_clients_of:
        bad_clients(options.bad_clients_of, options.idle, options.slow)
    missing = [name for name in ("nginx", "wrk", *options.peers) if name != "muster" and not shutil.which(name)]
    if missing:
        print(f"not installed: {', '.join(sorted(set(missing)))}")
        sys.exit(77)
    run = Run(options.peers, options.muster)
    holds = True
    try:
        print(f"{options.idle} idle, {options.slow} each of slow heads, slow bodies, slow readers, half-open; medians of {options.rounds} rounds\n")
        print("| peer | p99 alone, ms | beside them | after them | failed | PSS before, MiB | with them | after them |\n|---|---:|---:|---:|---:|---:|---:|---:|")
        rounds: dict[str, list[Round]] = {peer: [] for peer in options.peers}
        for _ in range(options.rounds):
            for peer in options.peers:
                rounds[peer].append(one_round(run, peer, options))
        for peer, of_peer in rounds.items():
            failed = sum(good.failed for r in of_peer for good in (r.alone, r.beside, r.after))
            p99 = [statistics.median(getattr(r, part).p99_ms for r in of_peer) for part in ("alone", "beside", "after")]
            memory = [statistics.median(r.memory_kib[part] for r in of_peer) / 1024 for part in range(3)]
            print(f"| {peer} | {p99[0]:.2f} | {p99[1]:.2f} | {p99[2]:.2f} | {failed} | {memory[0]:.1f} | {memory[1]:.1f} | {memory[2]:.1f} |", flush=True)
            if peer == "muster":
                holds = failed == 0 and (options.bar_ms is None or p99[1] - p99[0] < options.bar_ms)
    finally:
        run.stop_all()
        shutil.rmtree(run.folder)
    sys.exit(0 if holds else 1)


if __name__ == "__main__":
    main()
