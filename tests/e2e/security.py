#!/usr/bin/env python3
"""Enemies: of the control socket, in the words of apps, of other users. docs/security.md has the whole list."""
import contextlib
import os
import random
import socket
import statistics
import subprocess
import sys
import time

from lib.expect import Skipped, check, contains, equal, wait_for
from lib.load import Load
from lib.scenario import main, scenario
from lib.stack import Stack

WEB = """
[app.web]
run      = "<REPLICA> {port}"
replicas = 2
listen   = <L0>
"""

REQUESTS = [
    b"GET /v1/status HTTP/1.1\r\nHost: m\r\n\r\n",
    b"GET /v1/events?app=web HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n",
    b"GET /v1/why?app=web&ordinal=1 HTTP/1.1\r\nHost: m\r\n\r\n",
    b"GET /v1/logs?app=web&since=5m HTTP/1.1\r\nHost: m\r\n\r\nGET /v1/plan HTTP/1.1\r\n\r\n",
    b"HEAD /v1/rollout?app=web HTTP/1.0\r\n\r\n",
    b'POST /v1/scale HTTP/1.1\r\nHost: m\r\nContent-Length: 28\r\n\r\n{"app":"absent","replicas":2}',
    b"POST /v1/drain HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{\"app\":\"absent\"}\r\n0\r\n\r\n",
]


def mutated(chance: random.Random) -> bytes:
    text = bytearray(chance.choice(REQUESTS))
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(text) + 1)
        kind = chance.randrange(5)
        if kind == 0:
            text.insert(at, chance.randrange(256))
        elif kind == 1 and at < len(text):
            text[at] ^= 1 << chance.randrange(8)
        elif kind == 2:
            del text[at:at + chance.randint(1, 20)]
        elif kind == 3:
            other = chance.choice(REQUESTS)
            begin = chance.randrange(len(other))
            text[at:at] = other[begin:begin + chance.randint(1, 60)]
        else:
            del text[at:]
    return bytes(text)


def told(path: str, request: bytes) -> bytes:
    """What the daemon says to these bytes, to the end of the connection."""
    answer = b""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)  # with a timeout a full backlog would be an error
        client.settimeout(20)
        with contextlib.suppress(ConnectionError):
            client.sendall(request)
            client.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            while piece := client.recv(65536):
                answer += piece
    return answer


# Clients that begin a request and go on with a byte now and then; one that is shut out comes again.
STALLER = """
import signal, socket, sys, time
path, count = sys.argv[1], int(sys.argv[2])
shut_out = 0

def begin():
    client = socket.socket(socket.AF_UNIX)
    client.setblocking(False)
    try:
        client.connect(path)
        client.send(b"GET /v1/status HTT")
    except OSError:
        client.close()
        return None
    return client

def report(*_):
    print(sum(client is not None for client in clients), shut_out, flush=True)
    sys.exit()

clients = [begin() for _ in range(count)]
signal.signal(signal.SIGTERM, report)
print("all have come", flush=True)
while True:
    for i, client in enumerate(clients):
        try:
            if client is None:
                raise ConnectionError
            client.send(b"x")
        except OSError:
            if client is not None:
                shut_out += 1
                client.close()
            clients[i] = begin()
        if i % 50 == 0:
            time.sleep(0.01)
"""


class Stalled:
    """So many of them, in a process of their own."""

    def __init__(self, path: str, count: int) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", STALLER, path, str(count)], stdout=subprocess.PIPE, text=True)
        self.shut_out = 0

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def __enter__(self) -> "Stalled":
        equal(self._line(), "all have come", "the stalled clients")
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        words = self._line().split()
        self.process.wait()
        if words:
            self.shut_out = int(words[1])
            print(f"of the stalled clients {words[0]} were connected at the end; {words[1]} times one had to give way")


def answers_of(stack: Stack, count: int) -> list[float]:
    """How long GET /v1/status took, in ms."""
    times = []
    for _ in range(count):
        begin = time.monotonic()
        check(b" 200 " in told(stack.socket, REQUESTS[0])[:20], "the control socket does not answer")
        times.append((time.monotonic() - begin) * 1000)
    return times


def print_times(what: str, times: list[float]) -> float:
    print(f"{what}: median {statistics.median(times):.1f} ms, worst {max(times):.1f} ms")
    return statistics.median(times)


def times_of_ps(stack: Stack, count: int) -> list[float]:
    """How long `muster ps` took as a command, its own start included, in ms."""
    times = []
    for _ in range(count):
        begin = time.monotonic()
        stack.run("ps")
        times.append((time.monotonic() - begin) * 1000)
    return times


PS_MS = 50  # what a person does not notice
BUSY_PS_MS = 5000  # where others wait for a processor too, the daemon waits with them at every step


def is_quick(what: str, median: float, quiet: bool) -> None:
    most = PS_MS if quiet else BUSY_PS_MS
    check(median < most, f"{what} takes {median:.1f} ms beside stalled clients, more than {most} ms")


@scenario
def the_control_socket_under_attack() -> None:
    """10,000 damaged requests, half ones, giants, 500 clients that stall: status goes on to be told, traffic to flow."""
    with Stack() as stack:
        stack.write(WEB)
        (stack.folder / "secret-0.log").write_text("2026-01-01T00:00:00.000Z out out of reach\n", encoding="utf-8")
        daemon = stack.daemon()
        stack.ready()
        before = stack.pids()
        chance = random.Random(20260101)
        quiet = os.getloadavg()[0] < (os.cpu_count() or 1)
        print("a quiet host" if quiet else f"a busy host (load {os.getloadavg()[0]:.0f}): its figures say little")
        print_times("status, alone", answers_of(stack, 50))
        print_times("ps as a command, alone", times_of_ps(stack, 10))
        with Load(stack.ports.listen(0), keep=2, pause=0.005) as load:
            answers = {told(stack.socket, mutated(chance))[9:12] for _ in range(10_000)}
            print("answers to damaged requests:", b" ".join(sorted(answers)).decode(errors="replace"))
            check(b"400" in answers, "no damaged request was refused: nothing is proven")
            for size in range(0, len(REQUESTS[5]), 7):
                told(stack.socket, REQUESTS[5][:size])
            for giant in (b"GET /" + b"a" * 2_000_000, b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 300_000,
                          b"POST /v1/scale HTTP/1.1\r\nContent-Length: 9999999999\r\n\r\n" + b"{" * 3_000_000,
                          b"POST /v1/scale HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n" + b"[" * 1_000_000):
                check(b" 200 " not in told(stack.socket, giant)[:20], f"{giant[:30]!r}… is taken")
            for app in (b"..%2F..%2Fsecret", b"../../secret", b"%2Fetc%2Fpasswd", b"web-0.log%00", b"web/../../secret"):
                answer = told(stack.socket, b"GET /v1/logs?app=" + app + b" HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n")
                check(b" 200 " not in answer[:20] and b"out of reach" not in answer, f"the log of {app!r} is told: {answer!r}")
            with Stalled(stack.socket, 500) as stalled:
                is_quick("status", print_times("status, beside 500 stalled clients", answers_of(stack, 50)), quiet)
                is_quick("ps", print_times("ps as a command, beside them", times_of_ps(stack, 10)), quiet)
            check(stalled.shut_out > 0, "no stalled client had to give way: nothing is proven")
        print(f"requests to the app meanwhile: {load.done}, {len(load.failures)} failed")
        equal(load.failures[:5], [], "failed requests meanwhile")
        check(load.done > 100, f"only {load.done} requests meanwhile")
        equal(daemon.poll(), None, "the daemon's end")
        equal(stack.pids(), before, "pids after the attack")


FORGED = "2026-01-01T00:00:00.000Z error forged"
TALKER = f"""
import os, socket, sys, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect("\\0" + os.environ["NOTIFY_SOCKET"][1:])
s.send(b"STATUS=\\x1b[31mred\\r\\x07\\n{FORGED}\\n")
print("\\x1b]0;title\\x07 line\\r\\x9b2J {FORGED}", flush=True)
time.sleep(1000)
"""


@scenario
def words_of_apps_stay_words() -> None:
    """Control bytes and line feeds in status texts, probes' output and log lines: none reaches a terminal or begins a line
    of muster's own."""
    with Stack() as stack:
        (stack.folder / "talker.py").write_text(TALKER, encoding="utf-8")
        (stack.folder / "probe.sh").write_text(f"printf '\\033[2Jgone\\r\\n{FORGED}\\n'; exit 1\n", encoding="utf-8")
        stack.write("""
[app.talker]
run    = "python3 <DIR>/talker.py"
health = { notify = true, cmd = "sh <DIR>/probe.sh", every = "200ms", start = "1s" }
[app.mute]
run    = "sh -c 'printf \\"\\\\033[31mlast words\\\\n\\" >&2; exit 3'"
restart = "never"
""")
        stack.daemon()
        stack.in_state("mute", "failed")
        stack.until("talker/0", lambda row: row["state"] != "ready" and row["pid"], "starts")
        wait_for("its line is in the log", lambda: "title" in stack.run("logs", "talker").stdout)
        wait_for("its probe was seen", lambda: "gone" in stack.run("why", "talker").stdout)
        shown = ""
        for words in (["ps"], ["ps", "-o", "wide"], ["ps", "-o", "json"], ["why", "talker"], ["why", "mute"], ["events"], ["logs"]):
            run = stack.run(*words)
            bad = {letter for letter in run.stdout + run.stderr if (ord(letter) < 32 and letter not in "\n\t") or 127 <= ord(letter) < 160}
            equal(bad, set(), f"control bytes in the output of {' '.join(words)}")
            shown += run.stdout
        shown += stack.output()
        check("\x1b" not in stack.output() and "\r" not in stack.output(), "control bytes in muster's own log")
        equal([line for line in shown.splitlines() if line.startswith(FORGED)], [], "lines that an app forged")
        equal([line for line in stack.output().splitlines() if line.endswith(FORGED) and "talker" not in line], [], "lines of the own log that an app forged")


@scenario
def secrets_are_masked() -> None:
    """Values of *PASS*, *SECRET*, *TOKEN*, *KEY* and of options so named: in no answer, no plan, no error, no log."""
    secrets = ("hunter2-env", "hunter3-option", "hunter4-file", "hunter5-new")
    with Stack() as stack:
        (stack.folder / "web.env").write_text("FILE_SECRET=hunter4-file\n", encoding="utf-8")
        stack.write("""
[app.web]
run             = "<REPLICA> {port} --api-token hunter3-option"
listen          = <L0>
env.DB_PASSWORD = "hunter2-env"
env_file        = "web.env"
""")
        stack.daemon()
        stack.ready()
        seen = []

        def look(*words: str, code: int | None = 0) -> None:
            run = stack.run(*words, code=code)
            seen.append((" ".join(words), run.stdout + run.stderr))

        def look_at_all() -> None:
            for words in (["ps"], ["ps", "-o", "json"], ["why", "web"], ["events"], ["rollout", "history", "web"]):
                look(*words)
            for words in (["plan"], ["plan", "-o", "json"], ["plan", "--offline"]):
                look(*words, code=None)
            for path in ("status", "plan", "events", "why?app=web&ordinal=0", "rollout?app=web"):
                seen.append((path, stack.api("GET", f"/v1/{path}").text))

        look_at_all()
        stack.edit("hunter2-env", "hunter5-new")
        stack.edit("hunter3-option", "hunter5-new")
        look_at_all()
        contains(dict(seen)["plan -o json"], ["DB_PASSWORD", "--api-token ********"], "the plan")
        stack.write('[app.web]\nrun = "x"\nenv = { DB_PASSWORD = "hunter2-env", PORT = 5 }\nnmae = "--token hunter3-option"\n')
        look("check", code=65)
        look("reload", code=65)
        look("ps")
        seen.append(("own log", stack.output()))
        for name, text in seen:
            for secret in secrets:
                check(secret not in text, f"{secret} is shown by {name}:\n{text}")


@scenario
def specs_of_others_are_refused() -> None:
    """As root: `daemon` refuses a spec that another user may change, `up` warns; a reload refuses it too."""
    if os.getuid() != 0:
        raise Skipped("not root")
    with Stack() as stack:
        path = stack.write(WEB)
        os.chmod(path, 0o664)
        words = ["may be changed by others than root", "owned by root (uid 0), mode 0664"]
        contains(stack.run("daemon", "-f", "muster.toml", code=77).stderr, words, "why the daemon refuses it")
        stack.up()
        stack.ready()
        contains(stack.output(), words, "the warning of up")
        stack.end()
        os.chmod(path, 0o644)
        stack.daemon()
        stack.ready()
        before = stack.pids()
        os.chown(path, 65534, -1)
        contains(stack.run("reload", code=None).stderr, "owned by nobody", "why the reload is refused")
        equal(stack.pids(), before, "pids after the refused reload")


if __name__ == "__main__":
    sys.exit(main())
