"""Sockets on both sides of the proxy under test: every write is seen as one, every wait has a deadline."""
import contextlib
import select
import socket
import struct
import time
import typing

from message import Malformed, Message, head_of_request, read_answer, read_request

READ_AT_ONCE = 256 << 10


class Failed(Exception):
    """The proxy does not do what the case says."""


class Late(Failed):
    """Nothing came before the deadline."""


class Deadline:
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.end = time.monotonic() + seconds

    def left(self, what: str) -> float:
        left = self.end - time.monotonic()
        if left <= 0:
            raise Late(f"not within {self.seconds:g} s: {what}")
        return left


# sock_diag(7): what the receiving socket of a connection on this host has not read yet.
_SOCK_DIAG_BY_FAMILY = 20
_ANY_COOKIE = b"\xff" * 8


def unread_by_receiver(sender: socket.socket) -> int:
    """Bytes that lie in the receive queue at the other end of a loopback connection; 0 when that end is closed."""
    local, remote = sender.getsockname(), sender.getpeername()
    request = struct.pack("=BBBBI", socket.AF_INET, socket.IPPROTO_TCP, 0, 0, 0xFFFFFFFF)
    request += struct.pack("!HH16s16sI", remote[1], local[1], socket.inet_aton(remote[0]), socket.inet_aton(local[0]), 0) + _ANY_COOKIE
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 4) as diag:  # NETLINK_SOCK_DIAG
        diag.send(struct.pack("=IHHII", 16 + len(request), _SOCK_DIAG_BY_FAMILY, 1, 0, 0) + request)
        answer = diag.recv(4096)
    kind = struct.unpack_from("=H", answer, 4)[0]
    return struct.unpack_from("=I", answer, 16 + 56)[0] if kind == _SOCK_DIAG_BY_FAMILY else 0


def can_split_writes() -> bool:
    """Whether this kernel tells what a receiver has not read; without it writes may arrive as one."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as sender, listener.accept()[0]:
        sender.sendall(b"abc")
        return unread_by_receiver(sender) == 3


class Wire:
    """One TCP connection, its received bytes, and how it ended."""

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(seconds)
        self.socket = connection
        self.seconds = seconds
        self.all = b""   # everything that ever came
        self.data = b""  # what of it was not taken yet
        self.end = ""    # "", "closed", "reset"
        self.sent = b""

    def send(self, *pieces: bytes) -> None:
        """Each piece is a write of its own that the other side has read before the next follows."""
        for number, piece in enumerate(pieces):
            if number:
                self.until_read()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.socket.sendall(piece)
            self.sent += piece

    def until_read(self) -> None:
        """Waits until the other side has read everything, or will not: back pressure is no failure.

        No event tells of it on this side: the kernel is asked every millisecond.
        """
        end = time.monotonic() + min(1.0, self.seconds)
        pause = select.poll()
        with contextlib.suppress(OSError):
            while unread_by_receiver(self.socket) and time.monotonic() < end:
                pause.poll(1)

    def end_sending(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.socket.close()

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    @property
    def open(self) -> bool:
        return self.socket.fileno() >= 0

    def receive(self) -> None:
        """What is there now; call it when the socket is readable."""
        try:
            piece = self.socket.recv(READ_AT_ONCE)
        except (ConnectionResetError, BrokenPipeError):
            self.end = "reset"
            return
        if not piece:
            self.end = "closed"
        self.all += piece
        self.data += piece

    def wait(self, deadline: Deadline, what: str) -> None:
        """Until something came, or the end."""
        if self.end:
            raise Failed(f"{what}: the connection is {self.end} after {self.all[-300:]!r}")
        if not select.select([self.socket], [], [], deadline.left(f"{what}; so far {self.all[-300:]!r}"))[0]:
            deadline.left(f"{what}; so far {self.all[-300:]!r}")
        else:
            self.receive()

    def take(self, count: int, what: str = "bytes") -> bytes:
        deadline = Deadline(self.seconds)
        while len(self.data) < count:
            self.wait(deadline, f"{count} {what}")
        found, self.data = self.data[:count], self.data[count:]
        return found

    def until_end(self) -> str:
        """"closed" or "reset"; what came before it stays in `data`."""
        deadline = Deadline(self.seconds)
        while not self.end:
            self.wait(deadline, "the end of the connection")
        return self.end

    def message(self, read: typing.Callable[[bytes], Message | None], what: str) -> Message:
        deadline = Deadline(self.seconds)
        while True:
            try:
                found = read(self.data)
            except Malformed as problem:
                raise Failed(f"{what}: {problem}") from None
            if found is not None:
                self.data = self.data[found.size :]
                return found
            self.wait(deadline, what)


class Client(Wire):
    """The side that asks."""

    def __init__(self, port: int, seconds: float) -> None:
        super().__init__(socket.create_connection(("127.0.0.1", port), seconds), seconds)
        self.statuses: list[int] = []

    def answer(self, method: bytes = b"GET") -> Message:
        """The next answer, interim ones too."""
        deadline = Deadline(self.seconds)
        while True:
            try:
                found = read_answer(self.data, method, self.end == "closed")
            except Malformed as problem:
                raise Failed(f"the client gets a malformed answer: {problem}") from None
            if found is not None:
                self.data = self.data[found.size :]
                self.statuses.append(found.status)
                return found
            self.wait(deadline, "an answer for the client")


class Upstream(Wire):
    """The replica's end of one connection from the proxy."""

    head_taken = b""  # of a request whose body was not taken yet

    def request(self) -> Message:
        return self.message(read_request, "a request at the replica")

    def head(self) -> Message:
        """The head alone; its body stays in `data`."""
        found = self.message(head_of_request, "the head of a request at the replica")
        end = len(self.all) - len(self.data)
        self.head_taken = self.all[end - found.size : end]
        return found

    def body(self, count: int) -> bytes:
        """The raw bytes behind such a head."""
        found = self.take(count, "of a body at the replica")
        self.head_taken = b""
        return found
