#!/usr/bin/env python3
"""Processes: crash loops, trees, clean children, strangers on a port."""
import contextlib
import datetime
import os
import pathlib
import signal
import socket
import sys
import time

from lib import procs
from lib.expect import Skipped, check, contains, equal, wait_for
from lib.http import get
from lib.load import Load
from lib.ports import is_free
from lib.scenario import main, scenario
from lib.stack import Stack, Status


def moment(event: Status) -> float:
    return datetime.datetime.fromisoformat(event["time"]).timestamp()


CRASHER = """
[app.crasher]
run = "<REPLICA> {port} life=1200 code=1"
health = "tcp"

[app.web]
run      = "<REPLICA> {port}"
replicas = 2
listen   = <L0>
"""


@scenario
def crash_loop_backs_off() -> None:
    """Lives 1.2 s, exits 1: gaps of 0, 1, 2, 4, 8 s and up to 25 % more; others' traffic has no error; the mended app is
    running within a second of its reload."""
    with Stack() as stack:
        stack.write(CRASHER)
        stack.daemon()
        stack.ready("web")
        with Load(stack.ports.listen(0), keep=2, fresh=1, pause=0.01) as load:
            stack.until("crasher/0", lambda row: row["restarts"] >= 5, "five restarts")
            row = stack.one("crasher/0")
            events = stack.events(app="crasher")
            stack.in_state("crasher/0", "backoff")
            row = stack.one("crasher/0")
            equal(row["last_exit"]["code"], 1, "last_exit.code")
            check(row["next_start_s"] is not None and row["next_start_s"] > 8, f"next_start_s is {row['next_start_s']}")
            contains(row["reason"], "status 1", "the reason of the backoff")
            contains(stack.run("why", "crasher/0").stdout, ["exited with status 1", "next start"], "why")
            stack.edit("life=1200", "life=600000")
            begin = time.time()
            stack.run("reload")
            row = stack.in_state("crasher/0", "ready")
            mended = moment([e for e in stack.events(app="crasher") if e["kind"] == "starting"][-1]) - begin
        equal(load.failures[:5], [], "failed requests of the other app")
        check(load.done > 500, f"only {load.done} requests of the other app")
        equal(row["restarts"], 0, "restarts of the new revision")
        print(f"mended: started {mended:.3f} s after reload")
        check(mended < 1, f"the mended app started {mended:.2f} s after reload")
        starts = [e for e in events if e["kind"] == "starting"]
        ends = [e for e in events if e["kind"] == "backoff"]
        gaps = [moment(start) - moment(end) for end, start in zip(ends, starts[1:])]
        print("gaps:", ", ".join(f"{gap:.2f}" for gap in gaps))
        for gap, due in zip(gaps, (0, 1, 2, 4, 8), strict=True):
            check(due - 0.005 <= gap <= due * 1.25 + 0.25, f"a gap of {gap:.2f} s where {due} s are due")


@scenario
def restart_policies() -> None:
    with Stack() as stack:
        stack.write("""
[app.done]
run = "sh -c 'exit 0'"
restart = "on-failure"
[app.ok]
run = "sh -c 'exit 7'"
restart = { policy = "on-failure", ok_codes = [0, 7] }
[app.never]
run = "sh -c 'exit 3'"
restart = "never"
[app.often]
run = "sh -c 'exit 3'"
restart = { backoff = "10ms", max_restarts = "3 in 5m" }
[app.absent]
run = "<DIR>/no-such-program"
[app.other]
run = "<REPLICA> {port}"
""")
        stack.daemon()
        for name, state in (("done", "completed"), ("ok", "completed"), ("never", "failed"), ("often", "failed"), ("other", "ready")):
            stack.in_state(name, state)
        equal(stack.one("often/0")["restarts"], 3, "restarts of max_restarts = 3")
        row = stack.in_state("absent/0", "backoff")
        contains(row["reason"], ["no-such-program", "no such file"], "the reason")
        stack.run("start", "never", "--no-wait")
        stack.event("a failed app starts again by hand", lambda e: e["kind"] == "starting" and e["seq"] > 3, app="never")


TREE = """
[app.tree]
run   = '''sh -c 'setsid sh -c "trap \\"\\" TERM; (trap \\"\\" TERM; exec sleep 1111) & exec sleep 1112" & trap "" TERM; <REPLICA> $PORT strays ignore-term; true' '''
port  = <N0>
stop  = { timeout = "300ms" }
[app.web]
run = "<REPLICA> {port}"
"""


@scenario
def trees_end_whole() -> None:
    """sh -c → setsid → double fork, TERM ignored by all: stop, restart and a crash leave none of them."""
    with Stack() as stack:
        stack.write(TREE)
        daemon = stack.daemon()
        stack.ready()
        web = set(stack.pids("web").values())

        def tree() -> set[int]:
            found = procs.descendants(os.getpid()) - web - {daemon.pid} - procs.keepers(os.getpid())
            return found if len(found) >= 5 else set()

        first = wait_for("the tree has grown: shells, sleeps, a replica and its stray", tree)
        stack.run("stop", "tree")
        left = {pid for pid in first if procs.alive(pid)}
        check(not left, f"stop leaves {procs.describe(left)}")
        stack.run("start", "tree")
        second = wait_for("the tree has grown", tree)
        stack.run("restart", "tree")
        left = {pid for pid in second if procs.alive(pid)}
        check(not left, f"restart leaves {procs.describe(left)}")
        third = wait_for("the tree has grown", tree)
        main_pid = stack.pids()["tree/0"]
        os.kill(main_pid, signal.SIGKILL)
        stack.until("tree/0", lambda row: row["pid"] not in (None, main_pid) and row["state"] == "ready", "started again")
        left = {pid for pid in third if procs.alive(pid)}
        check(not left, f"a crash leaves {procs.describe(left)}")


@scenario
def a_killed_daemon_leaves_nothing() -> None:
    """kill -9 of muster: the replicas go with it, and the next daemon starts on the same ports and volumes."""
    with Stack() as stack:
        stack.write('[app.db]\nrun = "<REPLICA> {port}"\nreplicas = 3\nport = <N0>\nvolume = "data"\n'
                    f'[daemon]\nthreads = 1\non_crash = "stop"\nport_range = "{stack.ports.auto_range()}"\n')
        daemon = stack.daemon()
        stack.ready()
        pids = stack.pids()
        daemon.kill()
        daemon.wait()
        wait_for("the replicas are gone", lambda: not [pid for pid in pids.values() if procs.alive(pid)])
        stack.daemon()
        stack.ready()
        equal(len(stack.pids()), 3, "replicas of the next daemon")


def links(pid: int) -> dict[int, str]:
    """What its descriptors are."""
    found = {}
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found[int(fd)] = os.readlink(f"/proc/{pid}/fd/{fd}")
    return found


@scenario
def children_start_clean() -> None:
    """Promise 11: environment, descriptors, signals, session, limits, groups."""
    with Stack(environment={"SECRET_OF_MUSTER": "x", "NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "1", "LISTEN_FDS": "0", "LANG": "C"}) as stack:
        stack.write("""
[app.web]
run      = "<REPLICA> {port}"
replicas = 2
volume   = "data"
listen   = <L0>
env      = { GREETING = "hello {ordinal} of {replicas}" }
after    = ["db"]
umask    = "027"
[app.db]
run  = "<REPLICA> {port}"
port = <N0>
""")
        stack.daemon()
        stack.ready()
        row = stack.one("web/1")
        pid = row["pid"]
        env = procs.environment(pid)
        wanted = {"PORT": str(row["port"]), "MUSTER_APP": "web", "MUSTER_ORDINAL": "1", "MUSTER_REPLICAS": "2", "GREETING": "hello 1 of 2",
                  "MUSTER_VOLUME_DATA": str((stack.folder / ".muster/volumes/web/1/data").resolve()),
                  "MUSTER_ADDR_DB": f"127.0.0.1:{stack.ports.numbered(0)}"}
        equal({name: env.get(name) for name in wanted}, wanted, "the environment")
        others = set(env) - set(wanted) - {"PATH", "HOME", "USER", "SHELL", "LANG", "TZ"}
        check(all(name.startswith("MUSTER_") for name in others), f"a child of the daemon got {sorted(others)}")
        facts = procs.status(pid)
        equal(facts["SigBlk"], "0" * 16, "blocked signals")
        ignored = int(facts["SigIgn"], 16) & ~(1 << (signal.SIGPIPE - 1))  # the replica itself ignores PIPE
        equal(ignored, 0, "ignored signals")
        equal(facts["CapAmb"], "0" * 16, "ambient capabilities")
        equal(facts["NoNewPrivs"], "1", "NoNewPrivs in `daemon`")
        equal(facts["Umask"], "0027", "umask")
        equal(os.getsid(pid), pid, "its session")
        opened = links(pid)
        equal(opened[0], "/dev/null", "stdin")
        extra = {fd: target for fd, target in opened.items() if fd > 2 and not target.startswith("socket:") and "lock" not in target}
        check(not extra, f"descriptors that nobody declared: {extra}")
        # Its listener; while it is probed there is one more.
        wait_for("a replica with one socket", lambda: sum(target.startswith("socket:") for target in links(pid).values()) == 1)
        wanted_limit = open(f"/proc/{os.getpid()}/limits", encoding="ascii").read().split("Max open files")[1].split()[0]
        equal(open(f"/proc/{pid}/limits", encoding="ascii").read().split("Max open files")[1].split()[0], wanted_limit, "soft limit of files")


@scenario
def up_hands_its_environment_on() -> None:
    with Stack(environment={"WORD_OF_MINE": "x", "NOTIFY_SOCKET": "/nowhere"}) as stack:
        stack.write('[app.web]\nrun = "<REPLICA> {port}"\n[app.clean]\nrun = "<REPLICA> {port}"\ninherit_env = ["WORD_OF_MINE"]\n')
        stack.up()
        stack.ready()
        env = procs.environment(stack.pids()["web/0"])
        equal((env.get("WORD_OF_MINE"), env.get("PYTHONUNBUFFERED"), env.get("NOTIFY_SOCKET")), ("x", "1", None), "environment in up")
        clean = procs.environment(stack.pids()["clean/0"])
        equal((clean.get("WORD_OF_MINE"), clean.get("XDG_RUNTIME_DIR")), ("x", None), "inherit_env with names")


@scenario
def a_stranger_on_a_port() -> None:
    """db/1's port is taken: db/1 gets no byte and ps says by whom; freed, it becomes ready unasked."""
    with Stack() as stack:
        port = stack.ports.numbered(1)
        with socket.create_server(("127.0.0.1", port)) as stranger:
            stack.write('[app.db]\nrun = "<REPLICA> {port}"\nreplicas = 3\nport = <N0>\nlisten = <L0>\n')
            stack.daemon()
            stack.in_state("db/0", "ready")
            stack.in_state("db/2", "ready")
            row = stack.in_state("db/1", "backoff")
            contains(row["reason"], [f"port {port} is held by", str(os.getpid()), "python"], "the reason")
            contains(stack.run("ps").stdout, str(os.getpid()), "ps")
            equal(sorted({get(stack.ports.listen(0)).replica for _ in range(10)}), ["db/0", "db/2"], "who answers")
            stranger.setblocking(False)
            try:
                stranger.accept()
                check(False, "something connected to the stranger")
            except BlockingIOError:
                pass
        stack.in_state("db/1", "ready")
        equal(row["restarts"], 0, "a taken port counts as a restart")


@scenario
def a_stranger_takes_the_port_of_a_running_replica() -> None:
    """The replica listens elsewhere, a stranger answers on its port: the probe does not count."""
    with Stack() as stack:
        port = stack.ports.numbered(0)
        check(is_free(port), "port is taken")
        stack.write('[app.web]\nrun = "sleep 1000"\nport = <N0>\nhealth = "tcp"\n')
        stack.daemon()
        stack.in_state("web/0", "starting")
        with socket.create_server(("127.0.0.1", port)):
            row = stack.until("web/0", lambda now: str(os.getpid()) in (now["reason"] or ""), "names the stranger")
            check(row["state"] != "ready", "a replica is ready by a stranger's answer")


@scenario
def automatic_ports_differ() -> None:
    with Stack() as stack:
        stack.write('[app.web]\nrun = "<REPLICA> {port}"\nreplicas = 12\nports = { admin = "auto" }\n')
        stack.daemon()
        stack.ready()
        ports = [row["port"] for row in stack.replicas("web")]
        equal(len(set(ports)), 12, "different ports")
        check(set(ports) <= set(stack.ports.all()), f"ports outside of port_range: {ports}")


UNIX_SPEC = """
[app.web]
run      = "<REPLICA> {port}"
port     = "unix"
replicas = 2
health   = "/healthz"

[app.plain]
run    = "<REPLICA> {port}"
port   = "unix"
after  = ["web"]

[listen.front]
bind = "127.0.0.1:<L0>"
to   = "web"

[listen.stream]
bind = "127.0.0.1:<L1>"
mode = "tcp"
to   = "plain"
"""


@scenario
def sockets_in_place_of_ports() -> None:
    """port = "unix": HTTP, TCP and both probes; each process has a path of its own, and none is left behind."""
    with Stack() as stack:
        stack.write(UNIX_SPEC)
        stack.daemon()
        stack.ready()

        def paths() -> dict[str, pathlib.Path]:
            rows = [row for app in stack.ps()["apps"] for row in app["replicas"]]
            check(all(row["port"] is None and row["address"].startswith("unix:/") for row in rows), f"addresses: {rows}")
            return {row["id"]: pathlib.Path(row["address"].removeprefix("unix:")) for row in rows}

        before = paths()
        equal(len(set(before.values())), 3, "paths")
        check(all(path.is_socket() for path in before.values()), f"no sockets: {before}")
        equal(procs.environment(stack.pids()["web/0"])["PORT"], str(before["web/0"]), "PORT")
        equal(sorted(get(stack.ports.listen(0)).replica for _ in range(4)), ["web/0", "web/0", "web/1", "web/1"], "over HTTP")
        equal(get(stack.ports.listen(1)).replica, "plain/0", "over TCP")
        os.kill(stack.pids()["plain/0"], signal.SIGKILL)
        wait_for("the socket is removed with its folder", lambda: not before["plain/0"].parent.exists())
        stack.ready()
        check(paths()["plain/0"] != before["plain/0"], "another process has another path")
        equal(get(stack.ports.listen(1)).replica, "plain/0", "after the restart")
        stack.run("restart", "web")
        wait_for("web was rolled", lambda: not before["web/0"].exists() and not before["web/1"].exists())
        stack.ready()
        last = paths()

        stack.daemon_process.kill()
        stack.daemon_process.wait()
        check(any(path.exists() for path in last.values()), "a killed daemon cannot tidy up")
        stack.daemon()
        stack.ready()
        wait_for("the next one does", lambda: not any(path.exists() for path in set(last.values()) - set(paths().values())))
        folder = paths()["web/0"].parent.parent
        stack.end(code=0)
        check(not folder.exists(), f"{folder} is left behind")


@scenario
def apps_as_other_users() -> None:
    if os.getuid() != 0:
        raise Skipped("not root")
    with Stack() as stack:
        stack.folder.chmod(0o755)
        stack.write('[app.web]\nrun = "<REPLICA> {port}"\nuser = "nobody"\nvolume = "data"\n[app.root]\nrun = "<REPLICA> {port}"\nuser = "root"\n')
        stack.daemon()
        stack.ready()
        facts = procs.status(stack.pids()["web/0"])
        equal(facts["Uid"].split(), ["65534"] * 4, "uid of the app")
        equal(facts["Groups"].split(), ["65534"], "groups of the app")
        equal(os.stat(stack.folder / ".muster/volumes/web/0/data").st_uid, 65534, "owner of its volume")
        equal(procs.status(stack.pids()["root/0"])["Uid"].split()[0], "0", "uid of the app of root")
    with Stack() as stack:
        stack.write('[defaults]\n[app.web]\nrun = "<REPLICA> {port}"\n')
        run = stack.run("daemon", "-f", "muster.toml", code=None)
        check(run.returncode not in (0, 143), "the daemon of root takes an app without a user")
        contains(run.stderr + run.stdout, ["user", "root"], "why the daemon of root refuses an app without a user")


if __name__ == "__main__":
    sys.exit(main())
