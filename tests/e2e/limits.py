#!/usr/bin/env python3
"""Limits of a replica as a whole, by whatever this host has for them: control groups, rlimits, or muster's own look."""
import contextlib
import http.client
import json
import os
import pathlib
import signal
import sys
import threading
import time

from lib import procs
from lib.expect import Skipped, check, contains, equal, wait_for
from lib.http import Connection
from lib.scenario import main, scenario
from lib.stack import Stack, Status

WEB = ('[app.web]\nrun = "<REPLICA> {port}"\nreplicas = 2\nlisten = "127.0.0.1:<L0>"\nhealth = "/healthz"\n'
       'limits = { memory = "128MiB", cpu = 0.5, pids = 40 }\n')
MIB = 1 << 20


def ask(row: Status, target: str) -> None:
    """One request to that very replica; it may not live long enough to answer."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        connection = http.client.HTTPConnection("127.0.0.1", row["port"], timeout=30)
        connection.request("GET", target)
        connection.getresponse().read()
        connection.close()


def enforced(row: Status) -> dict[str, str]:
    return {kind: limit["enforced"] for kind, limit in row["limits"].items()}


def limit_events(stack: Stack, app: str) -> list[str]:
    return [event["text"] for event in stack.events(app=app) if event["kind"] == "limits"]


def check_means(stack: Stack, row: Status) -> None:
    """Each limit is enforced by something that `doctor` knows of, and what the kernel does not do is told."""
    means = enforced(row)
    equal(set(means), {"memory", "cpu", "pids"}, "limits in ps")
    equal([row["limits"][kind]["limit"] for kind in ("memory", "cpu", "pids")], [128 * MIB, 0.5, 40], "their values")
    checks = {one["check"]: one for one in json.loads(stack.run("doctor", "-o", "json", code=None).stdout)["checks"]}
    for kind, by in means.items():
        line = checks[f"limit {kind}"]
        if by == "cgroup":
            equal(line["state"], "ok", f"doctor of {kind}")
            continue
        check(by.startswith("not enforced: ") if kind == "cpu" else by == "watched", f"{kind} is {by}")
        equal(line["state"], "note", f"doctor of {kind}")
        contains(line["cost"], ["Delegate=yes", f"limits.{kind}"], f"what doctor says of {kind}")
        equal(sum(f"limits.{kind}" in text for text in limit_events(stack, "web")), 1, f"events that tell of {kind}")


def ended_for_memory(stack: Stack, ident: str, before: Status, limit: str) -> Status:
    row = stack.until(ident, lambda now: now["last_exit"] and now["state"] == "ready" and now["pid"] != before["pid"], "is there again")
    contains(row["last_exit"]["reason"], ["out of memory", f"limit {limit}"], "the reason of its end")
    check(row["last_exit"]["signal"] in ("SIGKILL", None), "the signal")  # of another daemon's child it may be unknown
    contains(stack.run("why", ident).stdout, ["out of memory", f"limit {limit}", "limits: memory"], "why")
    check(any("out of memory" in e["text"] for e in stack.events(app=ident.partition("/")[0])), "no event names the memory")
    return row


@scenario
def memory_over_its_limit() -> None:
    """A replica that takes more than it may is ended as a whole, named, and counted as a crash; its neighbour is not."""
    with Stack() as stack:
        stack.write(WEB)
        stack.daemon()
        stack.ready()
        first, second = stack.one("web/0"), stack.one("web/1")
        check_means(stack, first)
        ask(first, "/fork/3")
        ask(first, "/eat/50")  # within the limit, its children share most of what it had
        ask(first, "/eat/200")
        row = ended_for_memory(stack, "web/0", first, "128MiB")
        equal((row["restarts"], row["limits"]["memory"]["limit"]), (1, 128 * MIB), "after it")
        equal(stack.one("web/1")["pid"], second["pid"], "the other replica")


@scenario
def too_many_processes() -> None:
    """Threads count too. The kernel refuses the fork; where only muster looks, the replica is ended."""
    with Stack() as stack:
        stack.write(WEB)
        stack.daemon()
        stack.ready()
        before = stack.one("web/0")
        ask(before, "/fork/60")
        if enforced(before)["pids"] == "cgroup":
            check(len(procs.descendants(before["pid"])) < 40, "more processes than pids allows")
            equal(stack.one("web/0")["pid"], before["pid"], "the replica")
            return
        row = stack.until("web/0", lambda now: now["last_exit"] and now["state"] == "ready", "is there again")
        contains(row["last_exit"]["reason"], ["too many processes and threads: 6", "limit 40"], "the reason of its end")
        check(any(e["kind"] == "limit" for e in stack.events(app="web")), "no event of that kind")


def ticks(pid: int) -> int:
    """Of processor time, as proc(5) has them."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def cores_used(pid: int) -> float:
    """By that process, over two seconds."""
    begin, before = time.monotonic(), ticks(pid)
    wait_for("two seconds of its life", lambda: time.monotonic() - begin > 2)
    return (ticks(pid) - before) / os.sysconf("SC_CLK_TCK") / (time.monotonic() - begin)


@scenario
def a_hot_loop_has_no_more_than_its_cpu() -> None:
    """The kernel holds it to `limits.cpu`, and an edit counts for the process that runs."""
    with Stack() as stack:
        stack.write('[app.hot]\nrun = "<REPLICA> {port}"\nport = "auto"\nlimits = { cpu = 0.5 }\n')
        stack.daemon()
        stack.ready()
        row = stack.one("hot/0")
        if enforced(row)["cpu"] != "cgroup":
            raise Skipped(f"no cpu controller here: {enforced(row)['cpu']}")
        threading.Thread(target=ask, args=(row, "/burn/60000"), daemon=True).start()
        wait_for("it burns", lambda: cores_used(row["pid"]) > 0.2)
        used = [cores_used(row["pid"])]
        for cpu in ("0.2", "0.7"):
            stack.edit(f"cpu = {stack.one('hot/0')['limits']['cpu']['limit']}", f"cpu = {cpu}")
            stack.run("apply")
            now = stack.one("hot/0")
            equal((now["pid"], now["limits"]["cpu"]), (row["pid"], {"limit": float(cpu), "enforced": "cgroup"}), "after the edit")
            used.append(cores_used(row["pid"]))
        print("cores used with 0.5, 0.2 and 0.7:", [f"{one:.2f}" for one in used])
        for found, limit in zip(used, (0.5, 0.2, 0.7)):
            check(found < limit + 0.07, f"{found:.2f} cores with a limit of {limit}")
        check(used[1] < used[0] - 0.15 and used[2] > used[1] + 0.2, f"cores with 0.5, 0.2 and 0.7: {used}")


def p99_ms(port: int) -> float:
    """Of one client that asks without pause: the median of several windows, so that one hiccup of the host is none of ours."""
    windows = []
    with Connection(port) as connection:
        for _ in range(5):
            took = []
            for _ in range(300):
                begin = time.monotonic()
                equal(connection.ask("GET", "/").status, 200, "an answer")
                took.append(1000 * (time.monotonic() - begin))
            windows.append(sorted(took)[-3])
    return sorted(windows)[len(windows) // 2]


BOMB = """
import os, time
while not os.path.exists("{fuse}"):
    time.sleep(0.05)
while True:
    try:
        os.fork()
    except OSError:
        time.sleep(0.01)
"""


@scenario
def a_fork_bomb_stays_in_its_app() -> None:
    """`limits.pids` by the kernel: the others' slowest answers are not 5 ms slower, and nothing of it is left."""
    with Stack() as stack:
        stack.folder.chmod(0o755)
        user = 'user = "nobody"\ndir = "/"\n' if os.geteuid() == 0 else ""  # of its own: so it is an rlimit where there is no controller
        fuse = stack.folder / "fuse"
        (stack.folder / "bomb.py").write_text(BOMB.format(fuse=fuse), encoding="ascii")
        stack.write('[app.web]\nrun = "<REPLICA> {port}"\nreplicas = 2\nlisten = "127.0.0.1:<L0>"\nhealth = "/healthz"\n'
                    '[app.bomb]\nrun = "python3 <DIR>/bomb.py"\n'
                    f'health = "none"\n{user}update = {{ strategy = "recreate" }}\nlimits = {{ pids = 40, cpu = 0.5 }}\nstop = {{ timeout = "1s" }}\n')
        stack.daemon()
        stack.ready()
        web, port = stack.pids("web"), stack.ports.listen(0)
        means = enforced(stack.one("bomb/0"))["pids"]
        if means == "watched":
            raise Skipped("limits.pids is looked after once a second only")
        rounds = []
        for number in range(5):
            if number > 0:
                fuse.unlink()
                stack.run("restart", "bomb", "--now")
                stack.ready("bomb")
            bomb = stack.one("bomb/0")
            before = p99_ms(port)
            fuse.touch()
            wait_for("it has gone off", lambda: len(procs.in_session(bomb["pid"])) > 30, every=0.2)
            during = p99_ms(port)
            count = len(procs.in_session(bomb["pid"]))
            print(f"p99 {before:.2f} ms before, {during:.2f} ms beside {count} processes that fork, held by {means}")
            check(10 < count <= 40, f"processes with 40 allowed: {count}")
            equal((stack.one("bomb/0")["pid"], stack.pids("web")), (bomb["pid"], web), "processes of both")
            rounds.append((during - before, before))
        slower = sorted(difference for difference, _ in rounds)[len(rounds) // 2]
        alone = sorted(before for _, before in rounds)[len(rounds) // 2]
        print(f"p99 {slower:+.2f} ms beside the bomb")
        # On a host that needs long for each answer (an emulated one) 5 ms say nothing.
        check(slower < (5.0 if alone < 10 else alone / 2), f"p99 {slower:+.2f} ms beside the bomb: {rounds}")
        stack.run("stop", "bomb")
        equal(procs.in_session(bomb["pid"]), set(), "what is left of it")


CANARY = '[app.canary]\nrun = "<REPLICA> {port}"\nport = "auto"\nlimits = { memory = "128MiB" }\nrestart = { backoff = "1ms", max_backoff = "1ms" }\n'


def everybody_was_looked_at(stack: Stack) -> None:
    """Who is above a limit ends no later than the canary, which is above its own."""
    stack.ready("canary")
    before = stack.one("canary/0")
    ask(before, "/eat/200")
    stack.until("canary/0", lambda now: now["state"] == "ready" and now["pid"] != before["pid"], "is there again")


@scenario
def limits_change_live() -> None:
    """An edit restarts nothing, holds at once, and `plan` says so before."""
    with Stack() as stack:
        stack.write(WEB.replace("replicas = 2", "replicas = 1").replace("128MiB", "150MiB") + CANARY)
        stack.daemon()
        stack.ready()
        before = stack.one("web/0")
        ask(before, "/eat/60")
        stack.edit("150MiB", "256MiB")
        plan = json.loads(stack.run("plan", "-o", "json", code=2).stdout)
        check("limits.memory" in json.dumps(plan), f"the plan does not name the limit: {plan}")
        stack.run("apply")
        row = stack.one("web/0")
        equal((row["pid"], row["limits"]["memory"]["limit"]), (before["pid"], 256 * MIB), "after a wider limit")
        ask(row, "/eat/100")
        everybody_was_looked_at(stack)
        equal(stack.one("web/0")["pid"], before["pid"], "within the new limit")
        stack.edit("256MiB", "100MiB")
        stack.run("apply", code=None)
        ended_for_memory(stack, "web/0", before, "100MiB")
        stack.ready()
        again = stack.one("web/0")
        stack.edit('limits = { memory = "100MiB", cpu = 0.5, pids = 40 }\n', "")
        stack.run("apply")
        row = stack.one("web/0")
        equal((row["pid"], row["limits"]), (again["pid"], {}), "without limits")
        ask(row, "/eat/200")
        ask(row, "/fork/50")
        everybody_was_looked_at(stack)
        equal(stack.one("web/0")["pid"], again["pid"], "what is lifted binds no more")


@scenario
def limits_outlive_the_daemon() -> None:
    """The next daemon after a kill, and the next image of an upgrade, keep the limits of what they find running."""
    with Stack() as stack:
        stack.write(WEB.replace("replicas = 2", "replicas = 1"))
        stack.daemon()
        stack.ready()
        before = stack.one("web/0")
        stack.end(signal.SIGKILL)
        stack.daemon()
        stack.ready()
        row = stack.one("web/0")
        equal((row["pid"], row["limits"]), (before["pid"], before["limits"]), "after a kill of the daemon")
        stack.run("upgrade")
        stack.ready()
        row = stack.one("web/0")
        equal((row["pid"], row["limits"]), (before["pid"], before["limits"]), "after an upgrade")
        ask(row, "/eat/200")
        ended_for_memory(stack, "web/0", before, "128MiB")


@scenario
def limits_of_jobs() -> None:
    """A run above its limit has failed, and says why."""
    with Stack() as stack:
        stack.write('[app.idle]\nrun = "sleep 1000"\n[job.hog]\nrun = "python3 -c \'x = b\\"x\\" * (300 << 20); import time; time.sleep(100)\'"\n'
                    'schedule = "0 0 1 1 *"\nlimits = { memory = "128MiB" }\n')
        stack.daemon()
        stack.ready("idle")
        answer = stack.run("run", "hog", code=1)
        contains(answer.stdout + answer.stderr, ["hog has failed", "out of memory", "limit 128MiB"], "the answer")
        job = next(job for job in stack.ps()["jobs"] if job["name"] == "hog")
        contains(job["last"]["reason"], "out of memory", "its last end")


@scenario
def a_user_of_its_own_has_an_rlimit() -> None:
    """Where nothing better is there, RLIMIT_NPROC: of a replica that shares its user with nobody."""
    if os.geteuid() != 0:
        raise Skipped("needs root for `user`")
    with Stack() as stack:
        app = 'dir = "/"\nuser = "nobody"\nlimits = { pids = 40 }\nhealth = "none"\n'
        stack.write(f'[app.db]\nrun = "sleep 1000"\nupdate = {{ strategy = "recreate" }}\n{app}[app.other]\nrun = "sleep 1000"\nuser = "root"\nlimits = {{ pids = 40 }}\n')
        stack.daemon()
        stack.ready()
        row = stack.one("db/0")
        means = enforced(stack.one("other/0"))["pids"]
        check(means in ("cgroup", "watched"), f"limits.pids of root is {means}")
        if means == "cgroup":
            raise Skipped("this host has a pids controller")
        equal(enforced(row)["pids"], "rlimit", "limits.pids of a user of its own")
        contains(pathlib.Path(f"/proc/{row['pid']}/limits").read_text(encoding="utf-8"), "Max processes             40 ", "the limits of the process")
        stack.write(f'[app.db]\nrun = "sleep 1000"\nreplicas = 2\nupdate = {{ strategy = "recreate" }}\n{app}')
        stack.run("apply")
        stack.ready()
        equal([enforced(stack.one(f"db/{i}"))["pids"] for i in (0, 1)], ["watched"] * 2, "limits.pids of two that share a user")


@scenario
def protection_is_not_inherited() -> None:
    """What keeps the kernel from killing muster first, or makes it do so, is muster's own."""
    with Stack() as stack:
        stack.write('[app.web]\nrun = "<REPLICA> {port}"\nlisten = "127.0.0.1:<L0>"\nhealth = "/healthz"\n')
        stack.start("daemon", "-f", "muster.toml", before=["sh", "-c", 'echo 123 > /proc/self/oom_score_adj; exec "$@"', "sh"])
        stack.ready()
        score = {pid: pathlib.Path(f"/proc/{pid}/oom_score_adj").read_text(encoding="utf-8").strip()
                 for pid in (stack.ps()["daemon"]["pid"], stack.one("web/0")["pid"])}
        equal(list(score.values()), ["123", "0"], "oom_score_adj of the daemon and of a replica")


@scenario
def replicas_follow_their_memory() -> None:
    """`scale.memory`: in percent of limits.memory."""
    with Stack() as stack:
        stack.write('[app.web]\nrun = "<REPLICA> {port}"\nlisten = "127.0.0.1:<L0>"\nhealth = "/healthz"\n'
                    'limits = { memory = "400MiB" }\nscale = { max = 3, memory = 20 }\n')
        stack.daemon()
        stack.ready()
        ask(stack.one("web/0"), "/eat/200")
        wait_for("more replicas", lambda: stack.app("web")["desired"] == 3, seconds=60, every=0.2)
        texts = [e["text"] for e in stack.events(app="web") if e["kind"] == "scale"]
        contains(texts[0], ["1 -> 3 replicas: memory is ", " %", "target 20 %"], "the event")


if __name__ == "__main__":
    sys.exit(main())
