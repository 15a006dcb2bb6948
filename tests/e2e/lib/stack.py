"""A muster daemon of a scenario's own: temporary folder, ports, control socket, and nothing left at the end."""
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import typing

from lib import procs
from lib.expect import DEADLINE, Failed, check, equal, wait_for
from lib.http import Answer, Connection
from lib.ports import PortBlock

Status = dict[str, typing.Any]

# Debian's programs, not the shims of a version manager: an app is the process that was started.
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

E2E = pathlib.Path(__file__).resolve().parent.parent


class Stack:
    """`with Stack() as stack: stack.write(SPEC); stack.up(); stack.ready("web")` …

    In a spec `<L3>` is the listener port 3 of this stack, `<N4>` its numbered port 4, `<REPLICA>` the test program
    of replica.cpp, `<APPS>` the folder of the Python apps.
    """

    muster = ""   # the binary under test; set by main
    _open: "set[Stack]" = set()  # a scenario may have several
    replica = ""  # the replica program
    examples = E2E.parents[1] / "config" / "examples"

    def __init__(self, environment: dict[str, str] | None = None) -> None:
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="muster-e2e-"))
        self.ports = PortBlock()
        self.output_path = self.folder / "muster.out"
        runtime = self.folder / "run"
        runtime.mkdir(mode=0o700)
        self.environment = {**os.environ, "PATH": SYSTEM_PATH, "XDG_RUNTIME_DIR": str(runtime), "NO_COLOR": "1", **(environment or {})}
        for name in [n for n in self.environment if n.startswith("MUSTER_")]:
            del self.environment[name]
        self.daemon_process: subprocess.Popen[bytes] | None = None

    # --- spec and start

    def fill(self, text: str) -> str:
        text = re.sub(r"<L(\d+)>", lambda m: str(self.ports.listen(int(m.group(1)))), text)
        text = re.sub(r"<N(\d+)>", lambda m: str(self.ports.numbered(int(m.group(1)))), text)
        return text.replace("<REPLICA>", self.replica).replace("<APPS>", str(E2E / "apps")).replace("<DIR>", str(self.folder))

    def write(self, text: str, name: str = "muster.toml") -> pathlib.Path:
        """Saves a spec as an editor does: a new file, renamed over the old one."""
        text = self.fill(text)
        if "[daemon]" not in text and name == "muster.toml":
            text += f'\n[daemon]\nthreads = 2\nport_range = "{self.ports.auto_range()}"\n'
        if os.getuid() == 0 and "[defaults]" not in text and name == "muster.toml":
            text += '\n[defaults]\nuser = "root"\n'  # `daemon` as root insists on a user for each app
        path = self.folder / name
        fresh = path.with_name(f".{path.name}.new")
        fresh.write_text(text, encoding="utf-8")
        fresh.rename(path)
        return path

    def edit(self, old: str, new: str) -> None:
        text = (self.folder / "muster.toml").read_text(encoding="utf-8")
        check(self.fill(old) in text, f"{old!r} is not in the spec")
        self.write(text.replace(self.fill(old), new))

    def start(self, *arguments: str, wait: bool = True, before: list[str] | None = None, pass_fds: tuple[int, ...] = ()) -> subprocess.Popen[bytes]:
        """`before`: a command that ends by exec of its further arguments, the daemon's."""
        check(self.daemon_process is None or self.daemon_process.poll() is not None, "a daemon of this stack is running")
        output = open(self.output_path, "ab")
        process = subprocess.Popen([*self._enter_group(), *(before or []), self.muster, *arguments], cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
                                   stdout=output, stderr=output, start_new_session=True, pass_fds=pass_fds, preexec_fn=procs.die_with_parent)
        output.close()
        self.daemon_process = process
        if wait:
            wait_for("the control socket answers", lambda: self.ps_or_none() is not None)
        return process

    def _enter_group(self) -> list[str]:
        """Where E2E_GROUP names a control group that hands its controllers down, the daemon gets one of its own below it."""
        parent = os.environ.get("E2E_GROUP")
        if not parent:
            return []
        group = pathlib.Path(parent) / self.folder.name
        group.mkdir(exist_ok=True)
        return ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"]

    def up(self, *arguments: str, wait: bool = True) -> subprocess.Popen[bytes]:
        return self.start("up", *arguments, wait=wait)

    def daemon(self, *arguments: str, wait: bool = True) -> subprocess.Popen[bytes]:
        return self.start("daemon", "-f", "muster.toml", *arguments, wait=wait)

    # --- asking

    def run(self, *arguments: str, code: int | None = 0, timeout: float = 2 * DEADLINE) -> subprocess.CompletedProcess[str]:
        """One muster command in the stack's folder; `code`: what it has to exit with, None for any."""
        run = subprocess.run([self.muster, *arguments], cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
                             capture_output=True, text=True, errors="replace", check=False, timeout=timeout)
        if code is not None and run.returncode != code:
            raise Failed(f"muster {' '.join(arguments)} exits {run.returncode}, not {code}:\n{run.stdout}{run.stderr}")
        return run

    @property
    def socket(self) -> str:
        """The control socket: the one in the stack's own runtime folder."""
        found = sorted((self.folder / "run").rglob("*.sock"))
        return str(found[0]) if found else ""

    def api(self, method: str, target: str, body: typing.Any = None) -> Answer:
        with Connection(0, path=self.socket) as connection:
            return connection.ask(method, target, b"" if body is None else json.dumps(body).encode(), close=True)

    def ps_or_none(self) -> Status | None:
        process = self.daemon_process
        if process is not None and process.poll() is not None:
            raise Failed(f"the daemon ended by itself with {process.returncode}")
        try:
            answer = self.api("GET", "/v1/status")
        except OSError:
            return None
        return json.loads(answer.body) if answer.status == 200 else None

    def ps(self) -> Status:
        status = self.ps_or_none()
        if status is None:
            raise Failed("the control socket does not answer")
        return status

    def app(self, name: str) -> Status:
        return next(app for app in self.ps()["apps"] if app["name"] == name)

    def replicas(self, name: str) -> list[Status]:
        return self.app(name)["replicas"]

    def one(self, ident: str) -> Status:
        """The row of web/2; of several tenants the newest."""
        return [row for row in self.replicas(ident.partition("/")[0]) if row["id"] == ident][-1]

    def pids(self, *names: str) -> dict[str, int]:
        apps = [app for app in self.ps()["apps"] if not names or app["name"] in names]
        return {row["id"]: row["pid"] for app in apps for row in app["replicas"] if row["pid"]}

    def events(self, **filters: str) -> list[Status]:
        query = "&".join(f"{name}={value}" for name, value in filters.items())
        answer = self.api("GET", f"/v1/events?{query}")
        return [json.loads(line) for line in answer.text.splitlines()]

    def output(self) -> str:
        return self.output_path.read_text(encoding="utf-8", errors="replace") if self.output_path.exists() else ""

    # --- waiting

    def ready(self, *names: str, count: int | None = None) -> Status:
        """Waits until these apps (or all) have every replica ready, of the newest revision."""

        def settled() -> Status | None:
            status = self.ps_or_none()
            apps = [app for app in (status or {}).get("apps", []) if not names or app["name"] in names]
            fine = apps and len(apps) >= len(names) and all(
                app["state"] == "ready" and app["ready"] == len(app["replicas"]) == (count or app["desired"]) for app in apps)
            return status if fine else None

        return wait_for(f"ready: {' '.join(names) or 'every app'}", settled)

    def until(self, ident: str, holds: typing.Callable[[Status], object], what: str) -> Status:
        """Waits for something about one replica (`web/2`) or app (`web`)."""

        def row() -> Status | None:
            try:
                found = self.one(ident) if "/" in ident else self.app(ident)
            except (IndexError, StopIteration):
                return None
            return found if holds(found) else None

        return wait_for(f"{ident}: {what}", row)

    def in_state(self, ident: str, state: str) -> Status:
        return self.until(ident, lambda row: row["state"] == state, f"is {state}")

    def event(self, what: str, holds: typing.Callable[[Status], object], **filters: str) -> Status:
        def found() -> Status | None:
            with contextlib.suppress(OSError):  # the daemon becomes its next image at this very moment
                return next((e for e in self.events(**filters) if holds(e)), None)
            return None

        return wait_for(f"event: {what}", found)

    # --- the end

    def end(self, number: int = signal.SIGTERM, code: int | None = None) -> int:
        process = self.daemon_process
        if process is None:
            raise Failed("no daemon was started")
        if process.poll() is None:
            process.send_signal(number)
        try:
            found = process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            raise Failed(f"the daemon runs on {DEADLINE:.0f} s after {signal.Signals(number).name}") from None
        if code is not None:
            equal(found, code, f"exit code after {signal.Signals(number).name}")
        return found

    def nothing_left(self) -> None:
        """No process below us and no open port: what every scenario ends with."""
        left = procs.descendants(os.getpid())
        for other in Stack._open - {self}:
            if other.daemon_process is not None:
                left -= procs.descendants(other.daemon_process.pid) | {other.daemon_process.pid}
        check(not left, f"processes are left behind: {procs.describe(left)}")
        open_ports = sorted(set(procs.listening_sockets()) & set(self.ports.all()))
        check(not open_ports, f"ports are still open: {open_ports}")

    def __enter__(self) -> "Stack":
        Stack._open.add(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, problem: BaseException | None, _: object) -> None:
        try:
            if kind is not None:
                self._tell()
            if self.daemon_process is not None:
                self.end()
                if kind is None:
                    self.nothing_left()
        except Failed:
            if kind is None:
                self._tell()
                raise
        finally:
            Stack._open.discard(self)
            if not Stack._open:
                for pid in procs.descendants(os.getpid()):
                    procs.kill_quietly(pid)
            self.ports.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _tell(self) -> None:
        print("--- output of the daemon\n" + self.output()[-12000:])
        with contextlib.suppress(Exception):
            print("--- ps\n" + self.run("ps", code=None, timeout=10).stdout)
            print("--- events")
            for event in self.events()[-60:]:
                print(f"{event['time']} {event['app']}/{event['ordinal']} {event['kind']}: {event['text']}")
        for path in sorted((self.folder / ".muster" / "log").glob("*.log")):
            print(f"--- {path.name}\n" + path.read_text(encoding="utf-8", errors="replace")[-600:])
        sys.stdout.flush()
