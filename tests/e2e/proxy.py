#!/usr/bin/env python3
"""The PROXY protocol: clients behind another proxy, and replicas that are told who the client is."""
import json
import socket
import sys

from lib.expect import check, equal, wait_for
from lib.http import Connection
from lib.scenario import main, scenario
from lib.stack import Stack

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"

SPEC = """
[app.web]
run = "<REPLICA> {port}"

[app.told]
run    = "python3 <APPS>/proxied.py {port} v2"
health = "/"

[listen.front]
bind = "127.0.0.1:<L0>"
to   = "web"
access_log = "json"
proxy_protocol = { in = true }

[listen.both]
bind = "127.0.0.1:<L1>"
to   = "told"
proxy_protocol = { in = true, out = "v2" }

[listen.first]
bind = "127.0.0.1:<L2>"
to   = "told"
proxy_protocol = { out = "v2" }
"""


def v2(client: str, client_port: int, to: str, to_port: int) -> bytes:
    ends = socket.inet_aton(client) + socket.inet_aton(to) + client_port.to_bytes(2, "big") + to_port.to_bytes(2, "big")
    return SIGNATURE + b"\x21\x11\x00\x0c" + ends


@scenario
def clients_behind_a_proxy() -> None:
    """v1 and v2 in; the client of the access log; whoever sends no header is closed; v2 to the replicas."""
    with Stack() as stack:
        stack.write(SPEC)
        stack.daemon()
        stack.ready()
        front, both, first = (stack.ports.listen(i) for i in range(3))
        for header in (b"PROXY TCP4 192.0.2.1 198.51.100.1 4711 80\r\n", v2("192.0.2.2", 4711, "198.51.100.1", 80), b"PROXY UNKNOWN\r\n"):
            with Connection(front) as client:
                client.socket.sendall(header)
                for _ in range(2):
                    equal(client.ask("GET", "/").status, 200, f"behind {header!r}")
        log = stack.folder / ".muster/log/access-front.log"
        wait_for("all lines", lambda: log.exists() and log.read_text(encoding="utf-8").count("\n") == 6)
        clients = [json.loads(line)["client"] for line in log.read_text(encoding="utf-8").splitlines()]
        equal(sorted(clients), sorted(["192.0.2.1", "192.0.2.2", "127.0.0.1"] * 2), "clients in the log")

        with Connection(front) as client:
            client.send("GET", "/")
            try:
                equal(client.more(), b"", "the answer to a client without a header")
            except ConnectionResetError:
                pass

        header = v2("192.0.2.3", 4711, "198.51.100.1", 80)
        with Connection(both) as client:
            client.socket.sendall(header)
            for count in (1, 2):
                equal(client.ask("GET", "/").text, f"{header.hex()} {count}", "what the replica was told")
        with Connection(first) as one, Connection(first) as other:
            told = [v2(*c.socket.getsockname(), *c.socket.getpeername()).hex() for c in (one, other)]
            check(told[0] != told[1], "two clients")
            for count in (1, 2):
                equal([c.ask("GET", "/").text for c in (one, other)], [f"{text} {count}" for text in told], "each has its own connection")


if __name__ == "__main__":
    sys.exit(main())
