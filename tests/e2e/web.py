#!/usr/bin/env python3
"""What web applications do, through a listener: Node's server with the package ws behind it; ws, curl and raw sockets before it."""
import concurrent.futures
import hashlib
import json
import pathlib
import random
import shutil
import subprocess
import sys
import threading

from lib.expect import DEADLINE, Skipped, check, equal
from lib.http import Connection
from lib.scenario import main, scenario
from lib.stack import SYSTEM_PATH, Stack

NODE_PACKAGES = "/usr/share/nodejs"  # where Debian has them

SPEC = """
[app.web]
run      = "node <APPS>/web.js {port}"
replicas = <COUNT>
listen   = "127.0.0.1:<L0>"
health   = "/healthz"
env      = { NODE_PATH = "/usr/share/nodejs" }
"""


def node_stack(stack: Stack, replicas: int) -> str:
    """The URL of so many replicas of apps/web.js."""
    if not shutil.which("node", path=SYSTEM_PATH) or not pathlib.Path(NODE_PACKAGES, "ws").exists():
        raise Skipped("node with ws is not installed (Debian packages nodejs, node-ws)")
    stack.write(SPEC.replace("<COUNT>", str(replicas)))
    stack.daemon()
    stack.ready()
    return f"http://127.0.0.1:{stack.ports.listen(0)}"


def run(*command: str, stdin: pathlib.Path | None = None, timeout: float = 10 * DEADLINE) -> str:
    with open(stdin or "/dev/null", "rb") as source:
        done = subprocess.run(command, stdin=source, capture_output=True, timeout=timeout, check=False,
                              env={"PATH": SYSTEM_PATH, "NODE_PATH": NODE_PACKAGES})
    check(done.returncode == 0, f"{' '.join(command)} exits {done.returncode}:\n{done.stdout[-2000:]!r}\n{done.stderr[-2000:]!r}")
    return done.stdout.decode(errors="replace")


def nothing_failed(stack: Stack) -> None:
    row = stack.app("web")
    equal([replica["restarts"] for replica in row["replicas"]], [0] * len(row["replicas"]), "restarts")


@scenario
def websockets_of_node() -> None:
    """Echoes of every frame size, compressed and not, fragments, pings, close codes; 50 at once."""
    with Stack() as stack:
        url = node_stack(stack, 2)
        equal(run("node", str(pathlib.Path(__file__).parent / "apps" / "ws_client.js"), url.replace("http", "ws") + "/ws"), "done\n", "the client")
        nothing_failed(stack)


def uploads(size: int) -> None:
    with Stack() as stack:
        url = node_stack(stack, 2)
        source = stack.folder / "source"
        with open(source, "wb") as file:  # mostly a hole: no room on the disk, and no run of zeros alone
            file.truncate(size)
            for at in range(0, size - 100, size // 7):
                file.seek(at)
                file.write(f"piece {at}".encode())
        with open(source, "rb") as file:
            expected = hashlib.file_digest(file, "sha256").hexdigest()
        for how, coding in ((["-T", str(source)], ""), (["-T", "-"], "chunked")):
            answer = json.loads(run("curl", "-sS", "--fail", "--http1.1", *how, f"{url}/sink", stdin=source))
            equal(answer, {"bytes": size, "sha256": expected, "coding": coding}, f"an upload by curl {' '.join(how)}")
        nothing_failed(stack)


@scenario
def uploads_sized_and_chunked() -> None:
    uploads(48 << 20)


@scenario
def uploads_of_a_gibibyte() -> None:
    uploads(1 << 30)


@scenario
def compressed_downloads_and_ranges() -> None:
    with Stack() as stack:
        url = node_stack(stack, 2)
        plain = run("curl", "-sS", "--fail", f"{url}/text")
        equal(len(plain), 2 << 20, "the text")
        for _ in range(20):
            check(run("curl", "-sS", "--fail", "--compressed", f"{url}/text") == plain, "the text by gzip differs")
        raw = run("curl", "-sS", "--fail", "-H", "Accept-Encoding: gzip", "-o", "/dev/null", "-w", "%{size_download} %header{content-encoding} %header{transfer-encoding}",
                  f"{url}/text").split()
        check(int(raw[0]) < len(plain) // 4 and raw[1:] == ["gzip", "chunked"], f"the compressed answer: {raw}")
        whole = stack.folder / "whole"
        run("curl", "-sS", "--fail", "-o", str(whole), f"{url}/file")
        data = whole.read_bytes()
        equal(len(data), 1 << 20, "the file")
        for asked, first, last in (("0-0", 0, 0), ("100-299", 100, 299), ("1048575-", 1048575, 1048575), ("-500", 1048076, 1048575), ("65000-999999", 65000, 999999)):
            part = stack.folder / "part"
            seen = run("curl", "-sS", "--fail", "-r", asked, "-o", str(part), "-w", "%{http_code} %header{content-range}", f"{url}/file")
            equal(seen, f"206 bytes {first}-{last}/1048576", f"range {asked}")
            check(part.read_bytes() == data[first : last + 1], f"the bytes of range {asked}")
        half = stack.folder / "half"
        half.write_bytes(data[:300000])
        run("curl", "-sS", "--fail", "-C", "-", "-o", str(half), f"{url}/file")
        check(half.read_bytes() == data, "a download that was taken up again")
        equal(run("curl", "-sS", "-r", "2000000-3000000", "-o", "/dev/null", "-w", "%{http_code} %header{content-range}", f"{url}/file"), "416 bytes */1048576", "beyond the end")
        nothing_failed(stack)


@scenario
def events_come_as_they_are_sent() -> None:
    """Each event of a stream reaches every client before the next is sent: nothing waits in the proxy."""
    with Stack() as stack:
        node_stack(stack, 1)
        port = stack.ports.listen(0)
        clients = [Connection(port) for _ in range(8)]
        for client in clients:
            client.socket.sendall(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
        seen = [b""] * len(clients)

        def until(client: int, text: bytes) -> None:
            while text not in seen[client]:
                piece = clients[client].socket.recv(65536)
                check(piece, f"the stream of client {client} ended after {seen[client][-200:]!r}")
                seen[client] += piece

        for client in range(len(clients)):
            until(client, b": welcome\n\n")
        with Connection(port) as sender:
            for number in range(200):
                equal(sender.ask("POST", "/emit", f"event {number}".encode()).text, f"{len(clients)}\n", "who listens")
                for client in range(len(clients)):
                    until(client, b"data: event %d\n\n" % number)
            equal(sender.ask("GET", "/finish").text, "finished\n", "the end of the streams")
        for number, client in enumerate(clients):
            until(number, b"\r\n0\r\n\r\n")
            client.close()
        nothing_failed(stack)


@scenario
def posts_at_nodes_keep_alive_edge() -> None:
    """Node closes a connection that was idle for 5 s. 200 clients post, stay away for about that long, and post again."""
    with Stack() as stack:
        node_stack(stack, 2)
        port = stack.ports.listen(0)
        pause = threading.Event()

        def post_twice(number: int) -> int:
            with Connection(port) as connection:
                first = connection.ask("POST", "/sink", b"first").status
                pause.wait(random.Random(number).uniform(4.95, 5.05))  # what is tried: no event tells of it
                return first * 1000 + connection.ask("POST", "/sink", b"second").status

        with concurrent.futures.ThreadPoolExecutor(200) as pool:
            equal(set(pool.map(post_twice, range(200))), {200200}, "answers")
        nothing_failed(stack)


if __name__ == "__main__":
    sys.exit(main())
