#!/usr/bin/env python3
"""Traffic: exact round robin, no failed request while replicas die, and what clients get when nothing can answer."""
import base64
import datetime
import hashlib
import os
import signal
import socket
import statistics
import struct
import sys
import threading
import time

from lib import procs
from lib.expect import check, contains, equal, wait_for
from lib.http import Broken, Connection, get
from lib.load import Load
from lib.scenario import main, scenario
from lib.stack import Stack

WEB = """
[app.web]
run      = "<REPLICA> {port}"
replicas = 4
listen   = "127.0.0.1:<L0>"
health   = "/healthz"
stop     = { drain = "2s" }
[app.other]
run = "<REPLICA> {port} text=one"
env = { ROUND = "0" }
"""


@scenario
def exact_over_reloads() -> None:
    """4,000 requests over 50 mixed connections and 2 threads, 10 reloads of unrelated keys meanwhile."""
    with Stack() as stack:
        stack.write(WEB)
        stack.daemon()
        stack.ready()
        port, pids = stack.ports.listen(0), stack.pids("web")
        sockets = procs.listening_sockets()[port]
        equal(len(sockets), 2, "listening sockets: one for each traffic thread")
        with Load(port, keep=30, fresh=20, total=4000, pause=0.02) as load:
            for turn in range(10):
                stack.edit(f'ROUND = "{turn}"', f'ROUND = "{turn + 1}"')
                stack.run("reload", "--no-wait")
            load.join()
        equal(load.failures, [], "failed requests")
        equal(load.done, 4000, "answered requests")
        equal(len(load.replicas), 4, "replicas that answered")
        check(load.spread() <= 1, f"counts differ by more than 1: {dict(load.replicas)}")
        equal(stack.pids("web"), pids, "pids of an app that was not edited")
        equal(procs.listening_sockets()[port], sockets, "inodes of the listening sockets")
        stack.ready()
        check(stack.app("other")["revision"] > 1, "the reloads changed nothing")


def kills_under_load(seconds: float) -> None:
    """kill -9 of one replica after the other; every GET is answered by 200."""
    with Stack() as stack:
        stack.write(WEB.replace("health   =", 'restart  = { backoff = "1ms", max_backoff = "1ms", jitter = 0 }\nhealth   ='))
        stack.daemon()
        stack.ready()
        killed, end = 0, time.monotonic() + seconds
        with Load(stack.ports.listen(0), keep=32, fresh=8) as load:
            while time.monotonic() < end:
                victim = f"web/{killed % 4}"
                pid = stack.until(victim, lambda row: row["state"] == "ready", "ready")["pid"]
                os.kill(pid, signal.SIGKILL)
                killed += 1
                threading.Event().wait(0.5)
        check(killed >= 4, f"only {killed} replicas were killed")
        check(load.done > 100, f"only {load.done} requests")
        equal(load.failures[:20], [], f"failed GETs ({len(load.failures)} of {load.done}, {killed} kills)")
        stack.ready()
        check(sum(row["restarts"] for row in stack.replicas("web")) >= killed - 1, "the kills are not in `restarts`")


@scenario
def kill_under_load() -> None:
    kills_under_load(8)


@scenario
def kill_under_load_long() -> None:
    kills_under_load(20)


@scenario
def killed_to_ready() -> None:
    """Killed to ready again: < 20 ms in the median (the app itself starts in 1 ms), by the daemon's own events."""
    with Stack() as stack:
        stack.write(WEB.replace("health   =", 'restart  = { backoff = "1ms", max_backoff = "1ms", jitter = 0 }\nhealth   ='))
        stack.daemon()
        stack.ready()
        took = []
        for turn in range(30):
            ident = f"web/{turn % 4}"
            row = stack.in_state(ident, "ready")
            begin = time.time()
            os.kill(row["pid"], signal.SIGKILL)
            stack.until(ident, lambda now, row=row: now["pid"] not in (None, row["pid"]) and now["state"] == "ready", "ready again")
            events = [e for e in stack.events(app="web", ordinal=str(turn % 4)) if e["kind"] == "ready"]
            took.append((datetime.datetime.fromisoformat(events[-1]["time"]).timestamp() - begin) * 1000)
        print(f"killed to ready: median {statistics.median(took):.1f} ms, max {max(took):.1f} ms of {len(took)}")
        check(statistics.median(took) < 20, f"median over 20 ms: {sorted(took)}")


@scenario
def nobody_ready() -> None:
    """HTTP waits in the queue, then 503 + Retry-After; TCP waits the same time, then RST. A replica ends the wait."""
    with Stack() as stack:
        stack.write('[app.web]\nrun = "<REPLICA> {port}"\nhealth = "/healthz"\n'
                    '[listen.http]\nbind = "127.0.0.1:<L0>"\nto = "web"\nqueue = { timeout = "400ms" }\n'
                    '[listen.tcp]\nbind = "127.0.0.1:<L1>"\nmode = "tcp"\nto = "web"\nqueue = { timeout = "400ms" }\n'
                    '[listen.patient]\nbind = "127.0.0.1:<L2>"\nto = "web"\nqueue = { timeout = "60s" }\n'
                    '[listen.full]\nbind = "127.0.0.1:<L3>"\nto = "web"\nqueue = { timeout = "60s", size = 0 }\n')
        stack.daemon()
        stack.ready()
        stack.run("stop", "web")
        begin = time.monotonic()
        answer = get(stack.ports.listen(0))
        equal(answer.status, 503, "without a ready replica")
        check("retry-after" in answer.fields, "503 has no Retry-After")
        check(time.monotonic() - begin >= 0.4, "503 came before the queue's timeout")
        equal(get(stack.ports.listen(3)).status, 503, "a queue of size 0")
        with socket.create_connection(("127.0.0.1", stack.ports.listen(1)), 60) as client:
            try:
                check(client.recv(1) != b"", "the TCP client got an orderly end, not RST")
            except ConnectionResetError:
                pass
        with Connection(stack.ports.listen(2)) as waiting:
            waiting.send("GET", "/")
            stack.run("start", "web")
            equal(waiting.answer().status, 200, "a request that waited for a replica")


@scenario
def limits_of_a_listener() -> None:
    """max_in_flight: one request at a time, the next in turn, none of a client that has left; max_conns: the rest waits outside."""
    with Stack() as stack:
        stack.write('[app.web]\nrun = "<REPLICA> {port}"\n'
                    '[listen.one]\nbind = "127.0.0.1:<L0>"\nto = "web"\nmax_in_flight = 1\nqueue = { timeout = "60s" }\naccess_log = "json"\n'
                    '[listen.few]\nbind = "127.0.0.1:<L1>"\nto = "web"\nmax_conns = 2\n')
        stack.daemon()
        stack.ready()
        one, few = stack.ports.listen(0), stack.ports.listen(1)

        def in_flight() -> int:
            return stack.ps()["apps"][0]["replicas"][0]["in_flight"]

        def connections() -> int:
            return next(row["connections"] for row in stack.ps()["listeners"] if row["name"] == "one")

        with Connection(one) as first, Connection(one) as last:
            first.send("GET", "/sleep/1500")
            wait_for("the first is with the replica", lambda: in_flight() == 1)
            with Connection(one) as leaves:
                leaves.send("GET", "/say/never")
                last.send("GET", "/say/last")
                wait_for("all have come", lambda: connections() == 3)
            wait_for("it has left", lambda: connections() == 2)
            equal(first.answer().status, 200, "the first")
            equal(last.answer().status, 200, "the last")
        log = stack.folder / ".muster/log/access-one.log"
        wait_for("three lines", lambda: log.exists() and log.read_text(encoding="utf-8").count("\n") == 3)
        contains(log.read_text(encoding="utf-8"), ['"status":499', '"end":"client_closed"'], "the line of the client that left")
        said = stack.run("logs", "web").stdout
        check("last" in said and "never" not in said, f"what the replica saw: {said}")

        with Connection(few) as a, Connection(few) as b:
            for client in (a, b):
                equal(client.ask("GET", "/").status, 200, "within max_conns")
            with Connection(few) as c:
                c.send("GET", "/")
                equal(b.ask("GET", "/").status, 200, "again")
                row = next(row for row in stack.ps()["listeners"] if row["name"] == "few")
                equal(row["connections"], 2, "connections")
                a.close()
                equal(c.answer().status, 200, "once there is a place")


@scenario
def slow_and_big() -> None:
    """504 when no answer begins in time, 413 over body_max, 502 when the replica breaks off."""
    with Stack() as stack:
        stack.write('[app.web]\nrun = "<REPLICA> {port}"\nreplicas = 2\n'
                    '[listen.web]\nbind = "127.0.0.1:<L0>"\nto = "web"\nbody_max = "100KiB"\ntimeout = { response = "300ms" }\n'
                    '[app.closer]\nrun = "python3 <APPS>/closer.py {port}"\nlisten = "127.0.0.1:<L1>"\nhealth = "tcp"\n')
        stack.daemon()
        stack.ready()
        port = stack.ports.listen(0)
        with Connection(port) as client:
            equal(client.ask("GET", "/sleep/3000").status, 504, "an answer that does not begin")
        equal(get(port).status, 200, "the next request")
        with Connection(port) as client:
            equal(client.ask("POST", "/", b"x" * (101 << 10)).status, 413, "a body over body_max")
        with Connection(port) as client:
            equal(client.ask("POST", "/", b"x" * (99 << 10)).text, f"{99 << 10}\n", "a body below body_max")
        equal(get(stack.ports.listen(1)).status, 502, "an app that closes without an answer")


@scenario
def drain_lets_requests_finish() -> None:
    """Stop, restart and drain: a request in flight is answered, the next ones go elsewhere."""
    with Stack() as stack:
        stack.write('[app.web]\nrun = "<REPLICA> {port}"\nreplicas = 2\nlisten = <L0>\nstop = { drain = "60s" }\n')
        stack.daemon()
        stack.ready()
        for command in (["stop", "web/0"], ["restart", "web"], ["drain", "web/1"]):
            with Connection(stack.ports.listen(0)) as first, Connection(stack.ports.listen(0)) as second:
                for client in (first, second):
                    client.send("GET", "/sleep/4000")
                wait_for("both requests are in flight", lambda: sum(row["in_flight"] for row in stack.replicas("web")) == 2)
                stack.run(*command, "--no-wait")
                equal([first.answer().status, second.answer().status], [200, 200], f"requests in flight at {' '.join(command)}")
            if command[0] != "drain":
                stack.run("start", "web")
                stack.ready()
        row = stack.one("web/1")
        equal(row["state"], "draining", "web/1 after drain")
        equal({get(stack.ports.listen(0)).replica for _ in range(6)}, {"web/0"}, "who answers while web/1 is drained")
        stack.run("undrain", "web/1")
        equal(stack.ready()["apps"][0]["ready"], 2, "after undrain")
        equal(stack.one("web/1")["pid"], row["pid"], "the process of a drained replica")


def websocket_frame(payload: bytes) -> bytes:
    mask = b"\1\2\3\4"
    return bytes([0x81, 0x80 | len(payload)]) + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


@scenario
def websocket_through_the_proxy() -> None:
    with Stack() as stack:
        stack.write('[app.chat]\nrun = "python3 <APPS>/websocket.py {port}"\nreplicas = 2\nlisten = "127.0.0.1:<L0>"\nhealth = "tcp"\n')
        stack.daemon()
        stack.ready()
        key = base64.b64encode(struct.pack("<4I", 1, 2, 3, 4)).decode()
        with Connection(stack.ports.listen(0)) as client:
            client.send("GET", "/chat", fields={"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": key, "Sec-WebSocket-Version": "13"})
            answer = client.answer()
            equal(answer.status, 101, "the upgrade")
            wanted = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
            equal(answer.fields.get("sec-websocket-accept"), wanted, "Sec-WebSocket-Accept")
            for turn in range(50):
                payload = f"message {turn}".encode()
                client.socket.sendall(websocket_frame(payload))
                equal(client.exactly(2 + len(payload)), bytes([0x81, len(payload)]) + payload, "the echoed frame")
        equal(get(stack.ports.listen(0)).status, 426, "the same app without an upgrade")


@scenario
def routes_by_host_and_path() -> None:
    """Each request goes where its host and path lead; weights move by a reload without a failed request."""
    with Stack() as stack:
        spec = ("".join(f'[app.{name}]\nrun = "<REPLICA> {{port}}"\nhealth = "/healthz"\n' for name in ("old", "new", "img")) +
                '[listen.front]\nbind = "127.0.0.1:<L0>"\n'
                '[[listen.front.route]]\npath = "/"\nto = "old"\nweight = %d\n'
                '[[listen.front.route]]\npath = "/"\nto = "new"\nweight = %d\n'
                '[[listen.front.route]]\nhost = "*.img.test"\nto = "img"\n'
                '[[listen.front.route]]\npath = "/moved"\nredirect = "https://{host}{uri}"\n'
                '[[listen.front.route]]\nhost = "closed.test"\nrespond = { status = 410, body = "gone\\n" }\n')
        stack.write(spec % (9, 1))
        stack.daemon()
        stack.ready()
        port = stack.ports.listen(0)
        equal(get(port, "/", fields={"Host": "a.img.test"}).replica, "img/0", "a wildcard host")
        moved = get(port, "/moved/x?y")
        equal((moved.status, moved.fields["location"]), (308, "https://localhost/moved/x?y"), "a redirect")
        gone = get(port, "/", fields={"Host": "CLOSED.test:80"})
        equal((gone.status, gone.text), (410, "gone\n"), "an answer without a replica")
        with Load(port, keep=4, fresh=2, total=1000) as load:
            load.join()
        equal((load.failures, dict(load.replicas)), ([], {"old/0": 900, "new/0": 100}), "9 : 1")
        with Load(port, keep=4, fresh=2) as load:
            for weights in ((1, 1), (0, 1)):
                stack.write(spec % weights)
                stack.run("reload")
            done = load.done
            wait_for("requests by the new weights", lambda: load.done > done + 100)
        equal(load.failures, [], "failed requests while the weights moved")
        equal({get(port).replica for _ in range(20)}, {"new/0"}, "all to the new one")


@scenario
def an_idle_app_comes_up_for_its_turn() -> None:
    """Of two apps that share a path the running one answers while the other is idle; its own turn starts that."""
    with Stack() as stack:
        stack.write('[app.on]\nrun = "<REPLICA> {port}"\n'
                    '[app.idle]\nrun = "<REPLICA> {port}"\nscale = { min = 0, max = 1, window = "60s" }\n'
                    '[listen.front]\nbind = "127.0.0.1:<L0>"\n'
                    '[[listen.front.route]]\npath = "/"\nto = "on"\nweight = 3\n'
                    '[[listen.front.route]]\npath = "/"\nto = "idle"\nweight = 1\n')
        stack.daemon()
        wait_for("the running app", lambda: stack.app("on")["ready"] == 1)
        equal(stack.app("idle")["replicas"], [], "replicas of the idle app")
        port = stack.ports.listen(0)
        first = [get(port) for _ in range(4)]
        equal({(answer.status, answer.replica) for answer in first}, {(200, "on/0")}, "the first round of turns")
        wait_for("the idle app's start", lambda: stack.app("idle")["ready"] == 1)
        equal(sorted(get(port).replica for _ in range(8)), ["idle/0"] * 2 + ["on/0"] * 6, "two more rounds")


@scenario
def tcp_round_robin() -> None:
    """Per connection, exact, and a reset from the replica reaches the client."""
    with Stack() as stack:
        stack.write('[app.web]\nrun = "<REPLICA> {port}"\nreplicas = 3\nlisten = "tcp://127.0.0.1:<L0>"\n')
        stack.daemon()
        stack.ready()
        with Load(stack.ports.listen(0), keep=0, fresh=8, total=600) as load:
            load.join()
        equal(load.failures, [], "failed requests")
        equal(set(load.replicas.values()), {200}, f"connections of each replica {dict(load.replicas)}")


@scenario
def hostile_heads() -> None:
    """Strict heads at the edge, each with its status, and the next client is served."""
    cases = {
        400: [b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
              b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
              b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n"],
        405: [b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"],
        414: [b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"],
        431: [b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 200 + b"\r\n"],
        505: [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/3.0\r\nHost: a\r\n\r\n"],
    }
    with Stack() as stack:
        stack.write('[app.web]\nrun = "<REPLICA> {port}"\nlisten = <L0>\n')
        stack.daemon()
        stack.ready()
        for status, heads in cases.items():
            for head in heads:
                with Connection(stack.ports.listen(0)) as client:
                    client.socket.sendall(head)
                    answer = client.answer()
                    equal(answer.status, status, repr(head[:60]))
                    check(not answer.keeps, f"the connection stays open after {head[:60]!r}")
        equal(get(stack.ports.listen(0)).status, 200, "the next client")
        equal(sum(row["requests"] for row in stack.replicas("web")), 1, "requests that reached the replica")


if __name__ == "__main__":
    sys.exit(main())
