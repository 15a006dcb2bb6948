"""Ports that no other scenario uses: a block of them belongs to whoever holds the lock of its file."""
import fcntl
import os
import pathlib
import socket
import tempfile
import typing

# Below the range that the kernel takes for outgoing connections, above those of `muster demo` and of `port = "auto"`.
FIRST, LAST, SIZE = 30000, 32759, 60


class PortBlock:
    """`listen(i)` 0..9 for listeners, `numbered(i)` 10..29 for `port = N`, 30..59 for `port = "auto"`."""

    def __init__(self) -> None:
        folder = pathlib.Path(tempfile.gettempdir()) / f"muster-test-ports-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        count = (LAST + 1 - FIRST) // SIZE
        for step in range(count):
            block = (os.getpid() * 7 + step) % count
            file = open(folder / str(block), "w", encoding="ascii")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.close()
                continue
            self.first = FIRST + block * SIZE
            if all(is_free(port) for port in range(self.first, self.first + SIZE)):
                self.lock: typing.IO[str] = file
                return
            file.close()
        raise OSError("no free block of ports")

    def listen(self, index: int) -> int:
        return self.first + index

    def numbered(self, index: int) -> int:
        return self.first + 10 + index

    def auto_range(self) -> str:
        return f"{self.first + 30}-{self.first + SIZE - 1}"

    def all(self) -> range:
        return range(self.first, self.first + SIZE)

    def close(self) -> None:
        self.lock.close()


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            return True
        except OSError:
            return False


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(5)
        return probe.connect_ex(("127.0.0.1", port)) == 0
