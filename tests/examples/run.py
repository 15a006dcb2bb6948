#!/usr/bin/env python3
"""Runs one example as a user would: `muster up` in a copy of its folder, with free ports in place of its own.

    run.py MUSTER FOLDER_OR_SPEC      exit 0 passed, 1 failed, 77 skipped (a program of the example is not installed)

Checked: the spec is valid; every app becomes ready; each listener is answered by every replica in turn; Ctrl-C ends all
with 130 and leaves no process and no open port.
"""
import collections
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
import typing

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
from lib.ports import PortBlock  # noqa: E402
from lib.stack import SYSTEM_PATH  # noqa: E402

READY_SECONDS = 40
STOP_SECONDS = 40


class Failed(Exception):
    pass


def with_free_ports(text: str, block: PortBlock) -> str:
    """The spec's own port numbers, each in its place, exchanged for free ones; automatic ones come from there too."""
    used = iter(range(0, 30, 10))

    def exchange(match: re.Match[str]) -> str:
        return match.group(1) + str(block.listen(next(used))) + match.group(2)

    text += f'\n[daemon]\nport_range = "{block.auto_range()}"\n'
    text = re.sub(r'(listen\s*=\s*"(?:tcp://)?127\.0\.0\.1:)\d+(")', exchange, text)
    return re.sub(r"^(port\s*=\s*)\d+()", exchange, text, flags=re.M)


def wait_for(what: str, seconds: float, probe: typing.Callable[[], typing.Any]) -> typing.Any:
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while time.monotonic() < deadline:
        result = probe()
        if result:
            return result
        pause.wait(0.05)
    raise Failed(f"not within {seconds} s: {what}")


class Up:
    """`muster up` in its folder, with its output kept."""

    def __init__(self, muster: str, folder: pathlib.Path) -> None:
        self.muster, self.folder = muster, folder
        self.output = open(folder / "up.out", "wb")
        runtime = folder / "run"
        runtime.mkdir(mode=0o700)
        self.environment = {**os.environ, "PATH": SYSTEM_PATH, "XDG_RUNTIME_DIR": str(runtime), "NO_COLOR": "1"}
        self.process = subprocess.Popen([muster, "up"], cwd=folder, env=self.environment, stdin=subprocess.DEVNULL,
                                        stdout=self.output, stderr=self.output, start_new_session=True)

    def status(self) -> dict[str, typing.Any]:
        if self.process.poll() is not None:
            raise Failed(f"muster up ended by itself with {self.process.returncode}")
        run = subprocess.run([self.muster, "ps", "-o", "json"], cwd=self.folder, env=self.environment, capture_output=True, check=False, timeout=20)
        return json.loads(run.stdout) if run.returncode == 0 else {}

    def all_ready(self) -> dict[str, typing.Any] | None:
        status = self.status()
        apps = status.get("apps", [])
        return status if apps and all(a["state"] == "ready" and a["ready"] == a["desired"] for a in apps) else None


def http_ask(port: int) -> str:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise Failed(f"port {port} answers {answer[:80]!r}")
    return answer.decode("utf-8", "replace")


def redis_ask(port: int) -> str:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"CONFIG GET port\r\n")
        return connection.recv(4096).decode()


def ask_listener(listener: dict[str, typing.Any], replicas: int) -> None:
    port = int(listener["bind"].rpartition(":")[2])
    ask = http_ask if listener["mode"] == "http" else redis_ask
    answers = [ask(port) for _ in range(2 * replicas)]
    names = collections.Counter(re.findall(r"^X-Replica: (\S+)", "\n".join(answers), re.M | re.I))
    if listener["mode"] == "tcp":
        names = collections.Counter(answers)
    if names and (len(names) != replicas or set(names.values()) != {2}):
        raise Failed(f"{2 * replicas} requests over {replicas} replicas were answered by {dict(names)}")


def pids_of(status: dict[str, typing.Any]) -> list[int]:
    return [r["pid"] for a in status["apps"] for r in a["replicas"] if r["pid"]]


def alive(pid: int) -> bool:
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def run(muster: str, folder: pathlib.Path, spec: dict[str, typing.Any]) -> None:
    up = Up(muster, folder)
    try:
        status = wait_for("every app ready", READY_SECONDS, up.all_ready)
        wanted = {name: app.get("replicas", 1) for name, app in spec["app"].items()}
        found = {app["name"]: len(app["replicas"]) for app in status["apps"]}
        if found != wanted:
            raise Failed(f"replicas are {found}, the spec says {wanted}")
        for listener in status["listeners"]:
            ask_listener(listener, wanted[listener["app"]])
        pids = pids_of(status)
        ports = [int(entry["bind"].rpartition(":")[2]) for entry in status["listeners"]]
        ports += [r["port"] for a in status["apps"] for r in a["replicas"] if r.get("port")]
        up.process.send_signal(signal.SIGINT)
        code = up.process.wait(STOP_SECONDS)
        left = [pid for pid in pids if alive(pid)] + [port for port in ports if is_open(port)]
        if code != 130 or left:
            raise Failed(f"after Ctrl-C: exit {code} (130 is due), left behind: {left}")
    finally:
        if up.process.poll() is None:
            up.process.terminate()
            try:
                up.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                up.process.kill()


def main() -> int:
    muster, example = sys.argv[1], pathlib.Path(sys.argv[2])
    spec_file = example / "muster.toml" if example.is_dir() else example
    text = spec_file.read_text(encoding="utf-8")
    spec = tomllib.loads(text)
    for app in spec["app"].values():
        program = app["run"].split()[0]
        if not program.startswith("./") and not shutil.which(program):
            print(f"skipped: {program} is not installed")
            return 77
    block = PortBlock()
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary) / example.name
        if example.is_dir():
            shutil.copytree(example, folder, ignore=shutil.ignore_patterns(".muster", "__pycache__"))
        else:
            folder.mkdir()
        (folder / "muster.toml").write_text(with_free_ports(text, block), encoding="utf-8")
        try:
            run(muster, folder, spec)
        except Failed as problem:
            print(problem)
            print((folder / "up.out").read_text(encoding="utf-8", errors="replace")[-8000:])
            return 1
    print("ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
