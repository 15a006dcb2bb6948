"""Clients that ask without pause from threads and count exactly what went wrong."""
import collections
import concurrent.futures
import threading
import time
import typing

from lib.http import Broken, Connection


class Load:
    """`with Load(port, keep=32, fresh=8) as load:` … afterwards `load.failures`, `load.replicas`, `load.done`.

    `keep` clients hold one connection each and open another only when the last answer said that it closes; `fresh`
    clients take a new connection for every request. With `total`, they stop together after that many requests.
    """

    def __init__(self, port: int, keep: int = 4, fresh: int = 0, target: str = "/", total: int | None = None, pause: float = 0) -> None:
        self.port, self.target, self.total, self.pause = port, target, total, pause
        self.failures: list[str] = []
        self.replicas: collections.Counter[str] = collections.Counter()
        self.done = 0
        self._taken = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._began = time.monotonic()
        self._threads = [threading.Thread(target=self._run, args=(client,), daemon=True)
                         for client in [self._keep] * keep + [self._fresh] * fresh]

    def __enter__(self) -> "Load":
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self.join()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(120)

    def _turn(self) -> bool:
        if self._stop.is_set():
            return False
        with self._lock:
            if self.total is not None and self._taken >= self.total:
                return False
            self._taken += 1
        if self.pause:
            self._stop.wait(self.pause)
        return True

    def _count(self, connection: Connection, close: bool) -> bool:
        """One request; whether the connection may be used for the next."""
        answer = connection.ask("GET", self.target, close=close)
        with self._lock:
            self.done += 1
            self.replicas[answer.replica] += 1
            if answer.status != 200:
                self.failures.append(f"{self._age()} status {answer.status}: {answer.text[:200]}")
        return answer.keeps

    def _age(self) -> str:
        return f"+{time.monotonic() - self._began:.3f}s"

    def _failed(self, problem: Exception, where: str) -> None:
        with self._lock:
            self.done += 1
            self.failures.append(f"{self._age()} {where}: {type(problem).__name__}: {problem}")

    def _run(self, client: typing.Callable[[], None]) -> None:
        while not self._stop.is_set():
            try:
                client()
                return
            except (OSError, Broken, ValueError) as problem:
                self._failed(problem, client.__name__.strip("_"))

    def _keep(self) -> None:
        connection: Connection | None = None
        try:
            while self._turn():
                connection = connection or Connection(self.port)
                if not self._count(connection, close=False):
                    connection.close()
                    connection = None
        finally:
            if connection:
                connection.close()

    def _fresh(self) -> None:
        while self._turn():
            with Connection(self.port) as connection:
                self._count(connection, close=True)

    def spread(self) -> int:
        """Most minus least requests of a replica."""
        return max(self.replicas.values()) - min(self.replicas.values())


class OpenLoad:
    """Requests at a fixed rate, whether or not the answers keep up: `with OpenLoad(port, rate=20) as load:` …"""

    CLIENTS = 64  # at once; what is beyond them waits

    def __init__(self, port: int, rate: float, target: str = "/") -> None:
        self.port, self.rate, self.target = port, rate, target
        self.failures: list[str] = []
        self.done = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "OpenLoad":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(120)

    def _run(self) -> None:
        with concurrent.futures.ThreadPoolExecutor(self.CLIENTS) as clients:
            due = time.monotonic()
            while not self._stop.wait(max(0.0, due - time.monotonic())):
                clients.submit(self._ask)
                due += 1 / self.rate

    def _ask(self) -> None:
        problem = ""
        try:
            with Connection(self.port) as connection:
                answer = connection.ask("GET", self.target, close=True)
                problem = "" if answer.status == 200 else f"status {answer.status}: {answer.text[:200]}"
        except (OSError, Broken, ValueError) as broken:
            problem = f"{type(broken).__name__}: {broken}"
        with self._lock:
            self.done += 1
            if problem:
                self.failures.append(problem)
