#!/usr/bin/env python3
"""The commands as people type them, and the control API behind them."""
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

from lib import procs
from lib.expect import DEADLINE, Skipped, check, contains, equal, wait_for
from lib.http import get
from lib.scenario import main, scenario
from lib.stack import Stack

SPEC = """
[app.web]
run      = "<REPLICA> {port}"
replicas = 2
listen   = <L0>
health   = "/healthz"

[app.db]
run    = "<REPLICA> {port}"
port   = <N0>
"""
LOG_LINE = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (out|err) ")


@scenario
def logs() -> None:
    with Stack() as stack:
        stack.write(SPEC)
        stack.daemon()
        stack.ready()
        port = stack.one("web/1")["port"]
        get(port, "/say/apple")
        file = stack.folder / ".muster/log/web-1.log"
        wait_for("the line is in the file", lambda: file.exists() and "apple" in file.read_text(encoding="utf-8"))
        for line in file.read_text(encoding="utf-8").splitlines():
            check(LOG_LINE.match(line), f"a line of the log file: {line!r}")
        contains(stack.run("logs", "web/1").stdout, ["listening", "apple"], "logs web/1")
        contains(stack.run("logs", "web").stdout, "apple", "logs web")
        check("apple" not in stack.run("logs", "db").stdout, "logs db shows lines of web")
        written = next(line.split()[0] for line in file.read_text(encoding="utf-8").splitlines() if "apple" in line)
        since = stack.run("logs", "--since", written, "web/1").stdout
        check("apple" in since and "listening" not in since, f"logs --since {written}: {since!r}")
        contains(stack.run("logs", "--since", "10m").stdout, "apple", "logs --since 10m")
        equal(len(stack.run("logs", "--tail", "1", "web/1").stdout.splitlines()), 1, "logs --tail 1")
        entry = json.loads(stack.run("logs", "-o", "json", "--tail", "1", "web/1").stdout)
        equal((entry["app"], entry["ordinal"], entry["stream"], entry["text"]), ("web", 1, "out", "apple"), "logs -o json")
        following = subprocess.Popen([stack.muster, "logs", "-f", "web"], cwd=stack.folder, env=stack.environment, stdout=subprocess.PIPE, text=True)
        assert following.stdout is not None
        try:
            get(port, "/say/pear")
            for line in following.stdout:
                if "pear" in line:
                    contains(line, "web/1", "the name before a followed line")
                    break
            else:
                check(False, "logs -f ended without the line")
        finally:
            following.send_signal(signal.SIGINT)
            following.wait(DEADLINE)
            following.stdout.close()


@scenario
def logs_reopen_on_usr1() -> None:
    with Stack() as stack:
        stack.write(SPEC)
        daemon = stack.daemon()
        stack.ready()
        port, file = stack.one("db/0")["port"], stack.folder / ".muster/log/db-0.log"
        get(port, "/say/before")
        wait_for("the line is written", lambda: file.exists() and "before" in file.read_text(encoding="utf-8"))
        file.rename(stack.folder / "moved")
        daemon.send_signal(signal.SIGUSR1)
        wait_for("a new file", lambda: get(port, "/say/after").status == 200 and file.exists() and "after" in file.read_text(encoding="utf-8"))
        contains((stack.folder / "moved").read_text(encoding="utf-8"), "before", "the moved file")


@scenario
def logs_rotate() -> None:
    with Stack() as stack:
        stack.write('[app.loud]\nrun = "sh -c \'seq 1 4000; exec sleep 1000\'"\nlog = { rotate = "16KiB", keep = 2 }\nhealth = "none"\n')
        stack.daemon()
        folder = stack.folder / ".muster/log"
        wait_for("three files", lambda: len(list(folder.glob("loud-0*"))) == 3)
        wait_for("the last line", lambda: " out 4000\n" in (folder / "loud-0.log").read_text(encoding="utf-8"))
        sizes = [path.stat().st_size for path in folder.glob("loud-0*")]
        check(max(sizes) <= 17 << 10, f"sizes of the files {sizes}")


@scenario
def events_and_why() -> None:
    with Stack() as stack:
        stack.write(SPEC)
        stack.daemon()
        stack.ready()
        following = subprocess.Popen([stack.muster, "events", "-f"], cwd=stack.folder, env=stack.environment, stdout=subprocess.PIPE, text=True)
        assert following.stdout is not None
        try:
            os.kill(stack.pids()["web/1"], signal.SIGSEGV)
            for line in following.stdout:
                if "web/1" in line and "SIGSEGV" in line:
                    break
            else:
                check(False, "events -f ended without the crash")
        finally:
            following.send_signal(signal.SIGINT)
            following.wait(DEADLINE)
            following.stdout.close()
        stack.ready()
        contains(stack.run("events", "web/1").stdout, ["starting", "ready", "SIGSEGV"], "events web/1")
        row = stack.one("web/1")
        equal((row["restarts"], row["last_exit"]["signal"], row["last_exit"]["code"]), (1, "SIGSEGV", None), "web/1 after a crash")
        contains(stack.run("why", "web/1").stdout, ["SIGSEGV", "listening", "ready"], "why web/1")
        why = json.loads(stack.run("why", "web/1", "-o", "json").stdout)
        equal((why["app"], why["ordinal"], why["state"]), ("web", 1, "ready"), "why -o json")
        contains(stack.run("why", "nobody", code=None).stderr, "nobody", "why of an app that is not there")


@scenario
def tables() -> None:
    with Stack() as stack:
        stack.write(SPEC)
        stack.daemon()
        stack.ready()
        table = stack.run("ps").stdout
        contains(table, ["web/0", "web/1", "db/0", "ready"], "ps")
        check("\x1b" not in table, "ps has colours although nobody reads it on a terminal")
        contains(stack.run("ps", "-o", "wide").stdout, [str(stack.ports.listen(0))], "ps -o wide")
        equal(json.loads(stack.run("ps", "-o", "json").stdout)["schema"], 1, "ps -o json")
        below = stack.folder / "a" / "b"
        below.mkdir(parents=True)
        run = subprocess.run([stack.muster, "ps"], cwd=below, env=stack.environment, capture_output=True, text=True, check=False)
        contains(run.stdout, "web/0", "ps from a folder below the spec's")
        contains(stack.run("version").stdout, re.findall(r"\d+\.\d+\.\d+", json.dumps(stack.ps()["daemon"]["version"])), "version")


def curl(stack: Stack, *arguments: str) -> str:
    run = subprocess.run(["curl", "--silent", "--show-error", "--max-time", "60", "--unix-socket", stack.socket, *arguments],
                         capture_output=True, text=True, check=False)
    equal(run.returncode, 0, f"curl {' '.join(arguments)}: {run.stderr}")
    return run.stdout


@scenario
def control_api() -> None:
    """By curl, as SPEC says; bad requests have their statuses and change nothing."""
    with Stack() as stack:
        stack.write(SPEC)
        stack.daemon()
        stack.ready()
        status = json.loads(curl(stack, "http://muster/v1/status"))
        equal([app["name"] for app in status["apps"]], ["db", "web"], "apps of /v1/status")
        answer = json.loads(curl(stack, "-X", "POST", "-d", '{"app":"web","replicas":3,"wait":true}', "http://muster/v1/scale"))
        equal(answer["code"], 0, f"scale: {answer}")
        equal(stack.app("web")["ready"], 3, "ready after scale")
        answer = json.loads(curl(stack, "-X", "POST", "-d", '{"wait":true}', "http://muster/v1/apply"))
        equal(answer["code"], 0, f"apply: {answer}")
        before = stack.ps()["apps"]
        for method, path, body, wanted in (("GET", "/v1/nothing", "", "404"), ("POST", "/v1/status", "{}", "405"), ("GET", "/v1/scale", "", "405"),
                                           ("POST", "/v1/scale", "{", "400"), ("POST", "/v1/scale", '{"app":7}', "400"),
                                           ("POST", "/v1/scale", "[" * 100000, "400"), ("POST", "/v1/stop", "{}", "400")):
            (stack.folder / "body").write_text(body, encoding="utf-8")
            words = ["-X", method, "-o", str(stack.folder / "answer"), "-w", "%{http_code}"]
            words += ["--data-binary", f"@{stack.folder / 'body'}"] if body else []
            equal(curl(stack, *words, f"http://muster{path}"), wanted, f"{method} {path} {body[:30]!r}")
            check(json.loads((stack.folder / "answer").read_text(encoding="utf-8"))["error"], "an error without a sentence")
        after = stack.ps()["apps"]
        equal([(a["name"], a["desired"], a["revision"]) for a in after], [(a["name"], a["desired"], a["revision"]) for a in before], "apps after bad requests")
        with socket.socket(socket.AF_UNIX) as rude:
            rude.connect(stack.socket)
            rude.sendall(b"\0" * 70000)
        with socket.socket(socket.AF_UNIX) as slow:
            slow.connect(stack.socket)
            slow.sendall(b"GET /v1/status HTTP/1.1\r\n")
            equal(stack.ps()["schema"], 1, "status while another client is slow")


@scenario
def a_flood_of_clients() -> None:
    """More connections to the control socket than it takes: it goes on, and answers again when they are gone."""
    with Stack() as stack:
        stack.write(SPEC)
        stack.daemon()
        stack.ready()
        held = []
        for _ in range(200):
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(0.2)
            try:
                client.connect(stack.socket)
            except OSError:
                client.close()
                break
            held.append(client)
        equal(get(stack.ports.listen(0)).status, 200, "traffic meanwhile")
        for client in held:
            client.close()
        wait_for("the control socket answers again", lambda: stack.ps_or_none() is not None)


@scenario
def others_are_refused() -> None:
    """Another user's process: no answer to anything. (The socket's folder already keeps it out: 0700; so does the daemon.)"""
    if os.getuid() != 0:
        raise Skipped("not root")
    with Stack() as stack:
        stack.write(SPEC)
        stack.daemon()
        stack.ready()
        for folder in (stack.folder, stack.folder / "run", stack.folder / "run" / "muster"):
            folder.chmod(0o755)
        os.chmod(stack.socket, 0o666)
        for path, body in (("status", None), ("stop", '{"app":"web"}'), ("down", "{}")):
            words = ["-X", "POST", "-d", body] if body else []
            run = subprocess.run(["curl", "--silent", "--max-time", "20", "--unix-socket", stack.socket, "-w", "\n%{http_code}", *words, f"http://m/v1/{path}"],
                                 user=65534, group=65534, extra_groups=[], capture_output=True, text=True, check=False)
            check("200" not in run.stdout.splitlines()[-1:] and "apps" not in run.stdout, f"user nobody asks {path}: {run.stdout}")
        equal(len(stack.pids()), 3, "replicas after the requests of user nobody")
        run = subprocess.run([stack.muster, "ps", "--socket", stack.socket], cwd="/", user=65534, group=65534, extra_groups=[], capture_output=True,
                             text=True, check=False, env={"PATH": "/usr/bin"})
        equal(run.returncode, 77, f"exit code of ps as user nobody: {run.stdout}{run.stderr}")


@scenario
def exit_codes() -> None:
    with Stack() as stack:
        stack.write(SPEC)
        contains(stack.run("ps", code=69).stderr, [".sock"], "ps without a daemon")
        equal(stack.run("check").returncode, 0, "check of a good spec")
        for words, wanted in ((["frobnicate"], 64), (["sp"], 64), (["scale", "web"], 64), (["ps", "--nope"], 64), ([], 64), (["top"], 64),
                              (["apply", "--plan", "x"], 69), (["check", "-f", "absent.toml"], 66)):
            run = stack.run(*words, code=None)
            equal(run.returncode, wanted, f"muster {' '.join(words)}: {run.stdout}{run.stderr}")
        contains(stack.run("top", code=64).stderr, "not in this version", "a command of later")
        contains(stack.run("logs", "--since", "2999-01-01", code=64).stderr, ["--since", "2999-01-01", "future"], "logs from a day to come")
        contains(stack.run("sacle", "web=1", code=64).stderr, "scale", "a misspelled command")
        stack.write('[app.web]\nrun = "<REPLICA> {port}"\nreplcas = 2\n[app.db]\nrun = "x {prot}"\nlisten = ":80"\nimage = "web"\n')
        errors = stack.run("check", code=65)
        contains(errors.stdout + errors.stderr, ["muster.toml:3:1: error:", "replicas", "muster.toml:5:", "prot", "'port'", "muster.toml:6:", "0.0.0.0:80",
                                                 "not in this version", "replcas = 2", "^"], "all errors of check")
        stack.write('[app.web]\nrun = "<REPLICA> {port}"\nlisten = <L0>\nhealth = "cmd false"\n')
        stack.daemon()
        stack.in_state("web/0", "starting")
        run = stack.run("restart", "web", "--timeout", "300ms", code=75)
        contains(run.stderr + run.stdout, "web", "the message of a wait that timed out")
        begin = time.monotonic()
        stack.run("restart", "web", "--no-wait")
        check(time.monotonic() - begin < DEADLINE, "--no-wait waits")
        stack.run("down")
        equal(stack.daemon_process.wait(DEADLINE) if stack.daemon_process else None, 0, "exit code of the daemon after down")
        stack.nothing_left()


@scenario
def options_of_the_readme() -> None:
    """-o json of what else prints for people, MUSTER_THREADS, --now of down."""
    with Stack() as stack:
        stack.environment["MUSTER_THREADS"] = "3"
        stack.write('[app.web]\nrun = "<REPLICA> {port} ignore-term"\nlisten = <L0>\nstop = { timeout = "1h" }\n')
        checked = json.loads(stack.run("check", "-o", "json").stdout)
        equal((checked["ok"], checked["diagnostics"]), (True, []), "check -o json")
        stack.write('[app.bad]\nrnu = "x"\n', name="bad.toml")
        checked = json.loads(stack.run("check", "-f", "bad.toml", "-o", "json", code=65).stdout)
        equal((checked["ok"], sorted({one["line"] for one in checked["diagnostics"]})), (False, [1, 2]), "check -o json of a spec with mistakes")
        checks = json.loads(stack.run("doctor", "-o", "json", code=None).stdout)["checks"]
        check(any("cgroup" in one["check"] + one["found"] for one in checks), f"doctor -o json: {checks}")
        stack.daemon()
        stack.ready()
        kinds = [json.loads(line)["kind"] for line in stack.run("events", "web", "-o", "json").stdout.splitlines()]
        check({"starting", "ready"} <= set(kinds), f"kinds of events -o json: {kinds}")
        equal(len(procs.listening_sockets()[stack.ports.listen(0)]), 3, "listening sockets: one for each of MUSTER_THREADS, whatever the spec says")
        stack.run("down", "--now")  # in order it would wait an hour for an app that ignores TERM
        equal(stack.daemon_process.wait(DEADLINE) if stack.daemon_process else None, 0, "exit code of the daemon after down --now")
        stack.nothing_left()


@scenario
def demo() -> None:
    """What ./setup.sh shows: 4 API replicas in turn, 3 stores with volumes, one killed and back, one edit reloaded."""
    with Stack() as stack:
        with open(stack.output_path, "ab") as output:
            demo_process = subprocess.Popen([stack.muster, "demo"], cwd=stack.folder, env=stack.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            daemon = wait_for("the demo's daemon has replicas", lambda: next((p for p in procs.descendants(demo_process.pid) if procs.descendants(p)), 0))
            equal(procs.thread_names(daemon), {"muster"}, "names of the daemon's threads")
            equal(demo_process.wait(3 * DEADLINE), 0, "exit code of the demo")
        finally:
            demo_process.kill()
            demo_process.wait(DEADLINE)
        print(stack.output())
        contains(stack.output(), ["killed", "reload"], "the demo")
        stack.nothing_left()


@scenario
def doctor_and_completion() -> None:
    with Stack() as stack:
        for shell in ("bash", "zsh", "fish"):
            contains(stack.run("completion", shell).stdout, ["muster", "scale"], f"completion {shell}")
        stack.run("completion", "tcsh", code=64)
        script = stack.run("completion", "bash").stdout
        shown = subprocess.run(["bash", "-c", script + '\nCOMP_WORDS=(muster sca) COMP_CWORD=1; $(complete -p muster | sed "s/.*-F \\([^ ]*\\).*/\\1/"); echo "${COMPREPLY[@]}"'],
                               capture_output=True, text=True, check=False)
        contains(shown.stdout, "scale", f"what bash completes for `muster sca`: {shown.stderr}")
        contains(stack.run("doctor", code=None).stdout, ["cgroup"], "doctor")


if __name__ == "__main__":
    sys.exit(main())
