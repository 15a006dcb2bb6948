#!/usr/bin/env python3
"""As many replicas as the load needs, and as few."""
import http.client
import json
import os
import pathlib
import selectors
import signal
import socket
import subprocess
import sys
import time
import typing

from lib import hpa
from lib.expect import Skipped, check, contains, equal, wait_for
from lib.load import Load, OpenLoad
from lib.scenario import main, scenario
from lib.stack import Stack

LOOK = 15.0  # seconds between two looks at the load


def scaled(stack: Stack) -> list[str]:
    return [e["text"] for e in stack.events(app="web") if e["kind"] == "scale"]


def ready(stack: Stack, count: int, looks: int) -> None:
    wait_for(f"{count} replicas", lambda: (app := stack.app("web"))["ready"] == count == app["desired"] and len(app["replicas"]) == count,
             seconds=looks * LOOK, every=0.2)


@scenario
def replicas_follow_the_requests() -> None:
    """1 -> 4 -> 1 by requests in flight, without a lost one; kept over a restart of the daemon; a hold wins."""
    with Stack() as stack:
        stack.write('[app.web]\nrun = "<REPLICA> {port}"\nlisten = "127.0.0.1:<L0>"\nhealth = "/healthz"\nscale = { max = 4, in_flight = 2, window = "0s" }\n')
        stack.daemon()
        stack.ready()
        equal(stack.app("web")["desired"], 1, "replicas at first")
        with Load(stack.ports.listen(0), keep=8, target="/sleep/200") as load:
            ready(stack, 4, 5)
            wait_for("all are asked", lambda: len(load.replicas) == 4, seconds=10)
            contains(scaled(stack)[0], ["1 -> 4 replicas: in_flight is", "target 2"], "the event")
            contains(stack.run("why", "web").stdout, "scale: 4 of 1 to 4 replicas", "why")
        equal(load.failures[:5], [], "failed requests")
        stack.end(code=0)
        stack.daemon()
        stack.ready("web")
        equal(stack.app("web")["desired"], 4, "replicas after a restart of the daemon")
        ready(stack, 1, 5)
        contains(scaled(stack)[-1], "-> 1 replicas: in_flight is 0 on average", "the event")
        stack.run("scale", "web=3")
        row = stack.app("web")
        equal((row["desired"], row["hold"]), (3, "scaled to 3 by hand, the file says 1 to 4"), "with a hold")
        equal(json.loads(stack.run("plan", "-o", "json").stdout)["code"], 0, "a plan")


@scenario
def new_bounds_are_no_look_at_the_load() -> None:
    """A lower `min` ends no replica before a look has found that fewer are needed; a higher one holds at once."""
    with Stack() as stack:
        stack.write('[app.web]\nrun = "<REPLICA> {port}"\nlisten = "127.0.0.1:<L0>"\nhealth = "/healthz"\n'
                    'scale = { min = 3, max = 3, in_flight = 1, window = "0s" }\n')
        stack.daemon()
        stack.ready()
        with Load(stack.ports.listen(0), keep=3, target="/sleep/200") as load:
            wait_for("a look", lambda: stack.app("web")["scale"]["reason"], seconds=2 * LOOK)
            pids = stack.pids("web")
            stack.edit("min = 3", "min = 1")
            plan = json.loads(stack.run("plan", "-o", "json", code=2).stdout)
            equal([app["wanted"] for app in plan["apps"] if app["name"] == "web"], [3], "wanted by the plan")
            stack.run("apply")
            before = stack.app("web")["scale"]["reason"]
            with Load(stack.ports.listen(0), keep=3, target="/sleep/200") as more:  # so that the next look finds something new
                wait_for("the next look", lambda: stack.app("web")["scale"]["reason"] != before, seconds=3 * LOOK)
            equal((stack.pids("web"), scaled(stack), more.failures[:5]), (pids, [], []), "replicas that are needed")
        equal(load.failures[:5], [], "failed requests")
        ready(stack, 1, 3)
        contains(scaled(stack)[-1], "-> 1 replicas: in_flight is", "the event")
        stack.edit("min = 1", "min = 2")
        stack.run("apply")
        equal(stack.app("web")["desired"], 2, "replicas with a higher min")


@scenario
def replicas_follow_the_work() -> None:
    """By CPU: a closed loop of busy requests; no flapping while it goes on."""
    with Stack() as stack:
        stack.write('[app.web]\nrun = "<REPLICA> {port}"\nreplicas = 2\nlisten = "127.0.0.1:<L0>"\nhealth = "/healthz"\n'
                    'scale = { min = 2, max = 4, cpu = 15, window = "45s" }\n')
        stack.daemon()
        stack.ready()
        with Load(stack.ports.listen(0), keep=4, target="/burn/20") as load:
            ready(stack, 4, 6)
            seen = len(scaled(stack))
            wait_for("four looks later", lambda: load.done > 400, seconds=6 * LOOK)
            equal(len(scaled(stack)), seen, f"changes while the load goes on: {scaled(stack)}")
            contains(scaled(stack)[0], ["2 -> ", "cpu is", "target 15 % of a core"], "the event")
        ready(stack, 2, 8)
        equal(load.failures[:5], [], "failed requests")
        check(len(scaled(stack)) <= seen + 3, f"flapping: {scaled(stack)}")


def directions(changes: list[tuple[float, int]]) -> str:
    return "".join("+" if after > before else "-" for (_, before), (_, after) in zip(changes, changes[1:]))


@scenario
def the_timeline_is_that_of_kubernetes() -> None:
    """2 -> N -> 2 by CPU, in an open loop and in a closed one: look by look what Kubernetes' arithmetic makes of the usage that
    `ps` shows, and not one change more."""
    least, most, target, window = 2, 9, 10, 45
    with Stack() as stack:
        stack.write('[app.web]\nrun = "<REPLICA> {port}"\nlisten = "127.0.0.1:<L0>"\nhealth = "/healthz"\n'
                    f'scale = {{ min = {least}, max = {most}, cpu = {target}, window = "{window}s" }}\n')
        stack.daemon()
        stack.ready()
        with hpa.Watch(stack, "web", lambda row: row["cpu_percent"], is_rate=True) as watch:
            # What a closed loop uses depends on what else the host does; what an open one uses does not.
            with Load(stack.ports.listen(0), keep=3, target="/burn/20", pause=0.06) as closed:  # at most 75 % of a core
                some_looks(watch, 3)
            with OpenLoad(stack.ports.listen(0), rate=23, target="/burn/20") as opened:  # 46 %
                ready(stack, 5, 7)
                some_looks(watch, 3)
            # Below the target by more than the tolerance, and above it by less.
            with OpenLoad(stack.ports.listen(0), rate=18, target="/burn/20") as below:
                ready(stack, 4, 7)
                some_looks(watch, 2)
            with OpenLoad(stack.ports.listen(0), rate=21.3, target="/burn/20") as above:
                some_looks(watch, 3)
            ready(stack, least, 7)
            wait_for("its end is seen", lambda: watch.seen[-1].wanted == least)
        equal([load.failures[:5] for load in (closed, opened, below, above)], [[]] * 4, "failed requests")
        print("changes:", watch.changes())
        looks = hpa.compare(watch, target, least, most, window)
        check(len(looks) >= 8, f"only {len(looks)} looks were seen")
        check(directions(watch.changes()).count("-+") <= 1, f"flapping: {watch.changes()}")  # from the one load to the other
        for event, look in zip(scaled(stack), [look for look in looks if look.wanted != len(look.replicas)]):
            told = float(event.partition("cpu is ")[2].partition(" %")[0])
            values = [one.value for one in look.replicas if one.value is not None]
            check(abs(told - sum(values) / len(values)) <= max(2.0, told / 5), f"`ps` showed {values}, the event says: {event}")


def some_looks(watch: hpa.Watch, looks: int) -> None:
    begin = watch.seen[-1].at if watch.seen else time.monotonic()
    wait_for(f"{looks} looks", lambda: watch.seen and watch.seen[-1].at - begin > (looks + 0.5) * LOOK, seconds=(looks + 2) * LOOK, every=0.5)


def steady_for(watch: hpa.Watch, looks: int) -> None:
    """Waits until the number has been the same for so many looks."""
    wait_for(f"no change for {looks} looks", lambda: watch.seen[-1].at - watch.seen[0].at - watch.changes()[-1][0] > looks * LOOK,
             seconds=(looks + 6) * LOOK, every=0.5)


@scenario
def the_timeline_of_memory_is_that_of_kubernetes() -> None:
    """1 -> 3 -> 1 by memory: what one replica takes raises the number, its restart lowers it."""
    limit, target = 400 << 20, 20
    with Stack() as stack:
        stack.write('[app.web]\nrun = "<REPLICA> {port}"\nlisten = "127.0.0.1:<L0>"\nhealth = "/healthz"\n'
                    f'limits = {{ memory = "400MiB" }}\nscale = {{ max = 5, memory = {target}, window = "0s" }}\n')
        stack.daemon()
        stack.ready()
        with hpa.Watch(stack, "web", lambda row: 100 * row["memory_bytes"] / limit, is_rate=False) as watch:
            first_requests(stack.ports.listen(0), 1, "/eat/200")
            ready(stack, 3, 3)
            steady_for(watch, 2)
            stack.run("restart", "web/0")
            ready(stack, 1, 4)
            wait_for("its end is seen", lambda: watch.seen[-1].wanted == 1)
        print("changes:", watch.changes())
        hpa.compare(watch, target, 1, 5, 0)
        equal(directions(watch.changes())[0], "+", "the first change")
        check("-+" not in directions(watch.changes()), f"flapping: {watch.changes()}")


@scenario
def what_never_gets_ready_turns_no_direction() -> None:
    """It counts as idle on the way up and not at all on the way down."""
    with Stack() as stack:
        stack.write("[app.web]\nrun = \"sh -c '[ $MUSTER_ORDINAL = 2 ] && exec sleep 1000; exec <REPLICA> $PORT'\"\n"
                    'port = "auto"\nlisten = "127.0.0.1:<L0>"\nhealth = { http = "/healthz", start = "10m" }\n'
                    'scale = { min = 2, max = 9, cpu = 10, window = "0s" }\n')
        stack.daemon()
        stack.ready()
        with hpa.Watch(stack, "web", lambda row: row["cpu_percent"], is_rate=True) as watch:
            with OpenLoad(stack.ports.listen(0), rate=22, target="/burn/20"):
                wait_for("four of five", lambda: stack.app("web")["ready"] == 4, seconds=4 * LOOK)
                steady_for(watch, 3)
                app = stack.app("web")
                equal((app["desired"], app["ready"]), (5, 4), "wanted and ready")  # alone by what is ready it would be 7
                contains(app["scale"]["reason"], "(1 not measured)", "the newest look")
            ready(stack, 2, 4)
            wait_for("its end is seen", lambda: watch.seen[-1].wanted == 2)
        hpa.compare(watch, 10, 2, 9, 0)


@scenario
def what_is_not_measured_yet_is_not_idle() -> None:
    """A replica that has just begun anew counts as busy on the way down."""
    with Stack() as stack:
        stack.write('[app.web]\nrun = "<REPLICA> {port}"\nreplicas = 2\nlisten = "127.0.0.1:<L0>"\nhealth = "/healthz"\n'
                    'restart = { backoff = "1ms", max_backoff = "1ms" }\nscale = { min = 2, max = 4, cpu = 50, window = "0s" }\n')
        stack.daemon()
        stack.ready()
        wait_for("a look", lambda: stack.app("web")["scale"]["reason"], seconds=2 * LOOK)
        look = time.monotonic()
        stack.edit("min = 2", "min = 1")
        stack.run("apply")
        wait_for("a moment before the next look", lambda: time.monotonic() > look + LOOK - 3, seconds=LOOK)
        before = stack.one("web/1")
        os.kill(before["pid"], signal.SIGKILL)
        stack.until("web/1", lambda row: row["state"] == "ready" and row["pid"] != before["pid"], "is there again")
        app = stack.until("web", lambda app: "average of 1 ready" in app["scale"]["reason"] or app["desired"] == 1, "the next look")
        contains(app["scale"]["reason"], "(1 not measured)", "the look")
        equal((app["desired"], scaled(stack)), (2, []), "replicas beside one that nobody has measured")
        ready(stack, 1, 3)


class FakeMemory:
    """The host's memory as a daemon finds it in a mount namespace of its own."""

    def __init__(self, folder: pathlib.Path) -> None:
        if os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode != 0:
            raise Skipped("needs root and mount namespaces")
        self.meminfo, self.pressure = folder / "meminfo", folder / "pressure"
        binds = f"mount --bind {self.meminfo} /proc/meminfo"
        self.has_pressure = os.path.exists("/proc/pressure/memory")
        if self.has_pressure:
            binds += f" && mount --bind {self.pressure} /proc/pressure/memory"
        self.before = ["unshare", "--mount", "sh", "-c", f'{binds} && exec "$@"', "sh"]

    def set(self, available_mib: int, pressure: float = 0.0) -> None:
        self.meminfo.write_text(f"MemTotal:        1024000 kB\nMemFree:           10000 kB\nMemAvailable:   {available_mib << 10} kB\n", encoding="ascii")
        self.pressure.write_text(f"some avg10={pressure:.2f} avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n", encoding="ascii")


@scenario
def the_memory_of_the_host_bounds_the_way_up() -> None:
    """Nothing is added below a tenth of it, or while processes wait for it; an event and `why` say so."""
    with Stack() as stack:
        memory = FakeMemory(stack.folder)
        memory.set(available_mib=150)
        stack.write('[app.web]\nrun = "<REPLICA> {port}"\nlisten = "127.0.0.1:<L0>"\nhealth = "/healthz"\nscale = { max = 6, in_flight = 1, window = "0s" }\n')
        stack.start("daemon", "-f", "muster.toml", before=memory.before)
        stack.ready()
        first_requests(stack.ports.listen(0), 1, "/eat/100")
        with Load(stack.ports.listen(0), keep=6, target="/sleep/100") as load:
            wait_for("the look", lambda: scaled(stack), seconds=3 * LOOK)
            bound = ["are needed, but the host has 150 MiB of memory available, a replica takes 10", "a tenth of all is kept"]
            contains(scaled(stack)[0], ["held at 1 replicas: in_flight is ", *bound], "the event")
            contains(stack.run("why", "web").stdout, ["scale: 1 of 1 to 6 replicas; in_flight is", *bound], "why")
            equal(stack.app("web")["desired"], 1, "replicas")
            memory.set(available_mib=320)  # two more of the size of the first
            ready(stack, 3, 3)
            contains(scaled(stack)[-1], ["1 -> 3 replicas", "are needed, but the host has 320 MiB"], "the event")
            if memory.has_pressure:
                memory.set(available_mib=1000, pressure=50.0)
                stack.until("web", lambda app: "something waited for it 50 % of the last 10 s" in app["scale"]["reason"], "says what holds it")
                equal(stack.app("web")["desired"], 3, "replicas of a host under pressure")
            memory.set(available_mib=1000)
            ready(stack, 6, 3)
        equal(load.failures[:5], [], "failed requests")
        check(len(scaled(stack)) <= 4, f"events: {scaled(stack)}")


ON_DEMAND = ('[app.web]\nrun = "<REPLICA> {port} start=200"\nlisten = "127.0.0.1:<L0>"\nhealth = "/healthz"\n'
             'scale = { min = 0, max = 2, window = "1s" }\n')


def asleep(stack: Stack) -> bool:
    app = stack.app("web")
    return app["desired"] == 0 and not app["replicas"]


def first_requests(port: int, count: int, target: str = "/") -> list[tuple[int, float]]:
    """Status of requests that are sent all at once, and when each was answered, in seconds after the first was sent. By one
    thread: many would wait for each other while the time runs."""
    sockets = [socket.create_connection(("127.0.0.1", port), timeout=60) for _ in range(count)]
    waiting = selectors.DefaultSelector()
    for one in sockets:
        waiting.register(one, selectors.EVENT_READ)
    first = time.monotonic()
    for one in sockets:
        one.sendall(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
    found: list[tuple[int, float]] = []
    while len(found) < count:
        answered = waiting.select(60)
        now = time.monotonic()
        check(bool(answered), f"{count - len(found)} of {count} requests were not answered")
        for key, _ in answered:
            one = typing.cast(socket.socket, key.fileobj)
            waiting.unregister(one)
            answer = http.client.HTTPResponse(one)
            answer.begin()
            answer.read()
            one.close()
            found.append((answer.status, now - first))
    waiting.close()
    return found


def cycle(stack: Stack, count: int) -> list[tuple[int, float]]:
    answers = first_requests(stack.ports.listen(0), count)
    equal([status for status, _ in answers], [200] * count, "the first requests")
    wait_for("the idle end", lambda: asleep(stack), seconds=30)
    return answers


@scenario
def the_first_request_starts_an_app() -> None:
    """`min = 0`: 50 first requests at once, the idle end, the next ones; a stream; a hold."""
    with Stack() as stack:
        stack.write(ON_DEMAND + '[app.db]\nrun = "<REPLICA> {port}"\nport = "auto"\nscale = { min = 0, max = 1, window = "1s" }\n'
                    '[listen.db]\nbind = "127.0.0.1:<L1>"\nmode = "tcp"\nto = "db"\n')
        stack.daemon()
        equal((stack.app("web")["state"], stack.app("web")["replicas"]), ("stopped", []), "at first")
        contains(stack.app("web")["reason"], "idle: the first request starts it", "the reason")
        answers = cycle(stack, 50)
        print("first answers after", sorted(round(seconds * 1000) for _, seconds in answers)[::7], "ms; the app takes 200 ms")
        cycle(stack, 1)
        contains(scaled(stack)[0], "0 -> 1 replicas: a request came", "the event")
        contains(scaled(stack)[1], "1 -> 0 replicas: no request for 1s", "the event")
        contains(stack.run("why", "web").stdout, ["idle: the first request starts it", "scale: 0 of 0 to 2 replicas"], "why")
        with socket.create_connection(("127.0.0.1", stack.ports.listen(1)), timeout=60) as stream:
            stream.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            contains(stream.recv(4096).decode(), "200", "the stream")
            since = time.monotonic()
            while time.monotonic() < since + 2.5:  # longer than the window
                equal(stack.app("db")["ready"], 1, "replicas beside an idle stream")
        wait_for("the stream's end is the app's", lambda: not stack.app("db")["replicas"], seconds=30)
        stack.run("scale", "web=0")
        status = [status for status, _ in first_requests(stack.ports.listen(0), 1)]
        equal(status, [503], "with 0 replicas by hand")
        equal(stack.app("web")["replicas"], [], "a hold wins")


@scenario
def an_app_that_cannot_start_on_demand() -> None:
    """503 with Retry-After after the queue's time; backoff in `ps`; an edit mends it."""
    with Stack() as stack:
        listen = '[listen.web]\nbind = "127.0.0.1:<L0>"\nto = "web"\nqueue = { timeout = "1s" }\n'
        scale = 'health = "/healthz"\nscale = { min = 0, max = 2, window = "1s" }\n'
        stack.write('[app.web]\nrun = "/bin/false"\nport = "auto"\n' + scale + listen)
        stack.daemon()
        connection = http.client.HTTPConnection("127.0.0.1", stack.ports.listen(0), timeout=60)
        connection.request("GET", "/")
        answer = connection.getresponse()
        equal((answer.status, answer.getheader("Retry-After")), (503, "1"), "the answer")
        wait_for("backoff in ps", lambda: any(row["state"] == "backoff" for row in stack.app("web")["replicas"]), seconds=30)
        wait_for("the idle end", lambda: asleep(stack), seconds=30)
        stack.write('[app.web]\nrun = "<REPLICA> {port}"\n' + scale + listen)
        stack.run("reload")
        equal([status for status, _ in first_requests(stack.ports.listen(0), 8)], [200] * 8, "after the edit")


@scenario
def the_first_answer_comes_as_soon_as_the_app_can() -> None:
    """50 first requests at once, again and again, by apps that start at once, in 50, 200 and 500 ms: half of the times the first
    is answered within 20 ms of the app's own time."""
    slow = []
    for own in (0, 50, 200, 500):
        with Stack() as stack:
            stack.write(ON_DEMAND.replace("start=200", f"start={own}"))
            stack.daemon()
            late = sorted(1000 * min(seconds for _, seconds in cycle(stack, 50)) - own for _ in range(15))
            print(f"ms beyond the app's own {own}:", [round(one, 1) for one in late])
            if late[len(late) // 2] >= 20:
                slow.append(own)
    equal(slow, [], "apps that were answered late")


@scenario
def a_thousand_starts_on_demand() -> None:
    """Of ten apps in a hundred rounds. Flat in descriptors and memory of the daemon."""
    numbers = range(10)
    with Stack() as stack:
        one = ON_DEMAND.replace(" start=200", "")
        stack.write("".join(one.replace("[app.web]", f"[app.web{n}]").replace("<L0>", f"<L{n}>") for n in numbers))
        stack.daemon()

        def figures() -> tuple[int, int]:
            pid = stack.daemon_process.pid
            rollup = open(f"/proc/{pid}/smaps_rollup").read()
            return len(os.listdir(f"/proc/{pid}/fd")), int(rollup.split("Pss:")[1].split()[0])

        def all_asleep() -> bool:
            return all(app["desired"] == 0 and not app["replicas"] for app in stack.ps()["apps"])

        def rounds(count: int) -> None:
            for _ in range(count):
                for n in numbers:
                    equal([status for status, _ in first_requests(stack.ports.listen(n), 2)], [200] * 2, "the first requests")
                wait_for("the idle end", all_asleep, seconds=30)

        rounds(5)
        before = figures()
        rounds(95)
        after = figures()
        print(f"descriptors {before[0]} -> {after[0]}, PSS {before[1]} -> {after[1]} KiB")
        check(after[0] <= before[0], f"descriptors: {before[0]} -> {after[0]}")
        check(after[1] <= before[1] * 1.2 + 512, f"PSS: {before[1]} -> {after[1]} KiB")


if __name__ == "__main__":
    sys.exit(main())
