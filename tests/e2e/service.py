#!/usr/bin/env python3
"""The daemon towards its service manager, without one: sd_notify(3), watchdog, sd_listen_fds(3). And sockets, includes."""
import os
import signal
import socket
import sys
import typing

from lib import procs
from lib.expect import DEADLINE, Failed, check, equal, wait_for
from lib.http import Connection, get
from lib.scenario import main, scenario
from lib.stack import Stack

SPEC = """
[app.web]
run      = "<REPLICA> {port}"
replicas = 2
listen   = "127.0.0.1:<L0>"
health   = "/healthz"
"""


class Manager:
    """Reads what the daemon says on NOTIFY_SOCKET."""

    def __init__(self, stack: Stack) -> None:
        path = str(stack.folder / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.socket.settimeout(DEADLINE)
        stack.environment["NOTIFY_SOCKET"] = path

    def until(self, word: str) -> dict[str, str]:
        """The next message that has this line; those before it are passed over."""
        passed: list[str] = []
        for _ in range(1000):
            try:
                text = self.socket.recv(65536).decode()
            except TimeoutError:
                raise Failed(f"no {word} came; these did: {passed}") from None
            if word in text.splitlines():
                return dict(typing.cast(tuple[str, str], line.split("=", 1)) for line in text.splitlines())
            passed.append(text)
        raise Failed(f"no {word} among {passed[-10:]}")

    def close(self) -> None:
        self.socket.close()


@scenario
def tells_its_manager() -> None:
    """READY when the listeners are bound, RELOADING … READY around a reload, STOPPING at the end."""
    with Stack() as stack:
        manager = Manager(stack)
        stack.write(SPEC)
        daemon = stack.daemon(wait=False)
        manager.until("READY=1")
        check(stack.ports.listen(0) in procs.listening_sockets(), "READY before the listener was bound")
        equal(get(stack.ports.listen(0)).status, 200, "a request right after READY")
        daemon.send_signal(signal.SIGHUP)
        manager.until("RELOADING=1")
        manager.until("READY=1")
        daemon.send_signal(signal.SIGTERM)
        manager.until("STOPPING=1")
        stack.end(code=0)
        manager.close()


@scenario
def answers_the_watchdog() -> None:
    """Pings come while all threads turn; none comes from a daemon that is stopped."""
    with Stack() as stack:
        manager = Manager(stack)
        stack.environment["WATCHDOG_USEC"] = "2000000"
        stack.write(SPEC)
        daemon = stack.start("daemon", "-f", "muster.toml", before=["sh", "-c", 'WATCHDOG_PID=$$ exec "$@"', "sh"])
        for _ in range(3):
            manager.until("WATCHDOG=1")
        daemon.send_signal(signal.SIGSTOP)
        wait_for("the daemon stands still", lambda: open(f"/proc/{daemon.pid}/stat", encoding="utf-8").read().rpartition(")")[2].split()[0] == "T")
        manager.socket.setblocking(False)
        while True:
            try:
                manager.socket.recv(65536)
            except BlockingIOError:
                break
        manager.socket.settimeout(2.5)
        try:
            check(manager.socket.recv(65536) == b"", "a stopped daemon pings")
        except TimeoutError:
            pass
        daemon.send_signal(signal.SIGCONT)
        manager.socket.settimeout(DEADLINE)
        manager.until("WATCHDOG=1")
        stack.end(code=0)
        manager.close()


@scenario
def takes_sockets_of_its_manager() -> None:
    """A connection made before muster runs is answered when it does: the socket was there all the time."""
    with Stack() as stack, socket.create_server(("127.0.0.1", stack.ports.listen(0)), backlog=64) as listener:
        stack.write('[app.web]\nrun = "<REPLICA> {port}"\nreplicas = 2\n[listen.front]\nbind = "systemd:front"\nto = "web"\n')
        with Connection(stack.ports.listen(0)) as early:
            early.send("GET", "/")
            script = f'exec 3<&{listener.fileno()}; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=front exec "$@"'
            stack.start("daemon", "-f", "muster.toml", before=["bash", "-c", script, "bash"], pass_fds=(listener.fileno(),))
            equal(early.answer().status, 200, "the early connection")
        stack.ready()
        equal({get(stack.ports.listen(0)).replica for _ in range(4)}, {"web/0", "web/1"}, "who answers")
        env = procs.environment(stack.pids()["web/0"])
        check(not [name for name in env if name.startswith("LISTEN_")], "a replica got LISTEN_*")
        stack.end(code=0)
        listener.close()
        stack.nothing_left()


@scenario
def listens_on_a_unix_socket() -> None:
    with Stack() as stack:
        stack.write(SPEC.replace('"127.0.0.1:<L0>"', '["unix:<DIR>/web.sock", "127.0.0.1:<L0>"]'))
        stack.daemon()
        stack.ready()
        for _ in range(2):
            with Connection(0, path=str(stack.folder / "web.sock")) as client:
                equal(client.ask("GET", "/").status, 200, "over the unix socket")
        equal(get(stack.ports.listen(0)).status, 200, "over TCP")
        stack.end(code=0)
        check(not os.path.exists(stack.folder / "web.sock"), "the socket's file is left behind")
        stack.daemon()
        stack.ready()


@scenario
def includes_files() -> None:
    """A file that comes into the glob takes effect with a reload; two that say the same thing are refused with both places."""
    with Stack() as stack:
        (stack.folder / "conf.d").mkdir()
        stack.write('include = ["conf.d/*.toml"]\n' + SPEC)
        stack.daemon()
        stack.ready()
        before = stack.pids()
        stack.write('[app.more]\nrun = "<REPLICA> {port}"\nport = <N0>\n', name="conf.d/more.toml")
        stack.run("reload")
        equal(sorted(stack.pids()), ["more/0", "web/0", "web/1"], "what runs with the included file")
        stack.write('[app.web]\nrun = "<REPLICA> {port}"\n', name="conf.d/twice.toml")
        run = stack.run("reload", code=65)
        check("twice.toml" in run.stderr + run.stdout and "muster.toml" in run.stderr + run.stdout, f"both places: {run.stderr}{run.stdout}")
        equal({i: p for i, p in stack.pids().items() if i in before}, before, "pids")


if __name__ == "__main__":
    sys.exit(main())
