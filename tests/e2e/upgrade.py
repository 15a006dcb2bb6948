#!/usr/bin/env python3
"""Upgrade in place: the running daemon becomes the installed binary, and nobody who is connected notices."""
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import time

from lib import procs
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
    equal(get(stack.ports.listen(0)).status, 200, "a request afterwards")
    after = stack.ps()
    equal(after["daemon"]["pid"], before["daemon"]["pid"], "the PID")
    equal(os.stat(f"/proc/{after['daemon']['pid']}/exe").st_ino, image, "the running image")
    check(after["daemon"]["uptime_s"] >= before["daemon"]["uptime_s"], "the daemon has started anew")


@scenario
def what_cannot_take_over_is_refused() -> None:
    """Another program, a cut file, a folder, one that refuses, one that hangs, a bad spec: the daemon goes on as it is."""
    with Stack() as stack:
        whole = pathlib.Path(install(stack)).read_bytes()
        stack.write(SPEC)
        stack.daemon()
        with Connection(stack.ports.listen(0)) as idle, Load(stack.ports.listen(0), keep=4, fresh=2, pause=0.002) as load:
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
            (stack.folder / "muster").mkdir()
            refused(stack, "Permission denied")
            (stack.folder / "muster").rmdir()
            replace(stack, whole)
            stack.write(SPEC + "\n[app.broken]\n")
            refused(stack, "muster.toml", code=65)
            stack.write(SPEC)
            equal(idle.ask("GET", "/").status, 200, "on the connection of before")
            contains(ask(stack).stdout, "upgraded from muster", "with a good one")
            equal(idle.ask("GET", "/").status, 200, "after the upgrade")
        equal(load.failures, [], "failed requests")
        stack.end(code=0)


def wrapped(stack: Stack, script: str) -> None:
    """A program in the place of the binary that answers the daemon's question by `script`; <MUSTER> is the real one."""
    replace(stack, ("#!/bin/sh\n" + script.replace("<MUSTER>", Stack.muster)).encode())


@scenario
def a_state_that_is_too_new_is_refused() -> None:
    """To an older muster, the state and the handover of this one are from the future: it says so and nothing changes."""
    with Stack() as stack:
        install(stack)
        stack.write(SPEC)
        stack.daemon()
        for kind in ("state", "handover"):
            # This build is the older one when what it reads says that it is of the next version.
            wrapped(stack, f"""sed -i 's/^{{"muster_{kind}":1,/{{"muster_{kind}":2,/' "$2"\nexec <MUSTER> "$@"\n""")
            refused(stack, f"the {kind} was written by a newer muster (version 2; this one knows 1)")
        stack.end(code=0)


@scenario
def specs_that_would_not_start_are_refused() -> None:
    """What the next image needs of the host for an edited spec is tried before anything is given up."""
    with Stack() as stack, socket.create_server(("127.0.0.1", 0)) as stranger:
        install(stack)
        stack.write(SPEC)
        stack.daemon()
        port = stranger.getsockname()[1]
        stack.write(SPEC.replace("bind = [", f'bind = ["127.0.0.1:{port}", "127.0.0.1:<L1>", '))
        refused(stack, f"127.0.0.1:{port}: Address already in use")
        equal(list({stack.ports.listen(1)} & set(procs.listening_sockets())), [], "what was opened for it")
        if os.getuid() == 0:
            stack.write(SPEC + '\n[defaults]\nnice = 1\n[app.web]\nrun = "sleep 1000"\n')
            refused(stack, "has no `user`", code=65)
        stack.write(SPEC.replace("bind = [", 'bind = ["127.0.0.1:<L1>", '))
        contains(ask(stack).stdout, "upgraded from muster", "with a good one")
        equal([get(stack.ports.listen(index)).text for index in (0, 1)], ["here", "here"], "at the old and the new address")
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


DRAINS = """
[app.web]
run      = "<REPLICA> {port}"
replicas = 4
health   = "/healthz"
stop     = { drain = "1h" }

[listen.web]
bind = "127.0.0.1:<L0>"
to   = "web"
"""


@scenario
def what_is_drained_ends_after_its_last_tunnel() -> None:
    """Out of rotation by hand, on its way out, or not wanted by the new file: the next image, too, waits for its tunnels."""
    with Stack() as stack, contextlib.ExitStack() as open_clients:
        install(stack)
        stack.write(DRAINS)
        stack.daemon()
        stack.ready()
        tunnels: dict[str, Connection] = {}
        for _ in range(4):
            client = open_clients.enter_context(Connection(stack.ports.listen(0)))
            client.send("GET", "/", fields={"Connection": "Upgrade", "Upgrade": "echo"})
            answer = client.answer()
            equal(answer.status, 101, "the upgrade to a tunnel")
            tunnels[answer.replica] = client
        equal(sorted(tunnels), ["web/0", "web/1", "web/2", "web/3"], "a tunnel to each")
        stack.run("drain", "web/0", "--no-wait")
        stack.run("stop", "web/1", "--no-wait")
        for ident in ("web/0", "web/1"):
            stack.in_state(ident, "draining")
        pids = stack.pids("web")
        stack.edit("replicas = 4", "replicas = 3")  # read by the next image
        for _ in range(2):
            contains(str(upgrade(stack)["message"]), "and 4 tunnels", "what is told")
            stack.in_state("web/3", "draining")
        stack.run("stop", "web/0", "--no-wait")
        equal(stack.pids("web"), pids, "the processes")
        equal({get(stack.ports.listen(0)).replica for _ in range(4)}, {"web/2"}, "what answers")
        for ident, client in tunnels.items():
            client.socket.sendall(ident.encode())
            equal(client.exactly(len(ident)), ident.encode(), f"what comes back by the tunnel to {ident}")
        for ident in ("web/0", "web/1", "web/3"):
            tunnels[ident].socket.close()
            wait_for(f"{ident} has ended", lambda: ident not in stack.pids("web"))  # noqa: B023
        equal(stack.pids("web"), {"web/2": pids["web/2"]}, "the process that is left")
        tunnels["web/2"].socket.close()
        stack.end(code=0)


@scenario
def an_exec_that_fails_is_undone() -> None:
    """The binary vanishes once it has answered: all that was given up is taken back, and nobody who is connected notices."""
    with Stack() as stack, contextlib.ExitStack() as open_clients:
        install(stack)
        make_certificate(stack, "one", "one.test", "DNS:one.test")
        stack.write(STACK)
        daemon = stack.daemon()
        stack.ready()
        pids = stack.pids("web")
        tunnels = [open_clients.enter_context(tunnel(stack.ports.listen(index))) for index in (0, 1)]
        with Load(stack.ports.listen(0), keep=8, fresh=4, pause=0.002) as load:
            for number in range(3):
                wrapped(stack, '<MUSTER> "$@"\ncode=$?\nrm "$0"\nexit $code\n')
                before = load.done
                wait_for("requests between two tries", lambda: load.done > before + 200)  # noqa: B023
                for client in tunnels:
                    client.socket.sendall(b"ping%d" % number)
                refused(stack, "exec", "No such file")
                for client in tunnels:
                    equal(client.exactly(5), b"ping%d" % number, "what comes back by a tunnel")
                equal(stack.pids("web"), pids, "the processes of the replicas")
        equal(load.failures, [], "failed requests")
        # All is as it was: signals, children, reloads, and an upgrade that succeeds.
        os.kill(pids["web/1"], signal.SIGKILL)
        stack.until("web/1", lambda row: row["state"] == "ready" and row["pid"] != pids["web/1"], "is started again")
        stack.edit("replicas = 3", "replicas = 2")
        os.kill(daemon.pid, signal.SIGHUP)
        stack.ready("web", count=2)
        replace(stack, pathlib.Path(Stack.muster).read_bytes())
        contains(ask(stack).stdout, "upgraded from muster", "with a good one")
        equal(stack.ps()["daemon"]["pid"], daemon.pid, "the PID")
        stack.end(code=0)


@scenario
def a_rollout_goes_on_over_upgrades() -> None:
    """Half of the replicas are new when the daemon becomes another: the rest follows, once, and no request fails."""
    with Stack() as stack:
        install(stack)
        stack.write(STACK.split("[listen.stream]")[0].replace("{port}", "{port} text=one start=300").replace("replicas = 3", "replicas = 4"))
        stack.daemon()
        stack.ready()
        with Load(stack.ports.listen(0), keep=8, fresh=4, pause=0.002) as load:
            stack.edit("text=one", "text=two")
            stack.run("reload", "--no-wait")
            for ready in (1, 2, 3):
                wait_for(f"{ready} new replicas", lambda: len([row for row in stack.replicas("web") if row["revision"] == 2 and row["state"] == "ready"]) >= ready)  # noqa: B023
                contains(str(upgrade(stack)["message"]), "upgraded from muster", "what is told")
            stack.ready("web", count=4)
            wait_for("only new replicas", lambda: {row["revision"] for row in stack.replicas("web")} == {2})
        equal(load.failures, [], "failed requests")
        equal([row["restarts"] for row in stack.replicas("web")], [0] * 4, "restarts")
        equal({get(stack.ports.listen(0)).text.split()[1] for _ in range(8)}, {"two"}, "what answers")
        stack.end(code=0)


@scenario
def a_job_goes_on_over_upgrades() -> None:
    """A run under way is not started anew, its end is seen, and whoever waits for it by hand hears of it."""
    with Stack() as stack:
        install(stack)
        stack.write('[job.work]\nrun = "sh -c \'echo begun >> <DIR>/work; until test -e <DIR>/go; do sleep 0.05; done; echo done >> <DIR>/work; exit 3\'"\n')
        stack.daemon()
        work = stack.folder / "work"
        wait_for("the job runs", lambda: work.exists() and stack.ps()["jobs"][0]["state"] == "running")
        for _ in range(3):
            upgrade(stack)
        equal(stack.ps()["jobs"][0]["state"], "running", "the job's state")
        (stack.folder / "go").touch()
        wait_for("the job has ended", lambda: stack.ps()["jobs"][0]["state"] == "failed")
        contains(stack.run("why", "work", code=None).stdout, "status 3", "why")
        equal(work.read_text(), "begun\ndone\n", "what it did")
        stack.end(code=0)


@scenario
def an_up_in_the_foreground_is_upgraded() -> None:
    """Its merged output goes on at the same place, without a line twice or missing; it still ends by the interrupt."""
    with Stack() as stack:
        install(stack)
        counter = stack.folder / "count.py"
        counter.write_text("import time\nfor n in range(10**9):\n    print('line', n, flush=True)\n    time.sleep(0.002)\n", encoding="utf-8")
        # Nobody is `user` here: what `daemon` insists on as root is none of `up`.
        stack.write(f'[daemon]\nport_range = "{stack.ports.auto_range()}"\n[defaults]\nnice = 0\n[app.count]\nrun = "python3 <DIR>/count.py"\n[app.other]\nrun = "sleep 1000"\n')
        up = stack.up("count")
        stack.ready()
        pids = stack.pids()

        def lines() -> list[int]:
            return [int(number) for number in re.findall(r"count/0\s*\| line (\d+)$", stack.output(), re.MULTILINE)]

        for _ in range(3):
            before = len(lines())
            wait_for("lines between two upgrades", lambda: len(lines()) > before + 50)  # noqa: B023
            contains(str(upgrade(stack)["message"]), "upgraded from muster", "what is told")
            equal((stack.ps()["daemon"]["pid"], stack.pids()), (up.pid, pids), "the PIDs")
        before = len(lines())
        wait_for("lines after the last", lambda: len(lines()) > before + 50)
        equal(lines(), list(range(len(lines()))), "the lines of the merged output")
        stack.end(signal.SIGINT, code=130)


# One plain client in a process of its own, so that nothing but muster holds it up: when each answer came, and after how long.
PROBER = """
import socket, sys, time
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
    while True:
        began = time.monotonic()
        connection.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
        answer = b""
        while b"\\r\\n\\r\\n" not in answer or not answer.endswith(b"\\n"):
            piece = connection.recv(65536)
            if not piece:
                sys.exit("the connection was closed")
            answer += piece
        now = time.monotonic()
        print(now, now - began, flush=True)
        time.sleep(0.0005)
"""


def gaps(answers: list[tuple[float, float]], windows: list[tuple[float, float]]) -> list[float]:
    """In ms, for each window: how much longer than usual the slowest answer took."""
    usual = statistics.median(took for _, took in answers)
    return [1000 * max(took - usual for at, took in answers if began <= at <= ended + took) for began, ended in windows]


@scenario
def the_pause_is_short() -> None:
    """Under full load no plain client waits 20 ms longer than usual, in 20 upgrades; a figure of a quiet machine."""
    with Stack() as stack, contextlib.ExitStack() as open_clients:
        install(stack)
        shutil.copy2(pathlib.Path(Stack.muster).parent / "muster-shim", stack.folder / "muster-shim")
        make_certificate(stack, "one", "one.test", "DNS:one.test")
        stack.write(STACK + f'\n[daemon]\nthreads = 2\nport_range = "{stack.ports.auto_range()}"\n')
        stack.daemon()
        stack.ready()
        for index, count in ((1, 20), (0, 4)):
            for _ in range(count):
                open_clients.enter_context(tunnel(stack.ports.listen(index)))
        context = ssl.create_default_context(cafile=str(stack.folder / "one.pem"))
        log, told, windows = stack.folder / "prober.log", [], []
        with open(log, "wb") as out:
            prober = subprocess.Popen([sys.executable, "-c", PROBER, str(stack.ports.listen(0))], stdout=out)
        try:
            with Load(stack.ports.listen(0), keep=32, fresh=8, pause=0.01) as load:
                for _ in range(20):
                    for _ in range(4):
                        plain = open_clients.enter_context(socket.create_connection(("127.0.0.1", stack.ports.listen(2)), 60))
                        open_clients.enter_context(context.wrap_socket(plain, server_hostname="one.test"))
                    before, began = load.done, time.monotonic()
                    wait_for("requests between two upgrades", lambda: load.done > before + 500)  # noqa: B023
                    told.append(float(str(upgrade(stack)["pause_ms"])))
                    after = load.done
                    wait_for("requests after the upgrade", lambda: load.done > after + 200)  # noqa: B023
                    windows.append((began, time.monotonic()))
            equal(prober.poll(), None, "the prober")
        finally:
            prober.kill()
            prober.wait()
        equal(load.failures, [], "failed requests")
        answers = [(float(at), float(took)) for at, took in (line.split() for line in log.read_text().splitlines()[:-1])]
        seen = gaps(answers, windows)
        print("as told:", ", ".join(f"{pause:.1f}" for pause in sorted(told)), "ms")
        print("as seen:", ", ".join(f"{gap:.1f}" for gap in sorted(seen)), "ms")
        check(max(told) < 20 and max(seen) < 20, f"the longest pause is {max(told):.1f} ms as told, {max(seen):.1f} ms as seen")
        stack.end(code=0)


@scenario
def twenty_upgrades_in_a_row() -> None:
    all_kinds_outlive_upgrades("keep", 20)


if __name__ == "__main__":
    sys.exit(main())
