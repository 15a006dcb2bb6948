#!/usr/bin/env python3
"""User instructions of the traffic thread for each keep-alive request, and what they are spent on.

    bench/instructions.py [--connections 64] [--requests 2000] [--functions 25] [--bar 4000]

valgrind's callgrind counts what bench/balancer_host executes for as many requests and for twice as many; the difference,
divided by the requests, has neither the start nor the end of the program in it. The count is the same on a busy machine. The system calls
count as the instructions around them: what the kernel executes is not seen. The clients and two replicas are this script, which talks small
heads and 64 B answers over loopback. Everything that is on by default is on: X-Forwarded-*, X-Request-Id, Date, counters, histograms, ejection.
With --functions the functions that take most are listed, without what they call; with --bar the exit status is 1 when all take more.
"""
import argparse
import collections
import pathlib
import re
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import typing

from end_to_end import TREE, free_ports

DEADLINE = 120
REQUEST = b"GET /64 HTTP/1.1\r\nHost: bench.local\r\nUser-Agent: load\r\nAccept: */*\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Backend: 41350\r\nContent-Length: 64\r\n\r\n" + b"x" * 64
HEAD_END = b"\r\n\r\n"
# Of a function's name without namespaces and arguments; the first that matches counts.
PARTS = {
    "heads read, and what their fields mean": r"take_(fields|version|status_line|request_line|crlf)|parse_|kind_of|judge_|is_authority|find_further|equals_|is_idempotent",
    "heads written": r"write_|put_connection|append_field|is_edited|request_id|Buffer|mem(cpy|move)|http_date|trusts",
    "coroutines: made, resumed, ended": r"serve_http|Exchange::serve|FrameCache|Exchange::hear$",
    "which replica, which of its connections": r"Worker::pick|pick_replica|take_replica|take_parked|park$|Exchange::finish|InFlight|choose|reach_|is_routed|LocalEndpoint",
    "counters and histograms": r"account",
    "the request's own state, its body, the answer": r"Exchange|Busy|BodyReader|send_or_keep",
    "the loop: events, waits, deadlines, clock": r"SocketCore|SocketWait|Loop|Wheel|clock",
    "around the system calls": r"receive|send_|syscall|epoll_wait|cancel",
}


class Traffic:
    """Clients that each wait for their answer, and the replicas, in one thread."""

    def __init__(self, backends: list[int]) -> None:
        self.selector = selectors.DefaultSelector()
        self.begun = self.ended = self.wanted = 0
        self.listening = [socket.create_server(("127.0.0.1", port)) for port in backends]
        for listener in self.listening:
            self.selector.register(listener, selectors.EVENT_READ, self.accept)

    def accept(self, listener: socket.socket) -> None:
        self.selector.register(listener.accept()[0], selectors.EVENT_READ, self.answer)

    def answer(self, connection: socket.socket) -> None:
        """Each request is one segment: the balancer sends the next one on a connection when the last one was answered."""
        received = connection.recv(65536)
        if not received:
            self.selector.unregister(connection)
            connection.close()
        elif received.endswith(HEAD_END):
            connection.sendall(ANSWER)
        else:
            sys.exit("half a request came")

    def read_answer(self, client: socket.socket) -> None:
        received = client.recv(65536)
        if not received.startswith(b"HTTP/1.1 200") or not received.endswith(b"x" * 64):
            sys.exit(f"not an answer: {received!r}")
        self.ended += 1
        self.send_request(client)

    def send_request(self, client: socket.socket) -> None:
        if self.begun < self.wanted:
            self.begun += 1
            client.sendall(REQUEST)

    def run(self, port: int, connections: int, requests: int) -> None:
        self.begun, self.ended, self.wanted = 0, 0, requests
        clients = [socket.create_connection(("127.0.0.1", port), DEADLINE) for _ in range(connections)]
        for client in clients:
            self.selector.register(client, selectors.EVENT_READ, self.read_answer)
            self.send_request(client)
        while self.ended < requests:
            ready = self.selector.select(DEADLINE)
            if not ready:
                sys.exit(f"{self.ended} of {requests} answers came")
            for key, _ in ready:
                key.data(key.fileobj)
        for client in clients:
            self.selector.unregister(client)
            client.close()

    def close(self) -> None:
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self.selector.close()


def costs_of(profile: pathlib.Path) -> collections.Counter[str]:
    """Instructions by function, without what it calls."""
    listing = subprocess.run(["callgrind_annotate", "--threshold=100", "--auto=no", str(profile)],
                             capture_output=True, text=True, check=True).stdout
    costs: collections.Counter[str] = collections.Counter()
    for count, name in re.findall(r"^ *([\d,]+) \( *[\d.]+%\)  (?:\S*?:)?(.*?)(?: \[.*\])?$", listing, re.M):
        if "PROGRAM TOTALS" not in name:
            costs[name] += int(count.replace(",", ""))
    return costs


def counted(options: typing.Any, folder: pathlib.Path, requests: int) -> collections.Counter[str]:
    port, *backends = free_ports(3)
    traffic = Traffic(backends)
    profile = folder / f"{requests}.profile"
    argv = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={profile}", options.host, *map(str, (port, *backends))]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as host:
        try:
            assert host.stdout is not None
            if host.stdout.readline() != "ready\n":
                sys.exit("balancer_host did not start")
            traffic.run(port, options.connections, requests)
            host.send_signal(signal.SIGTERM)
            host.wait(DEADLINE)
        finally:
            host.kill()
            traffic.close()
    return costs_of(profile)


def part_of(function: str) -> str:
    name = re.sub(r"\(anonymous namespace\)::|muster::lb::", "", function).split("(")[0]
    return next((part for part, names in PARTS.items() if re.search(names, name)), "others")


def show(heading: str, spent: dict[str, float], lines: int) -> None:
    print(f"\n| {heading} | instructions |\n|---|---:|")
    for name, each in sorted(spent.items(), key=lambda entry: -entry[1])[:lines]:
        print(f"| {name} | {each:,.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--functions", type=int, default=0, metavar="LINES")
    parser.add_argument("--bar", type=float)
    parser.add_argument("--host", default=str(TREE / "build/release/bench/balancer_host"))
    options = parser.parse_args()
    if not (shutil.which("valgrind") and shutil.which("callgrind_annotate")):
        print("not installed: valgrind")
        sys.exit(77)
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as name:
        folder = pathlib.Path(name)
        few = counted(options, folder, options.requests)
        many = counted(options, folder, 2 * options.requests)
    spent = {function: (count - few[function]) / options.requests for function, count in many.items()}
    total = sum(spent.values())
    print(f"{total:,.0f} instructions for each request, {options.connections} connections")
    parts: collections.Counter[str] = collections.Counter()
    for function, each in spent.items():
        parts[part_of(function)] += each  # type: ignore[assignment]
    show("part", {part: each for part, each in parts.items() if each >= 0.5}, len(parts))
    if options.functions:
        show("function", spent, options.functions)
    sys.exit(1 if options.bar and total > options.bar else 0)


if __name__ == "__main__":
    main()
