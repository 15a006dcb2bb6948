"""An HTTP/1.1 client that hides nothing: it never retries, never opens a second connection, never forgives."""
import dataclasses
import socket

HEAD_MAX = 64 << 10


class Broken(Exception):
    """What came is not a complete answer."""


@dataclasses.dataclass
class Answer:
    status: int
    fields: dict[str, str]
    body: bytes
    keeps: bool  # the connection may be used again

    @property
    def replica(self) -> str:
        return self.fields.get("x-replica", "")

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


class Connection:
    def __init__(self, port: int, timeout: float = 60.0, path: str | None = None) -> None:
        """To a port of 127.0.0.1, or to the unix socket at `path`."""
        if path is None:
            self.socket = socket.create_connection(("127.0.0.1", port), timeout)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(timeout)
            self.socket.connect(path)
        self.rest = b""

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def send(self, method: str, target: str, body: bytes = b"", close: bool = False, fields: dict[str, str] | None = None) -> None:
        head = f"{method} {target} HTTP/1.1\r\n" + ("" if "Host" in (fields or {}) else "Host: localhost\r\n")
        if body or method in ("POST", "PUT"):
            head += f"Content-Length: {len(body)}\r\n"
        if close:
            head += "Connection: close\r\n"
        for name, value in (fields or {}).items():
            head += f"{name}: {value}\r\n"
        self.socket.sendall(head.encode() + b"\r\n" + body)

    def more(self) -> bytes:
        return self.socket.recv(64 << 10)

    def until(self, mark: bytes) -> bytes:
        while mark not in self.rest:
            piece = self.more()
            if not piece:
                raise Broken(f"closed after {self.rest[:200]!r}")
            self.rest += piece
            if len(self.rest) > HEAD_MAX:
                raise Broken("the head does not end")
        found, _, self.rest = self.rest.partition(mark)
        return found

    def exactly(self, count: int) -> bytes:
        while len(self.rest) < count:
            piece = self.more()
            if not piece:
                raise Broken(f"body of {count} bytes ends after {len(self.rest)}")
            self.rest += piece
        found, self.rest = self.rest[:count], self.rest[count:]
        return found

    def answer(self, method: str = "GET") -> Answer:
        first, *lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, _, rest = first.partition(" ")
        if version not in ("HTTP/1.1", "HTTP/1.0") or not rest[:3].isdigit():
            raise Broken(f"status line {first!r}")
        status = int(rest[:3])
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if 100 <= status < 200 and status != 101:
            return self.answer(method)
        keeps = version == "HTTP/1.1" and fields.get("connection", "").lower() != "close"
        if method == "HEAD" or status in (101, 204, 304):
            return Answer(status, fields, b"", keeps)
        if fields.get("transfer-encoding", "").lower() == "chunked":
            return Answer(status, fields, self.chunks(), keeps)
        if "content-length" in fields:
            return Answer(status, fields, self.exactly(int(fields["content-length"])), keeps)
        body = self.rest
        while piece := self.more():
            body += piece
        return Answer(status, fields, body, False)

    def chunks(self) -> bytes:
        body = b""
        while size := int(self.until(b"\r\n").partition(b";")[0], 16):
            body += self.exactly(size)
            if self.exactly(2) != b"\r\n":
                raise Broken("a chunk does not end with CRLF")
        while self.until(b"\r\n"):
            pass
        return body

    def ask(self, method: str, target: str, body: bytes = b"", close: bool = False, fields: dict[str, str] | None = None) -> Answer:
        self.send(method, target, body, close, fields)
        return self.answer(method)


def get(port: int, target: str = "/", fields: dict[str, str] | None = None, timeout: float = 60.0) -> Answer:
    with Connection(port, timeout) as connection:
        return connection.ask("GET", target, close=True, fields=fields)
