#!/usr/bin/env python3
"""A line for each request: over reloads, rotation, full disks and clients that go away."""
import collections
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import typing

from lib.expect import DEADLINE, Skipped, check, contains, equal, wait_for
from lib.http import Connection, get
from lib.load import Load
from lib.scenario import main, scenario
from lib.stack import Stack

SPEC = """
[app.web]
run      = "<REPLICA> {port}"
replicas = 2
health   = "/healthz"

[listen.web]
bind = "127.0.0.1:<L0>"
to   = "web"
access_log = "json"
"""

# Apache's LogFormats "common" and "combined" as log analysers read them.
COMMON = re.compile(r'\S+ \S+ \S+ \[\d\d/[A-Z][a-z][a-z]/\d{4}(?::\d\d){3} [-+]\d{4}\] "[A-Z]+ [^ "]* HTTP/1\.[01]" \d{3} (?:\d+|-)')
COMBINED = re.compile(COMMON.pattern + r' "[^"]*" "[^"]*"')

UPLOADER = """
import signal, socket, sys
client = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
client.sendall(b"PUT /upload HTTP/1.1\\r\\nHost: x\\r\\nUser-Agent: killed\\r\\nContent-Length: 5000\\r\\n\\r\\n" + b"x" * 1000)
print("sent", flush=True)
signal.pause()
"""

Line = dict[str, typing.Any]


def folder_of(stack: Stack) -> pathlib.Path:
    return stack.folder / ".muster/log"


def whole_lines(file: pathlib.Path) -> list[str]:
    text = file.read_text(encoding="utf-8")
    return text[: text.rfind("\n") + 1].splitlines()


def texts(folder: pathlib.Path, listener: str = "web") -> list[str]:
    """All whole lines of a listener, file by file."""
    while True:
        try:
            return [line for file in folder.glob(f"access-{listener}.log*") for line in whole_lines(file)]
        except FileNotFoundError:  # rotated meanwhile
            continue


def kind(text: str) -> str:
    return "json" if text.startswith("{") else "combined" if COMBINED.fullmatch(text) else "common" if COMMON.fullmatch(text) else text


def lines(stack: Stack, count: int) -> list[Line]:
    """Waits until there are so many."""
    wait_for(f"{count} lines", lambda: len(texts(folder_of(stack))) >= count)
    return [json.loads(text) for text in texts(folder_of(stack))]


@scenario
def access_log_over_reloads() -> None:
    """No request is missing or there twice, no connection breaks, whatever the format changes to; a stop loses none."""
    with Stack() as stack:
        stack.write(SPEC)
        stack.daemon()
        stack.ready()
        before = stack.pids()
        with Load(stack.ports.listen(0), keep=6, fresh=2) as load:
            for old, new in (("json", "combined"), ("combined", "common"), ("common", "json"), ("json", "off"), ("off", "json")):
                stack.edit(f'access_log = "{old}"', f'access_log = "{new}"')
                stack.run("reload")
                done = load.done
                wait_for("traffic goes on", lambda: load.done > done + 50)
        equal(load.failures[:5], [], "failed requests")
        equal(stack.pids(), before, "pids")
        found = texts(folder_of(stack))
        kinds = collections.Counter(kind(text) for text in found)
        check(len(kinds) == 3 and min(kinds[name] for name in ("json", "combined", "common")) > 50, f"lines of each kind: {kinds}")
        check(len(found) < load.done, "nothing was left out while it was off")

        # What is buffered when the stop begins is written before it ends.
        with Load(stack.ports.listen(0), keep=4, fresh=2, target="/?last", total=500) as last:
            last.join()
        equal(last.failures, [], "failed requests before the stop")
        stack.end(signal.SIGTERM, 0)
        paths = collections.Counter(json.loads(text)["path"] for text in texts(folder_of(stack)) if text.startswith("{"))
        equal(paths["/?last"], 500, "lines of the requests before the stop")


@scenario
def access_log_of_a_listener_that_goes() -> None:
    """The request that it still carries has its line; `muster logs` shows replicas only."""
    with Stack() as stack:
        stack.write(SPEC + '[listen.web-0]\nbind = "127.0.0.1:<L1>"\nto = "web"\naccess_log = "json"\n')
        stack.daemon()
        stack.ready()
        get(stack.ports.listen(0), "/say/hello")
        with Connection(stack.ports.listen(1)) as connection:
            connection.send("GET", "/sleep/1500")
            wait_for("a request in flight", lambda: sum(row["in_flight"] for row in stack.replicas("web")) > 0)
            stack.edit('[listen.web-0]\nbind = "127.0.0.1:<L1>"\nto = "web"\naccess_log = "json"\n', "")
            stack.run("reload", "--no-wait")
            wait_for("the listener is gone", lambda: len(stack.ps()["listeners"]) == 1)
            equal(connection.answer().status, 200, "answer through the listener that is gone")
        wait_for("its line", lambda: [json.loads(text)["path"] for text in texts(folder_of(stack), "web-0")] == ["/sleep/1500"])
        shown = stack.run("logs").stdout
        contains(shown, "hello", "what muster logs shows")
        check("/sleep/1500" not in shown and "listener" not in shown, f"muster logs shows an access log:\n{shown}")


@scenario
def access_log_rotates() -> None:
    """By size as the app's log says, and by USR1 after a rename: no line is lost or cut."""
    with Stack() as stack:
        stack.write(SPEC.replace("replicas = 2", 'replicas = 2\nlog = { rotate = "16KiB", keep = 4 }'))
        daemon = stack.daemon()
        stack.ready()
        with Load(stack.ports.listen(0), keep=2, total=150, target="/?first") as load:
            load.join()
        equal(load.failures, [], "failed requests")
        lines(stack, 150)
        sizes = [path.stat().st_size for path in folder_of(stack).glob("access-web.log*")]
        check(2 < len(sizes) <= 5 and max(sizes) <= 16 << 10, f"sizes of the files {sizes}")
        with Load(stack.ports.listen(0), keep=2, total=3000) as load:
            load.join()
        wait_for("no more than five files", lambda: len(list(folder_of(stack).glob("access-web.log*"))) == 5)

        stack.edit('log = { rotate = "16KiB", keep = 4 }', 'log = { rotate = "10MiB", keep = 4 }')
        stack.run("reload")
        live, moved = folder_of(stack) / "access-web.log", stack.folder / "moved"
        with Load(stack.ports.listen(0), keep=4, target="/?turn") as load:
            wait_for("lines of it", lambda: "/?turn" in live.read_text(encoding="utf-8"))
            live.rename(moved)
            daemon.send_signal(signal.SIGUSR1)
            wait_for("a new file with lines", lambda: live.exists() and "/?turn" in live.read_text(encoding="utf-8"))
        equal(load.failures, [], "failed requests over USR1")

        def turned() -> int:
            return sum(json.loads(text)["path"] == "/?turn" for text in whole_lines(moved) + texts(folder_of(stack)))
        wait_for(f"{load.done} lines in both files", lambda: turned() >= load.done)
        equal(turned(), load.done, "lines in both files")


@scenario
def access_log_on_a_full_disk() -> None:
    """Traffic goes on; what is lost is counted, and told once there is room again."""
    if os.getuid() != 0:
        raise Skipped("not root")
    unshare = shutil.which("unshare")
    if not unshare or subprocess.run([unshare, "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False).returncode != 0:
        raise Skipped("no private mount namespace")
    with Stack() as stack:
        stack.write(SPEC)
        folder_of(stack).mkdir(parents=True)
        mount = ["sh", "-c", f'mount -t tmpfs -o size=512k tmpfs "{folder_of(stack)}" && exec "$@"', "sh"]
        daemon = stack.start("daemon", "-f", "muster.toml", before=[unshare, "-m", *mount])
        stack.ready()
        folder = pathlib.Path(f"/proc/{daemon.pid}/root") / folder_of(stack).relative_to("/")  # as the daemon sees it
        filler = folder / "filler"
        filler.write_bytes(b"x" * (400 << 10))
        with Load(stack.ports.listen(0), keep=4, total=2000) as load:
            load.join()
        equal(load.failures[:5], [], "failed requests while the disk is full")
        stack.event("that lines are dropped", lambda e: e["kind"] == "log" and "access-web.log" in e["text"] and "dropped" in e["text"])
        filler.unlink()
        asked = load.done

        def written_again() -> bool:
            nonlocal asked
            equal(get(stack.ports.listen(0), "/?again").status, 200, "status")
            asked += 1
            return any(e["kind"] == "log" and "written again" in e["text"] for e in stack.events())
        wait_for("the log is written again", written_again, every=0.2)
        lost = written = 0

        def accounted_for() -> int:
            nonlocal lost, written
            told = (re.search(r"(\d+) lines? w", event["text"]) for event in stack.events() if event["kind"] == "log")
            lost = sum(int(found.group(1)) for found in told if found)
            written = sum(text.startswith("{") and text.endswith("}") for text in texts(folder))
            return lost + written
        wait_for("every line is in the file or counted as lost", lambda: accounted_for() >= asked)
        equal(accounted_for(), asked, "lines written and lost")
        check(lost > 100, f"only {lost} lines were lost: the disk was not full")
        check(len(texts(folder)) - written <= 2, "only what the full disk cut is no line")


@scenario
def access_log_of_clients_that_go_away() -> None:
    """Each has a line that says so, with what was known."""
    with Stack() as stack:
        stack.write(SPEC)
        stack.daemon()
        stack.ready()
        port = stack.ports.listen(0)

        waiting = Connection(port)
        waiting.send("GET", "/sleep/700")
        wait_for("the request is at a replica", lambda: sum(row["in_flight"] for row in stack.replicas("web")) > 0)
        waiting.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close() resets
        waiting.close()

        # One is killed in the middle of its upload, when muster has all that it sent.
        killed = subprocess.Popen([sys.executable, "-c", UPLOADER, str(port)], stdout=subprocess.PIPE)
        assert killed.stdout is not None
        equal(killed.stdout.readline(), b"sent\n", "what the uploader says")
        killed.kill()
        killed.wait(DEADLINE)
        killed.stdout.close()

        half = Connection(port)
        half.socket.sendall(b"GET /half HTTP/1.1\r\nHo")
        bad = Connection(port)
        bad.socket.sendall(b"GET /bad HTTP/1.1\r\nHost : x\r\n\r\n")
        equal(bad.answer().status, 400, "status of a bad head")
        half.close()

        found = {line["path"]: line for line in lines(stack, 4)}
        equal(sorted(found), ["/bad", "/half", "/sleep/700", "/upload"], "paths")
        equal(found["/sleep/700"]["end"], "client_closed", "how the sleeper ended")
        equal((found["/upload"]["end"], found["/upload"]["status"], found["/upload"]["user_agent"]), ("client_closed", 499, "killed"), "the upload")
        check(found["/upload"]["bytes_in"] == 1000, f"bytes of the upload {found['/upload']['bytes_in']}")
        equal((found["/half"]["end"], found["/half"]["status"]), ("client_closed", 499), "half a head")
        equal((found["/bad"]["end"], found["/bad"]["status"], found["/bad"]["replica"]), ("muster_refused", 400, None), "a bad head")


if __name__ == "__main__":
    sys.exit(main())
