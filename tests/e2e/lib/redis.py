"""redis as a stack of three with a volume each, and a client for it."""
import socket

from lib.expect import DEADLINE, equal
from lib.stack import Stack
from lib.store import Store


class Redis:
    """A client of one command at a time."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), DEADLINE)
        self.file = self.socket.makefile("rb")

    def ask(self, *words: str) -> str:
        parts = [f"*{len(words)}\r\n".encode()] + [f"${len(w.encode())}\r\n{w}\r\n".encode() for w in words]
        self.socket.sendall(b"".join(parts))
        line = self.file.readline().decode().rstrip("\r\n")
        if line.startswith("$") and line != "$-1":
            return self.file.read(int(line[1:]) + 2)[:-2].decode()
        return line

    def __enter__(self) -> "Redis":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.socket.close()


SPEC = """
[app.redis]
run      = "redis-server --bind {addr} --port {port} --dir {volume} --appendonly yes --appendfsync always --save ''"
replicas = 3
port     = <N0>
listen   = "tcp://127.0.0.1:<L0>"
health   = "cmd redis-cli -p {port} ping"
volume   = "data"
stop     = { timeout = "30s" }
restart  = { backoff = "1ms" }
"""


def fill(stack: Stack) -> None:
    for ordinal in range(3):
        with Redis(stack.ports.numbered(ordinal)) as redis:
            equal(redis.ask("SET", "who", f"redis/{ordinal}"), "+OK", "SET")
            for number in range(100):
                redis.ask("SET", f"key{number}", "x" * 100)


def holds_its_own(stack: Stack, ordinals: range, when: str) -> None:
    for ordinal in ordinals:
        with Redis(stack.ports.numbered(ordinal)) as redis:
            equal(redis.ask("GET", "who"), f"redis/{ordinal}", f"data of redis/{ordinal} {when}")
            equal(redis.ask("DBSIZE"), ":101", f"keys of redis/{ordinal} {when}")


def is_empty(stack: Stack, ordinal: int) -> None:
    with Redis(stack.ports.numbered(ordinal)) as redis:
        equal(redis.ask("DBSIZE"), ":0", "keys of an app with another name")


REDIS = Store("redis", SPEC, fill, holds_its_own, is_empty)
