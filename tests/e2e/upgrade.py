#!/usr/bin/env python3
"""Upgrade in place: the running daemon becomes the installed binary, and nobody who is connected notices."""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import sys

from lib.certificates import make_certificate
from lib.expect import check, contains, equal, wait_for
from lib.http import Connection, get
from lib.load import Load
from lib.scenario import main, scenario
from lib.stack import Stack

# Answers without a replica: what is tested here is the daemon alone.
SPEC = """
[listen.web]
bind = ["127.0.0.1:<L0>", "unix:<DIR>/web.sock"]

[[listen.web.route]]
path    = "/"
respond = { status = 200, body = "here" }
"""


def install(stack: Stack) -> str:
    """A binary of this stack's own, which can be replaced."""
    path = stack.folder / "muster"
    shutil.copy2(Stack.muster, path)
    stack.muster = str(path)
    return str(path)


def replace(stack: Stack, text: bytes, mode: int = 0o755) -> None:
    fresh = stack.folder / "muster.new"
    fresh.write_bytes(text)
    fresh.chmod(mode)
    fresh.rename(stack.folder / "muster")


def upgrade(stack: Stack, *arguments: str) -> dict[str, object]:
    return json.loads(stack.run("upgrade", "-o", "json", *arguments).stdout)


@scenario
def connections_outlive_upgrades() -> None:
    """Keep-alive and new clients over upgrades: not one request fails, the PID stays, the uptime goes on."""
    rounds = 3
    with Stack() as stack:
        install(stack)
        stack.write(SPEC)
        daemon = stack.daemon()
        pauses = []
        with Connection(stack.ports.listen(0)) as idle, Load(stack.ports.listen(0), keep=32, fresh=8) as load:
            equal(idle.ask("GET", "/").status, 200, "before")
            for _ in range(rounds):
                before = load.done
                wait_for("requests between two upgrades", lambda: load.done > before + 200)  # noqa: B023
                told = upgrade(stack)
                contains(str(told["message"]), ["upgraded from muster", "kept 2 listening addresses", "closed nothing"], "what is told")
                pauses.append(float(str(told["pause_ms"])))
                equal(stack.ps()["daemon"]["pid"], daemon.pid, "the PID")
                equal(idle.ask("GET", "/").status, 200, "on the connection of before")
            before = load.done
            wait_for("requests after the last", lambda: load.done > before + 200)
        equal(load.failures, [], "failed requests")
        with Connection(0, path=str(stack.folder / "web.sock")) as local:
            equal(local.ask("GET", "/").status, 200, "at the unix socket")
        print("pauses:", ", ".join(f"{pause:.1f} ms" for pause in pauses))
        stack.end(code=0)
        check(not (stack.folder / "web.sock").exists(), "the socket's file is left behind")


@scenario
def half_a_request_outlives_an_upgrade() -> None:
    """The head that was begun before is answered afterwards; SIGUSR2 does what the command does."""
    with Stack() as stack:
        install(stack)
        stack.write(SPEC)
        daemon = stack.daemon()
        with Connection(stack.ports.listen(0)) as client:
            client.socket.sendall(b"GET / HTTP/1.1\r\nHo")
            os.kill(daemon.pid, signal.SIGUSR2)
            stack.event("upgraded", lambda event: "upgraded from muster" in event["text"])
            client.socket.sendall(b"st: x\r\n\r\n")
            equal(client.answer().text, "here", "the answer")
        stack.end(code=0)


def ask(stack: Stack, code: int = 0) -> subprocess.CompletedProcess[str]:
    """By the binary of the build: that of the stack may be none."""
    stack.muster = Stack.muster
    return stack.run("upgrade", code=code)


def refused(stack: Stack, *words: str, code: int = 1) -> None:
    before = stack.ps()
    image = os.stat(f"/proc/{before['daemon']['pid']}/exe").st_ino
    run = ask(stack, code=code)
    contains(run.stdout + run.stderr, ["refused", *words], "what is said")
    equal(get(stack.ports.listen(0)).text, "here", "a request afterwards")
    after = stack.ps()
    equal(after["daemon"]["pid"], before["daemon"]["pid"], "the PID")
    equal(os.stat(f"/proc/{after['daemon']['pid']}/exe").st_ino, image, "the running image")
    check(after["daemon"]["uptime_s"] >= before["daemon"]["uptime_s"], "the daemon has started anew")


@scenario
def what_cannot_take_over_is_refused() -> None:
    """Another program, a cut file, one that refuses, one that hangs, a bad spec: the daemon goes on as it is."""
    with Stack() as stack:
        whole = pathlib.Path(install(stack)).read_bytes()
        stack.write(SPEC)
        stack.daemon()
        with Connection(stack.ports.listen(0)) as idle:
            equal(idle.ask("GET", "/").status, 200, "before")
            replace(stack, pathlib.Path("/bin/true").read_bytes())
            refused(stack, "not a muster that knows how to take over")
            replace(stack, whole[:100_000])  # half of one with debug sections would still run
            refused(stack)
            replace(stack, whole, mode=0o644)
            refused(stack, "Permission denied")
            replace(stack, b"#!/bin/sh\necho the state was written by a newer muster\nexit 1\n")
            refused(stack, "was written by a newer muster")
            replace(stack, b"#!/bin/sh\nsleep 1000 & sleep 1000\n")
            refused(stack, "no end within")
            replace(stack, b"")
            refused(stack)
            os.unlink(stack.folder / "muster")
            refused(stack, "No such file")
            replace(stack, whole)
            stack.write(SPEC + "\n[app.broken]\n")
            refused(stack, "muster.toml", code=65)
            stack.write(SPEC)
            equal(idle.ask("GET", "/").status, 200, "on the connection of before")
            contains(ask(stack).stdout, "upgraded from muster", "with a good one")
            equal(idle.ask("GET", "/").status, 200, "after the upgrade")
        stack.end(code=0)


STACK = """
[app.web]
run      = "<REPLICA> {port}"
replicas = 3
health   = "/healthz"

[listen.web]
bind = "127.0.0.1:<L0>"
to   = "web"

[listen.stream]
bind = "127.0.0.1:<L1>"
mode = "tcp"
to   = "web"

[listen.tls]
bind = "127.0.0.1:<L2>"
to   = "web"
tls  = { cert = "one.pem", key = "one.key" }
"""


def tunnel(port: int) -> Connection:
    """The test program gives back what it gets."""
    client = Connection(port)
    client.send("GET", "/", fields={"Connection": "Upgrade", "Upgrade": "echo"})
    equal(client.answer().status, 101, "the upgrade to a tunnel")
    return client


def all_kinds_outlive_upgrades(on_crash: str, rounds: int) -> None:
    with Stack() as stack, contextlib.ExitStack() as open_clients:
        install(stack)
        make_certificate(stack, "one", "one.test", "DNS:one.test")
        stack.write(STACK + f'\n[daemon]\nthreads = 2\non_crash = "{on_crash}"\nport_range = "{stack.ports.auto_range()}"\n')
        daemon = stack.daemon()
        stack.ready()
        pids = stack.pids("web")
        tunnels = [open_clients.enter_context(tunnel(stack.ports.listen(index))) for index, count in ((1, 20), (0, 4)) for _ in range(count)]
        context = ssl.create_default_context(cafile=str(stack.folder / "one.pem"))
        pauses = []
        with Load(stack.ports.listen(0), keep=32, fresh=8) as load:
            for number in range(rounds):
                encrypted = []
                for _ in range(4):
                    plain = open_clients.enter_context(socket.create_connection(("127.0.0.1", stack.ports.listen(2)), 60))
                    encrypted.append(open_clients.enter_context(context.wrap_socket(plain, server_hostname="one.test")))
                    encrypted[-1].sendall(b"GET / HTTP/1.1\r\nHost: one.test\r\n\r\n")
                    contains(encrypted[-1].recv(65536).decode(), "200 OK", "over TLS")
                before = load.done
                wait_for("requests between two upgrades", lambda: load.done > before + 200)  # noqa: B023
                for index, client in enumerate(tunnels):
                    client.socket.sendall(f"{number}.{index}".encode())
                told = upgrade(stack)
                contains(str(told["message"]), ["kept 3 listening addresses", "and 24 tunnels", "closed 4 TLS connections;"], "what is told")
                pauses.append(float(str(told["pause_ms"])))
                for index, client in enumerate(tunnels):
                    wanted = f"{number}.{index}".encode()
                    equal(client.exactly(len(wanted)), wanted, f"what comes back by tunnel {index}")
                for client in encrypted:
                    equal(client.recv(65536), b"", "close_notify")
                equal(stack.pids("web"), pids, "the processes of the replicas")
                equal(stack.ps()["daemon"]["pid"], daemon.pid, "the PID")
                equal([row["restarts"] for row in stack.replicas("web")], [0, 0, 0], "restarts")
        equal(load.failures, [], "failed requests")
        print("pauses:", ", ".join(f"{pause:.1f} ms" for pause in pauses))
        # Those that were taken over are watched as always.
        os.kill(pids["web/1"], signal.SIGKILL)
        stack.until("web/1", lambda row: row["state"] == "ready" and row["pid"] != pids["web/1"], "is started again")
        stack.end(code=0)


@scenario
def all_kinds_of_clients_outlive_upgrades() -> None:
    """Replicas keep their PIDs, tunnels their bytes; TLS is closed in order; no request fails."""
    all_kinds_outlive_upgrades("keep", 3)


@scenario
def upgrades_of_a_daemon_that_takes_its_replicas_along() -> None:
    """The same where replicas end with a daemon that crashes."""
    all_kinds_outlive_upgrades("stop", 3)


@scenario
def twenty_upgrades_in_a_row() -> None:
    all_kinds_outlive_upgrades("keep", 20)


if __name__ == "__main__":
    sys.exit(main())
