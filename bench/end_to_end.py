#!/usr/bin/env python3
"""muster beside haproxy and nginx: processor time of the proxy for each request, in interleaved rounds of one run.

    bench/end_to_end.py [SCENARIO…] [--peers haproxy,nginx,muster] [--rounds 5] [--seconds 1.5]

Scenarios: keepalive (64 B answers), body16k, body1m. Every proxy has one thread
and round robin over two replicas; these are one nginx each, the load is h2load (nghttp2-client) with 64 connections. With
two processors and more, the proxy has one for itself. Figures move with the machine: compare the ratios. Everything
listens on 127.0.0.1 and ends with the run.
"""
import argparse
import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import typing

TREE = pathlib.Path(__file__).resolve().parent.parent
CONNECTIONS = 64
SCENARIOS = {"keepalive": "/64", "body16k": "/16384", "body1m": "/1048576"}
BACKEND = """daemon off; worker_processes 1; pid {folder}/{port}.pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 1000000000; root {folder}/files; default_type text/plain; sendfile on; tcp_nopush on;
  client_body_temp_path {folder}/t; proxy_temp_path {folder}/t; fastcgi_temp_path {folder}/t; uwsgi_temp_path {folder}/t; scgi_temp_path {folder}/t;
  server {{ listen 127.0.0.1:{port} backlog=4096; }} }}
"""
NGINX = """daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 1000000000;
  client_body_temp_path {folder}/t; proxy_temp_path {folder}/t; fastcgi_temp_path {folder}/t; uwsgi_temp_path {folder}/t; scgi_temp_path {folder}/t;
  upstream backend {{ {servers} keepalive 128; keepalive_requests 1000000000; }}
  server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ proxy_pass http://backend; proxy_http_version 1.1;
    proxy_set_header Connection ""; proxy_set_header X-Forwarded-For $remote_addr; proxy_buffering on; }} }} }}
"""
HAPROXY = """global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option forwardfor
  http-reuse always
frontend f
  bind 127.0.0.1:{port}
  default_backend b
backend b
  balance roundrobin
{servers}
"""
MUSTER = """[daemon]
threads = 1
[app.backend]
run = "nginx -c {folder}/backend-{{port}}.conf"
user = "root"
replicas = 2
port = {first}
listen = "127.0.0.1:{port}"
"""


def free_ports(count: int) -> list[int]:
    """As many ports in a row that nobody listens on."""
    for first in range(23000, 60000, 10):
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    probe = stack.enter_context(socket.socket())
                    probe.bind(("127.0.0.1", port))
                return list(range(first, first + count))
            except OSError:
                continue
    sys.exit("no free ports")


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as peer:
        peer.sendall(b"GET /64 HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
        return peer.recv(12) == b"HTTP/1.1 200"
    return False


def tree_of(pid: int) -> list[int]:
    children = pathlib.Path(f"/proc/{pid}/task").glob("*/children")
    return [pid] + [p for path in children for child in path.read_text(encoding="ascii").split() for p in tree_of(int(child))]


def cpu_ns(pids: list[int]) -> int:
    """On-CPU time of all threads (the first number of schedstat; see proc_pid_schedstat in the kernel's sched-stats.rst)."""
    paths = [path for pid in pids for path in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat")]
    return sum(int(path.read_text(encoding="ascii").split()[0]) for path in paths)


class Run:
    def __init__(self, peers: list[str], muster: str) -> None:
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="muster-bench-"))
        self.folder.chmod(0o755)
        self.processes: list[subprocess.Popen[bytes]] = []
        self.muster = muster
        self.cores = sorted(os.sched_getaffinity(0))
        ports = free_ports(2 + len(peers))
        self.backends = ports[:2]
        self.ports = dict(zip(peers, ports[2:]))
        (self.folder / "files").mkdir()
        for size in (64, 16384, 1048576):
            (self.folder / "files" / str(size)).write_bytes(b"x" * size)
        for port in self.backends:
            (self.folder / f"backend-{port}.conf").write_text(BACKEND.format(folder=self.folder, port=port), encoding="ascii")

    def spawn(self, argv: list[str], cores: list[int]) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, cwd=self.folder)
        os.sched_setaffinity(process.pid, cores)
        self.processes.append(process)
        return process

    def wait(self, port: int, what: str) -> None:
        deadline = time.monotonic() + 20
        while not answers(port):
            if time.monotonic() > deadline:
                sys.exit(f"{what} does not answer")
            time.sleep(0.02)

    @property
    def for_proxy(self) -> list[int]:
        return self.cores[-1:]

    @property
    def for_load(self) -> list[int]:
        return self.cores[:-1] or self.cores

    def start(self, peer: str) -> subprocess.Popen[bytes]:
        port = self.ports[peer]
        servers = [f"127.0.0.1:{backend}" for backend in self.backends]
        config = self.folder / f"{peer}.conf"
        if peer == "haproxy":
            lines = "\n".join(f"  server s{i} {server}" for i, server in enumerate(servers))
            config.write_text(HAPROXY.format(port=port, servers=lines), encoding="ascii")
            argv = ["haproxy", "-db", "-f", str(config)]
        elif peer == "nginx":
            config.write_text(NGINX.format(folder=self.folder, port=port, servers=" ".join(f"server {s};" for s in servers)), encoding="ascii")
            argv = ["nginx", "-c", str(config)]
        else:
            config.write_text(MUSTER.format(folder=self.folder, first=self.backends[0], port=port), encoding="ascii")
            argv = [self.muster, "daemon", "-f", str(config), "--socket", f"{self.folder}/m.sock", "--state-dir", f"{self.folder}/state"]
        if peer != "muster":  # muster starts the replicas itself
            for backend in self.backends:
                self.spawn(["nginx", "-c", f"{self.folder}/backend-{backend}.conf"], self.for_load)
        proxy = self.spawn(argv, self.for_proxy)
        self.wait(port, peer)
        if peer == "muster":
            for pid in set(tree_of(proxy.pid)) - {proxy.pid}:
                os.sched_setaffinity(pid, self.for_load)
        return proxy

    def stop_all(self) -> None:
        for process in reversed(self.processes):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self.processes.clear()

    def measure(self, peer: str, scenario: str, seconds: float) -> tuple[float, float]:
        """(processor time of the proxy in us for each request, requests each second)"""
        proxy = self.start(peer)
        try:
            pids = [proxy.pid] if peer == "muster" else tree_of(proxy.pid)
            argv = ["h2load", "--h1", "-t1", f"-c{CONNECTIONS}", f"-D{seconds * 1000:.0f}ms", f"http://127.0.0.1:{self.ports[peer]}{SCENARIOS[scenario]}"]
            before = cpu_ns(pids)
            load = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=seconds + 20, preexec_fn=lambda: os.sched_setaffinity(0, self.for_load))
            used = cpu_ns(pids) - before
        finally:
            self.stop_all()
        counts = re.search(r"requests: (\d+) total, .*?(\d+) succeeded, (\d+) failed, (\d+) errored", load.stdout)
        total = re.search(r"(\d+) 2xx", load.stdout)
        if counts is None or total is None or int(counts[3]) or int(counts[4]):
            sys.exit(f"{peer} failed requests:\n{load.stdout}")
        rate = re.search(r"finished in [\d.]+\w+, ([\d.]+) req/s", load.stdout)
        assert rate is not None
        return used / 1000 / int(total[1]), float(rate[1])


def report(scenario: str, peers: list[str], rounds: list[dict[str, tuple[float, float]]]) -> None:
    print(f"\n{scenario}: {len(rounds)} interleaved rounds, medians\n")
    print(f"| peer | CPU us/request | requests/s | x {peers[0]} |\n|---|---:|---:|---:|")
    for peer in peers:
        cpu = statistics.median(r[peer][0] for r in rounds)
        rate = statistics.median(r[peer][1] for r in rounds)
        ratio = statistics.median(r[peer][0] / r[peers[0]][0] for r in rounds)
        print(f"| {peer} | {cpu:.2f} | {rate:,.0f} | {ratio:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", default=list(SCENARIOS))
    parser.add_argument("--peers", default="haproxy,nginx,muster", type=lambda text: text.split(","))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--muster", default=str(TREE / "build/release/muster"))
    options: typing.Any = parser.parse_args()
    if unknown := set(options.scenarios) - set(SCENARIOS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    missing = [name for name in ("nginx", "h2load", *options.peers) if name != "muster" and not shutil.which(name)]
    if missing:
        print(f"not installed: {', '.join(sorted(set(missing)))}")
        sys.exit(77)
    run = Run(options.peers, options.muster)
    try:
        for scenario in options.scenarios:
            rounds = [{peer: run.measure(peer, scenario, options.seconds) for peer in options.peers} for _ in range(options.rounds)]
            report(scenario, options.peers, rounds)
    finally:
        run.stop_all()
        shutil.rmtree(run.folder)


if __name__ == "__main__":
    main()
