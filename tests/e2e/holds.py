#!/usr/bin/env python3
"""What people do by hand: kept over reload and restart of the daemon, shown, and ended by an edit of what it overrides."""
import json
import select
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

from lib.expect import check, contains, equal, wait_for
from lib.http import Connection, get
from lib.scenario import main, scenario
from lib.stack import Stack

SPEC = """
[app.web]
run      = "<REPLICA> {port}"
replicas = 3
listen   = <L0>

[app.db]
run  = "<REPLICA> {port}"
port = <N0>
"""


QUEUE = """
[listen.web]
bind  = "127.0.0.1:<PORT>"
to    = "web"
queue = { timeout = "60s" }
"""


@scenario
def scale_holds() -> None:
    with Stack() as stack:
        stack.write(SPEC)
        stack.daemon()
        stack.ready()
        first = stack.pids("web")
        stack.run("scale", "web=5")
        equal(len(stack.pids("web")), 5, "replicas when scale returns")
        equal({i: p for i, p in stack.pids("web").items() if i in first}, first, "pids of those that were there")
        contains(stack.app("web")["hold"] or "", ["5", "3"], "hold")
        contains(stack.run("ps").stdout, ["5", "by hand"], "ps")
        stack.edit('port = <N0>', 'port = <N1>')
        stack.run("reload")
        equal(stack.app("web")["desired"], 5, "desired after a reload of something else")
        stack.end(signal.SIGTERM, code=0)
        stack.daemon()
        equal(stack.ready("web")["apps"][1]["desired"], 5, "desired after a restart of the daemon")
        contains(stack.run("plan").stdout, ["held: scaled to 5 by hand, the file says 3", "nothing to do"], "plan after a restart of the daemon")
        stack.run("scale", "web=1")
        equal(list(stack.pids("web")), ["web/0"], "the highest ordinals go")
        stack.edit("replicas = 3", "replicas = 2")
        stack.run("reload")
        equal((stack.app("web")["desired"], stack.app("web")["hold"]), (2, None), "after an edit of replicas")
        stack.run("scale", "web=4")
        stack.run("scale", "web=file")
        equal((stack.app("web")["desired"], stack.app("web")["hold"]), (2, None), "after scale web=file")
        contains(stack.run("scale", "nobody=2", code=None).stderr, "nobody", "scale of an app that is not there")


@scenario
def stop_holds() -> None:
    with Stack() as stack:
        stack.write(SPEC)
        stack.daemon()
        stack.ready()
        stack.run("stop", "db", "web/1")
        equal(sorted(stack.pids()), ["web/0", "web/2"], "what runs after stop")
        equal(stack.app("db")["state"], "stopped", "state of a stopped app")
        check(stack.app("db")["hold"], "a stopped app shows no hold")
        equal({get(stack.ports.listen(0)).replica for _ in range(4)}, {"web/0", "web/2"}, "who answers")
        stack.edit("replicas = 3", "replicas = 4")
        stack.run("reload")
        equal(sorted(stack.pids()), ["web/0", "web/2", "web/3"], "what runs after a reload")
        stack.end(signal.SIGTERM, code=0)
        stack.daemon()
        stack.in_state("web/3", "ready")
        stack.in_state("web/0", "ready")
        equal(sorted(stack.pids()), ["web/0", "web/2", "web/3"], "what runs after a restart of the daemon")
        equal(stack.one("web/1")["state"], "stopped", "state of web/1")
        stack.run("start", "db", "web/1")
        stack.ready()


@scenario
def drain_holds() -> None:
    with Stack() as stack:
        stack.write(SPEC)
        stack.daemon()
        stack.ready()
        pid = stack.pids()["web/2"]
        stack.run("drain", "web/2")
        stack.edit("replicas = 3", "replicas = 4")
        stack.run("reload")
        equal((stack.one("web/2")["state"], stack.one("web/2")["pid"]), ("draining", pid), "web/2 after a reload")
        check(stack.one("web/2")["reason"], "a drained replica has no reason")
        stack.end(signal.SIGTERM, code=0)
        stack.daemon()
        stack.in_state("web/2", "draining")
        stack.in_state("web/3", "ready")
        check("web/2" not in {get(stack.ports.listen(0)).replica for _ in range(8)}, "a drained replica answers")
        stack.run("undrain", "web/2")
        stack.ready()
        check("web/2" in {get(stack.ports.listen(0)).replica for _ in range(8)}, "an undrained replica does not answer")


@scenario
def a_drain_is_over_when_nothing_is_in_flight() -> None:
    """Whoever drains a replica to look after it hears when it may: not before its last request is answered. Back in rotation
    and out again, it waits anew."""
    with Stack() as stack:
        stack.write('[app.web]\nrun = "<REPLICA> {port}"\nlisten = <L0>\n')
        stack.daemon()
        stack.ready()
        for _ in range(2):
            with Connection(stack.ports.listen(0)) as client, Connection(0, path=stack.socket) as control:
                client.socket.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf ")
                wait_for("the request is in flight", lambda: stack.one("web/0")["in_flight"] == 1)
                control.send("POST", "/v1/drain", b'{"app":"web","ordinal":0,"wait":true}', close=True)
                stack.in_state("web/0", "draining")
                with Connection(0, path=stack.socket) as other:
                    other.send("POST", "/v1/drain", b'{"app":"web","ordinal":0,"wait":false}', close=True)
                    equal(other.answer().status, 200, "a drain that nobody waits for")
                equal(select.select([control.socket], [], [], 0)[0], [], "the drain is over while a request is in flight")
                client.socket.sendall(b"rest.")
                equal(client.answer().status, 200, "the request that was in flight")
                answer = control.answer()
                equal((answer.status, json.loads(answer.body)["message"]), (200, "drained"), "the drain")
            stack.run("undrain", "web/0")
        equal(get(stack.ports.listen(0)).status, 200, "after undrain")


@scenario
def a_drain_that_is_taken_back_spoils_no_other() -> None:
    """Back in rotation before its last request is answered; the next drain of it is over when nothing is in flight all the same."""
    with Stack() as stack:
        stack.write('[app.web]\nrun = "<REPLICA> {port}"\nlisten = <L0>\n')
        stack.daemon()
        stack.ready()
        for _ in range(2):
            with Connection(stack.ports.listen(0)) as client:
                client.socket.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf ")
                wait_for("the request is in flight", lambda: stack.one("web/0")["in_flight"] == 1)
                stack.api("POST", "/v1/drain", {"app": "web", "ordinal": 0, "wait": False})
                stack.in_state("web/0", "draining")
                stack.run("undrain", "web/0")
                stack.in_state("web/0", "ready")
                client.socket.sendall(b"rest.")
                equal(client.answer().status, 200, "the request that was in flight")
            contains(stack.run("drain", "web/0").stdout, "drained", "the next drain")
            stack.run("undrain", "web/0")


@scenario
def pause_holds_requests() -> None:
    """A paused app loses no request: they wait, over a reload and a restart of the daemon, and go on."""
    with Stack() as stack:
        stack.write(SPEC.replace("listen   = <L0>", "") + QUEUE.replace("<PORT>", str(stack.ports.listen(0))))
        stack.daemon()
        stack.ready()
        pids = stack.pids()
        stack.run("pause", "web")
        web = stack.app("web")
        equal((web["state"], web["hold"], web["ready"]), ("paused", "paused by hand", 3), "web while it is paused")
        with ThreadPoolExecutor(4) as pool:
            waiting = [pool.submit(get, stack.ports.listen(0)) for _ in range(4)]
            wait_for("the requests are at muster", lambda: stack.ps()["listeners"][0]["requests"] == 4)
            stack.edit("replicas = 3", "replicas = 4")
            stack.run("reload")
            check(not any(request.done() for request in waiting), "a paused app answered")
            stack.run("resume", "web")
            equal({request.result().status for request in waiting}, {200}, "what waited")
        equal({name: stack.pids()[name] for name in pids}, pids, "processes over a pause")
        stack.run("pause", "web")
        stack.end(signal.SIGTERM, code=0)
        stack.daemon()
        stack.in_state("web/0", "ready")
        equal(stack.app("web")["state"], "paused", "web after a restart of the daemon")
        stack.run("resume", "web")
        stack.ready()
        equal(get(stack.ports.listen(0)).status, 200, "an answer after resume")


@scenario
def up_begins_without_holds() -> None:
    with Stack() as stack:
        stack.write(SPEC)
        stack.up()
        stack.ready()
        stack.run("scale", "web=1")
        stack.run("stop", "db")
        stack.end(signal.SIGINT, code=130)
        stack.up()
        stack.ready()
        equal(sorted(stack.pids()), ["db/0", "web/0", "web/1", "web/2"], "what a new `up` runs")


@scenario
def restart_rolls() -> None:
    """restart APP: every process new, none missing meanwhile; APP/N: that one; --now: all together."""
    with Stack() as stack:
        stack.write(SPEC)
        stack.daemon()
        stack.ready()
        before = stack.pids()
        stack.run("restart", "web/1")
        after = stack.pids()
        equal({ident for ident in before if before[ident] != after[ident]}, {"web/1"}, "restarted by restart web/1")
        stack.run("restart", "web")
        equal({ident for ident, pid in after.items() if stack.pids()[ident] != pid}, {"web/0", "web/1", "web/2"}, "restarted by restart web")
        after = stack.pids()
        stack.run("restart", "--now", "web", "db")
        equal({ident for ident, pid in after.items() if stack.pids()[ident] != pid}, set(after), "restarted by restart --now")
        equal([row["restarts"] >= 0 for row in stack.replicas("web")], [True] * 3, "restarts")


if __name__ == "__main__":
    sys.exit(main())
