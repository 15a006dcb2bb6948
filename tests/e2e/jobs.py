#!/usr/bin/env python3
"""Jobs: by hand, at the start of the daemon, before a rollout, by schedule; what stops them and what is remembered."""
import json
import re
import subprocess
import sys
import typing

from lib import procs
from lib.expect import DEADLINE, check, contains, equal, wait_for
from lib.http import get
from lib.scenario import main, scenario
from lib.stack import E2E, Stack

Row = dict[str, typing.Any]


def job(stack: Stack, name: str) -> Row:
    return next(row for row in stack.ps()["jobs"] if row["name"] == name)


def in_state(stack: Stack, name: str, state: str) -> Row:
    return wait_for(f"job {name} is {state}", lambda: (row := job(stack, name))["state"] == state and row)


def lines(stack: Stack, name: str) -> list[str]:
    path = stack.folder / name
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def in_background(stack: Stack, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen([stack.muster, *arguments], cwd=stack.folder, env=stack.environment, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@scenario
def a_job_runs_by_hand() -> None:
    """Once per start of the daemon, again by `run`: waits for the end, 0 or 1, 75 on --timeout; logs, why, events, ps."""
    with Stack() as stack:
        stack.write("""
[job.report]
run    = "echo run >> runs; echo a line of $MUSTER_APP/$MUSTER_ORDINAL in {volume}; test ! -e broken"
shell  = true
volume = "data"

[job.slow]
run      = "sleep 1000"
schedule = "0 0 1 1 *"
""")
        stack.daemon()
        done = in_state(stack, "report", "completed")
        equal(done["last"]["code"], 0, "exit code of the first run")
        check(done["last"]["ok"] and done["next"] is None, f"report is {done}")
        equal(lines(stack, "runs"), ["run"], "runs at the start of the daemon")
        contains(stack.run("run", "report").stdout, "report has completed: exited with status 0", "run")
        equal(lines(stack, "runs"), ["run", "run"], "runs after `muster run`")
        (stack.folder / "broken").touch()
        contains(stack.run("run", "report", code=1).stderr, "report has failed: exited with status 1", "run of a broken job")
        equal(in_state(stack, "report", "failed")["last"]["code"], 1, "exit code of the last run")
        contains(stack.run("logs", "report").stdout, "a line of report/0 in ", "logs")
        contains((stack.folder / ".muster" / "log" / "report-0.log").read_text(encoding="utf-8"), " out a line of report/0", "log file")
        contains(stack.run("why", "report").stdout, ["report is failed: exited with status 1", "once per start"], "why")
        contains(stack.run("events", "report").stdout, ["runs once per start of the daemon", "run by hand", "failed"], "events")
        contains(stack.run("ps").stdout, ["JOB", "report", "failed", "exited with status 1", "slow", "0 0 1 1 *"], "ps")
        contains(stack.run("check").stdout, "2 jobs", "check")
        equal(stack.run("completion", "jobs").stdout.split(), ["report", "slow"], "names for the completion")
        contains(stack.run("run", "nosuch", code=1).stderr, "no job 'nosuch'; there are: report, slow", "run of none")
        contains(stack.run("run", "slow", "--timeout", "300ms", code=75).stderr, "run slow: not settled", "run --timeout")
        row = in_state(stack, "slow", "running")
        check(row["next"].endswith("Z") and row["runs"][0]["pid"], f"slow is {row}")
        contains(stack.run("run", "slow", code=1).stderr, "`overlap` forbids a second run", "a second run")
        equal(stack.run("run", "report", "--no-wait").returncode, 0, "run --no-wait")


@scenario
def a_job_gates_a_rollout() -> None:
    """`before`: a success lets the new revision in, a failure keeps the old one and `apply` exits 1; --retry tries again."""
    with Stack() as stack:
        stack.write("""
[app.web]
run      = "<REPLICA> {port} text=one"
replicas = 2
listen   = "127.0.0.1:<L0>"
health   = "/healthz"

[job.migrate]
run    = "echo run >> runs; test ! -e broken"
shell  = true
before = "web"
""")
        stack.daemon()
        stack.ready("web")
        equal(lines(stack, "runs"), ["run"], "runs before the first revision")
        stack.edit("text=one", "text=two")
        stack.run("apply")
        equal(get(stack.ports.listen(0)).text.split()[1], "two", "what answers after a good migration")
        equal(lines(stack, "runs"), ["run"] * 2, "runs before the second revision")
        before = stack.pids("web")
        (stack.folder / "broken").touch()
        stack.edit("text=two", "text=three")
        said = stack.run("apply", code=1).stderr
        contains(said, ["revision 3 failed: job migrate before it failed: exited with status 1", "revision 2 runs on"], "apply")
        equal(stack.pids("web"), before, "pids after a migration that failed")
        contains(stack.app("web")["reason"], "revision 3 failed: job migrate", "ps")
        equal(stack.app("web")["state"], "ready", "state of the app")
        contains(stack.run("apply", code=1).stderr, "apply --retry", "the same again")
        equal(len(lines(stack, "runs")), 3, "runs after an apply without --retry")
        (stack.folder / "broken").unlink()
        stack.run("apply", "--retry")
        equal(get(stack.ports.listen(0)).text.split()[1], "three", "what answers after --retry")
        stack.end(code=0)
        stack.daemon()
        stack.ready("web")
        equal(len(lines(stack, "runs")), 4, "runs after a restart of the daemon: the revision is not new")


@scenario
def a_first_start_waits_for_its_job() -> None:
    """Nothing to fall back to: the app waits and says why, until a run succeeds."""
    with Stack() as stack:
        (stack.folder / "broken").touch()
        stack.write("""
[app.web]
run    = "<REPLICA> {port}"
listen = "127.0.0.1:<L0>"
after  = { init = "completed-ok" }

[job.init]
run   = "echo init >> order"
shell = true

[job.migrate]
run     = "echo migrate >> order; test ! -e broken"
shell   = true
before  = "web"
retries = 1
""")
        stack.daemon()
        stack.until("web", lambda row: "job migrate before it failed" in str(row["reason"]), "says why it waits")
        equal(stack.app("web")["state"], "waiting", "state of the app")
        equal(stack.pids("web"), {}, "processes of the app")
        contains(stack.run("why", "web").stdout, "exited with status 1", "why")
        contains(stack.run("apply", code=1).stderr, "job migrate before it failed", "apply")
        equal(lines(stack, "order").count("migrate"), 2, "tries")
        (stack.folder / "broken").unlink()
        stack.run("run", "migrate")
        stack.ready("web")


@scenario
def timeouts_retries_and_the_tree() -> None:
    """A try that takes too long is stopped whole and has failed; tries are counted; nothing of it stays."""
    with Stack() as stack:
        stack.write("""
[job.stuck]
run      = "echo try >> tries; (trap '' TERM; sleep 1000) & echo $! >> pids; sleep 1000"
shell    = true
schedule = "@yearly"
timeout  = "400ms"
retries  = 1
stop     = { timeout = "300ms" }
""")
        stack.daemon()
        contains(stack.run("run", "stuck", code=1).stderr, ["longer than its timeout of 0.4 s", "after 2 tries"], "run")
        equal(lines(stack, "tries"), ["try", "try"], "tries")
        for pid in lines(stack, "pids"):
            check(not procs.alive(int(pid)), f"the child {pid} of a stopped run lives")
        row = job(stack, "stuck")
        equal(row["state"], "waiting", "state")
        contains(row["reason"], "the last run failed", "reason")


@scenario
def runs_overlap_as_told() -> None:
    """allow: beside each other, each with its own place and log; replace: the old one is gone before the new one starts."""
    with Stack() as stack:
        stack.write("""
[job.many]
run      = "sleep 1000"
schedule = "@yearly"
overlap  = "allow"

[job.one]
run      = "sleep 1000"
schedule = "@yearly"
overlap  = "replace"
""")
        stack.daemon()
        for _ in range(3):
            stack.run("run", "many", "--no-wait")
        runs = wait_for("three runs", lambda: (found := job(stack, "many")["runs"]) and len(found) == 3 and all(r["pid"] for r in found) and found)
        equal([run["id"] for run in runs], ["many/0", "many/1", "many/2"], "places")
        first = in_background(stack, "run", "one")
        pid = wait_for("the first run", lambda: (runs := job(stack, "one")["runs"]) and runs[0]["pid"])
        stack.run("run", "one", "--no-wait")
        wait_for("the second run", lambda: (runs := job(stack, "one")["runs"]) and runs[0]["pid"] not in (None, pid))
        check(not procs.alive(pid), "the replaced run lives")
        _, said = first.communicate(timeout=DEADLINE)
        equal(first.returncode, 1, "exit code of the run that was replaced")
        contains(said, "replaced by a new run", "what it says")
        stack.end(code=0)


@scenario
def a_restart_remembers_jobs() -> None:
    """What the last run was outlives the daemon; a restart is no reason to run."""
    with Stack() as stack:
        stack.write("""
[job.nightly]
run      = "echo run >> runs; exit 3"
shell    = true
schedule = "0 0 1 1 *"
timezone = "Europe/Berlin"
""")
        stack.daemon()
        stack.run("run", "nightly", code=1)
        before = job(stack, "nightly")
        equal(before["last"]["code"], 3, "last")
        stack.end(code=0)
        stack.daemon()
        after = job(stack, "nightly")
        equal((after["last"], after["next"]), (before["last"], before["next"]), "what is remembered")
        equal(lines(stack, "runs"), ["run"], "runs")
        equal(after["timezone"], "Europe/Berlin", "time zone")
        stack.end(code=0)


@scenario
def up_ends_with_its_jobs() -> None:
    """Only jobs: `up` ends when they have, with 1 when one failed."""
    for code in (0, 1):
        with Stack() as stack:
            stack.write(f'[job.a]\nrun = "sh -c \'echo done; exit {code}\'"\n[job.b]\nrun = "true"\n')
            stack.up(wait=False)
            equal(stack.daemon_process.wait(DEADLINE), code, "exit code of up")
            contains(stack.output(), "done", "output of up")


@scenario
def jobs_of_the_readme() -> None:
    """The README's jobs as they stand there, with programs in place of the reader's own."""
    readme = (E2E.parents[1] / "README.md").read_text(encoding="utf-8")
    block = next(text for text in re.findall(r"```toml\n(.*?)```", readme, re.DOTALL) if "[job.migrate]" in text)
    with Stack() as stack:
        (stack.folder / "migrate.py").write_text("open('order', 'a').write('migrate\\n')\n", encoding="utf-8")
        (stack.folder / "report.py").write_text("import sys\nopen(sys.argv[2] + '/report', 'w').write('all is well')\n", encoding="utf-8")
        stack.write(block + """
[app.web]
run    = "<REPLICA> {port}"
listen = "127.0.0.1:<L0>"

[app.db]
run = "<REPLICA> {port}"
""")
        stack.daemon()
        stack.ready("web", "db")
        equal(lines(stack, "order"), ["migrate"], "migrations")
        stack.run("run", "nightly")
        reports = list((stack.folder / ".muster" / "volumes").rglob("report"))
        equal([path.read_text(encoding="utf-8") for path in reports], ["all is well"], "reports")
        check(str(job(stack, "nightly")["next"]).endswith("00Z"), f"nightly is {job(stack, 'nightly')}")


@scenario
def a_schedule_comes_true() -> None:
    """Each minute, by the clock of this host."""
    with Stack() as stack:
        stack.write('[job.tick]\nrun = "date +%S >> ticks"\nshell = true\nschedule = "* * * * *"\n')
        stack.daemon()
        due = job(stack, "tick")["next"]
        contains(due, ":00Z", "next")
        wait_for("two runs", lambda: len(lines(stack, "ticks")) == 2, seconds=150)
        check(all(int(second) < 20 for second in lines(stack, "ticks")), f"late: {lines(stack, 'ticks')}")
        check(job(stack, "tick")["next"] > due, "next")
        equal(json.loads(stack.run("ps", "-o", "json").stdout)["jobs"][0]["last"]["code"], 0, "last")


if __name__ == "__main__":
    sys.exit(main())
