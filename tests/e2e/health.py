#!/usr/bin/env python3
"""Readiness, liveness, watchdog, order of start and stop, and what a listening port says."""
import sys

from lib import procs
from lib.expect import check, contains, equal, wait_for
from lib.http import get
from lib.scenario import main, scenario
from lib.stack import Stack


@scenario
def every_kind_of_readiness() -> None:
    """tcp, http, cmd, notify, log and none: each app is unready until its own condition holds."""
    with Stack() as stack:
        stack.write("""
[app.tcp]
run = "<REPLICA> {port} start=500"
health = "tcp"
[app.http]
run = "<REPLICA> {port} start=500"
health = "/healthz"
[app.cmd]
run = "<REPLICA> {port}"
health = "cmd test -e <DIR>/flag-{ordinal}"
[app.notify]
run = "<REPLICA> {port} notify=700"
health = "notify"
[app.log]
run = "<REPLICA> {port} start=500"
health = "log:^listen.*g$"
[app.none]
run = "sleep 1000"
health = "none"
[app.alive]
run = "sleep 1000"
[app.both]
run = "<REPLICA> {port}"
health = { http = "/healthz", cmd = "test -e <DIR>/flag-0" }
""")
        stack.daemon()
        for name in ("tcp", "http", "notify", "log", "none", "alive"):
            stack.in_state(f"{name}/0", "ready")
        for name in ("cmd", "both"):
            row = stack.one(f"{name}/0")
            equal(row["state"], "starting", f"{name}/0 before its flag is there")
            check(row["reason"], f"{name}/0 has no reason")
        (stack.folder / "flag-0").touch()
        stack.ready()
        (stack.folder / "flag-0").unlink()
        row = stack.in_state("cmd/0", "unready")
        contains(row["reason"], "1", "the reason of a failed command")
        check(procs.alive(row["pid"]), "a fallen readiness killed the replica")
        took = {e["app"]: e["text"] for e in stack.events() if e["kind"] == "ready"}
        contains(took["notify"], "ready", "the event")


@scenario
def readiness_gates_traffic() -> None:
    """A sick replica gets no more traffic and keeps running; well again, it answers."""
    with Stack() as stack:
        stack.write('[app.web]\nrun = "<REPLICA> {port}"\nreplicas = 2\nlisten = <L0>\n'
                    'health = { http = "/healthz", every = "100ms", fall = 2 }\n')
        stack.daemon()
        stack.ready()
        row = stack.one("web/1")
        get(row["port"], "/sick")
        stack.in_state("web/1", "unready")
        contains(stack.one("web/1")["reason"], "503", "the reason")
        equal({get(stack.ports.listen(0)).replica for _ in range(4)}, {"web/0"}, "who answers")
        contains(stack.run("why", "web/1").stdout, ["503", "unready"], "why")
        get(row["port"], "/well")
        stack.ready()
        equal(stack.one("web/1")["pid"], row["pid"], "the pid of a replica that was only unready")
        equal({get(stack.ports.listen(0)).replica for _ in range(4)}, {"web/0", "web/1"}, "who answers")


@scenario
def liveness_restarts() -> None:
    with Stack() as stack:
        stack.write('[app.web]\nrun = "<REPLICA> {port}"\nreplicas = 2\nhealth = "tcp"\n'
                    'live = { http = "/healthz", every = "100ms", fall = 2 }\n')
        stack.daemon()
        stack.ready()
        row = stack.one("web/0")
        get(row["port"], "/sick")
        stack.until("web/0", lambda now: now["pid"] not in (None, row["pid"]) and now["state"] == "ready", "restarted")
        check(not procs.alive(row["pid"]), "the sick process lives")
        equal(stack.one("web/0")["restarts"], 1, "restarts")


@scenario
def watchdog_restarts() -> None:
    with Stack() as stack:
        stack.write('[app.web]\nrun = "<REPLICA> {port} ping"\nwatchdog = "2s"\n')
        stack.daemon()
        stack.ready()
        row = stack.one("web/0")
        get(row["port"], "/mute")
        stack.until("web/0", lambda now: now["pid"] not in (None, row["pid"]) and now["state"] == "ready", "restarted")
        check(not procs.alive(row["pid"]), "the silent process lives")
        stack.event("the watchdog is named", lambda e: "watchdog" in (e["kind"] + e["text"]), app="web")


@scenario
def start_and_stop_in_order() -> None:
    """`after` waits for readiness, for `started`, for `completed-ok`; the stop runs in reverse."""
    with Stack() as stack:
        stack.write("""
[app.web]
run   = "<REPLICA> {port}"
after = ["db"]
[app.db]
run    = "<REPLICA> {port} start=400"
port   = <N0>
after  = { migrate = "completed-ok" }
[app.migrate]
run     = "sh -c 'sleep 0.3'"
restart = "never"
[app.side]
run   = "<REPLICA> {port}"
after = { db = "started" }
""")
        stack.daemon()
        wait_for("web is ready", lambda: stack.one("web/0")["state"] == "ready")
        stack.in_state("side/0", "ready")
        equal(stack.app("migrate")["state"], "completed", "state of migrate")
        seqs = {(e["app"], e["kind"]): e["seq"] for e in reversed(stack.events())}
        check(seqs["db", "ready"] < seqs["web", "starting"], "web started before db was ready")
        check(seqs["db", "starting"] < seqs["side", "starting"], "side started before db")
        check(seqs["migrate", "starting"] < seqs["db", "starting"], "db started before migrate")
        env = procs.environment(stack.pids()["web/0"])
        equal(env.get("MUSTER_ADDR_DB"), f"127.0.0.1:{stack.ports.numbered(0)}", "MUSTER_ADDR_DB")
        pids = stack.pids()
        stack.run("stop", "web")
        stack.run("restart", "db")
        equal(stack.app("web")["state"], "stopped", "web after a restart of what it comes after")
        stack.run("start", "web")
        stack.end(code=0)
        lines = stack.output()
        check(not [pid for pid in pids.values() if procs.alive(pid)], "a replica is left")
        stops = [line for line in lines.splitlines() if "stopping" in line]
        last = {name: max((i for i, line in enumerate(stops) if name in line), default=-1) for name in ("web", "db")}
        check(-1 < last["web"] < last["db"], "db was stopped before web:\n" + "\n".join(stops))


@scenario
def a_waiting_app_says_for_what() -> None:
    with Stack() as stack:
        stack.write('[app.web]\nrun = "<REPLICA> {port}"\nlisten = <L0>\nafter = ["db"]\n[app.db]\nrun = "<REPLICA> {port}"\nport = <N0>\n'
                    'health = "cmd test -e <DIR>/go"\n')
        stack.daemon()
        row = stack.in_state("web/0", "waiting")
        contains(row["reason"], "db", "the reason of a waiting replica")
        contains(stack.run("why", "web").stdout, "db", "why")
        (stack.folder / "go").touch()
        stack.ready()


@scenario
def wrong_port_and_wide_port() -> None:
    with Stack() as stack:
        stack.write("""
[app.wrong]
run  = "<REPLICA> <N1>"
port = <N0>
[app.wide]
run  = "<REPLICA> {port} addr=0.0.0.0"
port = <N2>
""")
        stack.daemon()
        row = stack.until("wrong/0", lambda now: str(stack.ports.numbered(1)) in (now["reason"] or ""), "names the port it listens on")
        contains(row["reason"], ["listens on", f"expected 127.0.0.1:{stack.ports.numbered(0)}", "{port}"], "the reason")
        check(row["state"] in ("starting", "unready"), f"wrong/0 is {row['state']}")
        stack.in_state("wide/0", "ready")
        contains(stack.run("why", "wide/0").stdout, ["0.0.0.0", "warning"], "why of an app that listens at every address")


if __name__ == "__main__":
    sys.exit(main())
