#!/usr/bin/env python3
"""What an edited file does, and what it leaves alone."""
import os
import re
import random
import signal
import sys
import time

from lib import procs
from lib.expect import DEADLINE, check, contains, equal, wait_for
from lib.http import get
from lib.load import Load
from lib.scenario import main, scenario
from lib.stack import Stack

TWO = """
[app.web]
run      = "<REPLICA> {port} text=one"
replicas = 3
listen   = "127.0.0.1:<L0>"
health   = "/healthz"

[app.other]
run  = "<REPLICA> {port}"
port = <N0>
"""


def answers(stack: Stack, text: str, listener: int = 0) -> bool:
    return f" {text} " in get(stack.ports.listen(listener)).text


@scenario
def new_revision_rolls() -> None:
    """Replica by replica, each ready before an old one goes, no request fails, nobody else restarts."""
    with Stack() as stack:
        stack.write(TWO)
        stack.daemon()
        stack.ready()
        other, before = stack.pids("other"), stack.pids("web")
        with Load(stack.ports.listen(0), keep=8, fresh=4) as load:
            for text in ("two", "three"):
                stack.edit("text=" + ("one" if text == "two" else "two"), f"text={text}")
                stack.run("apply")
                check(all(answers(stack, text) for _ in range(6)), f"apply returned before {text} answers everywhere")
        equal(load.failures[:10], [], "failed requests")
        check(load.done > 20, "no traffic")
        equal(stack.app("web")["revision"], 3, "revision of web")
        equal(stack.pids("other"), other, "pid of the app that was not edited")
        check(not set(before.values()) & set(stack.pids("web").values()), "an old process is left")
        starts = [e for e in stack.events(app="web") if e["kind"] in ("starting", "ready", "stopping")]
        last_old_stop = max(e["seq"] for e in starts if e["kind"] == "stopping")
        check(any(e["kind"] == "ready" and e["seq"] < last_old_stop for e in starts[3:]), "nothing new was ready before the last old one went")


@scenario
def updates_under_load_lose_nothing() -> None:
    """Four replicas, by surge and by unavailable, and a single one: no request fails, as many are ready as may be."""
    with Stack() as stack:
        stack.write(
            '[app.web]\nrun = "<REPLICA> {port} text=one"\nreplicas = 4\nlisten = "127.0.0.1:<L0>"\nhealth = "/healthz"\n'
            'update = { surge = 1, unavailable = 1, min_ready = "100ms" }\n'
            '[app.one]\nrun = "<REPLICA> {port} text=one"\nlisten = "127.0.0.1:<L1>"\nhealth = "/healthz"\n'
        )
        stack.daemon()
        stack.ready()
        with Load(stack.ports.listen(0), keep=8, fresh=4) as many, Load(stack.ports.listen(1), keep=4, fresh=2) as single:
            for old, new in (("one", "two"), ("two", "three")):
                stack.edit(f"text={old}", f"text={new}")
                stack.run("apply", "--no-wait")
                fewest = {"web": 4, "one": 1}
                while (apps := stack.ps()["apps"]) and any(app["state"] == "updating" for app in apps):
                    for app in apps:
                        fewest[app["name"]] = min(fewest[app["name"]], app["ready"])
                stack.run("apply")
                check(fewest["web"] >= 3 and fewest["one"] == 1, f"fewest ready: {fewest}")
        equal(many.failures[:10], [], "failed requests to four replicas")
        equal(single.failures[:10], [], "failed requests to one replica")
        check(many.done > 20 and single.done > 20, "no traffic")
        check(all(answers(stack, "three", listener) for listener in (0, 1) for _ in range(6)), "an old text answers")


@scenario
def recreate_ends_all_before_the_first_starts() -> None:
    with Stack() as stack:
        stack.write('[app.web]\nrun = "<REPLICA> {port} text=one"\nreplicas = 3\nlisten = <L0>\nupdate = { strategy = "recreate" }\n')
        stack.daemon()
        stack.ready()
        stack.edit("text=one", "text=two")
        stack.run("apply")
        kinds = [e["kind"] for e in stack.events(app="web") if e["kind"] in ("starting", "exited")]
        equal(kinds, ["starting"] * 3 + ["exited"] * 3 + ["starting"] * 3, "order of ends and starts")
        check(answers(stack, "two"), "the old text is answered")


@scenario
def ordinals_with_a_numbered_port_go_one_by_one() -> None:
    """Highest first; at no time two processes of one ordinal."""
    with Stack() as stack:
        stack.write('[app.db]\nrun = "<REPLICA> {port} text=one"\nreplicas = 3\nport = <N0>\nlisten = <L0>\n')
        stack.daemon()
        stack.ready()
        stack.edit("text=one", "text=two")
        stack.run("reload", "--no-wait")
        while (rows := stack.replicas("db")) and any(row["revision"] == 1 for row in rows):
            check(len(rows) <= 3, f"an ordinal has two processes: {[(row['id'], row['revision']) for row in rows]}")
        stack.ready()
        stops = [e["ordinal"] for e in stack.events(app="db") if e["kind"] == "stopping"]
        equal(stops, [2, 1, 0], "order of the rollout")
        check(answers(stack, "two"), "the old text is answered")


@scenario
def live_keys_do_not_restart() -> None:
    with Stack() as stack:
        stack.write(TWO)
        stack.daemon()
        stack.ready()
        before = stack.pids()
        stack.edit("replicas = 3", 'replicas = 3\nrestart = { backoff = "3s" }\nstop = { timeout = "9s" }\nlog = { keep = 2 }')
        stack.edit('health   = "/healthz"', 'health   = { http = "/", every = "1s", fall = 5 }')
        stack.run("reload")
        equal(stack.pids(), before, "pids after an edit of live keys")
        equal(stack.app("web")["revision"], 1, "revision after an edit of live keys")
        stack.edit("replicas = 3", "replicas = 4")
        stack.run("reload")
        after = stack.pids()
        equal({ident: pid for ident, pid in after.items() if ident != "web/3"}, before, "pids after a scale up by the file")
        check("web/3" in after, "no fourth replica")
        stack.edit("replicas = 4", "replicas = 2")
        stack.run("reload")
        equal(sorted(stack.pids("web")), ["web/0", "web/1"], "the highest ordinals go")


@scenario
def a_touched_file_changes_nothing() -> None:
    """Equal content, comments, another order: no revision, no restart. By command and by HUP."""
    with Stack() as stack:
        stack.write(TWO)
        daemon = stack.daemon()
        stack.ready()
        before = stack.pids()
        os.utime(stack.folder / "muster.toml")
        stack.run("reload")
        stack.write("# a comment\n" + TWO.replace('run      = "<REPLICA> {port} text=one"\nreplicas = 3', 'replicas = 3\nrun = "<REPLICA> {port} text=one"'))
        stack.run("reload")
        equal(stack.pids(), before, "pids")
        equal([app["revision"] for app in stack.ps()["apps"]], [1, 1], "revisions")
        stack.edit("text=one", "text=hup")
        daemon.send_signal(signal.SIGHUP)
        wait_for("HUP reloads", lambda: answers(stack, "hup"))


@scenario
def up_watches_its_file() -> None:
    """A saved change takes effect by itself; one with a mistake changes nothing and is shown in ps until it is mended."""
    with Stack() as stack:
        stack.write(TWO)
        stack.up()
        stack.ready()
        stack.edit("text=one", "text=two")
        wait_for("the saved edit answers", lambda: answers(stack, "two"))
        stack.ready()
        before = stack.pids()
        stack.edit("replicas = 3", "replicas = three")
        status = wait_for("the mistake is shown", lambda: (s := stack.ps())["daemon"]["spec"]["error"] and s)
        contains(status["daemon"]["spec"]["error"], ["muster.toml", ":4:"], "spec.error")
        contains(stack.run("ps").stdout, "muster.toml:4", "ps")
        equal(stack.pids(), before, "pids after a file with a mistake")
        stack.edit("replicas = three", "replicas = 3")
        wait_for("the error is gone", lambda: stack.ps()["daemon"]["spec"]["error"] is None)
        equal(stack.pids(), before, "pids after the mistake is mended")


@scenario
def a_listener_moves_to_another_app() -> None:
    """It stays open: same sockets, no refused connection."""
    spec = ('[app.blue]\nrun = "<REPLICA> {port} text=blue"\nreplicas = 2\n[app.green]\nrun = "<REPLICA> {port} text=green"\n'
            'replicas = 2\n[listen.front]\nbind = "127.0.0.1:<L0>"\nto = "blue"\n')
    with Stack() as stack:
        stack.write(spec)
        stack.daemon()
        stack.ready()
        sockets = procs.listening_sockets()[stack.ports.listen(0)]
        with Load(stack.ports.listen(0), keep=4, fresh=4) as load:
            stack.edit('to = "blue"', 'to = "green"')
            stack.run("reload")
            check(answers(stack, "green"), "blue still answers")
        equal(load.failures[:10], [], "failed requests")
        equal(procs.listening_sockets()[stack.ports.listen(0)], sockets, "inodes of the listening sockets")


@scenario
def listeners_come_and_go() -> None:
    """An address in use fails the whole reload and names who holds it; a removed listener closes."""
    with Stack() as stack, Stack() as holder:
        holder.write('[app.h]\nrun = "<REPLICA> {port}"\nport = <N0>\n')
        holder.daemon()
        holder.ready()
        taken = holder.ports.numbered(0)
        stack.write(TWO)
        stack.daemon()
        stack.ready()
        before = stack.pids()
        stack.edit("replicas = 3", f'replicas = 2\nlisten = ["127.0.0.1:<L0>", "127.0.0.1:{taken}"]')
        stack.edit('listen   = "127.0.0.1:<L0>"\n', "")
        run = stack.run("reload", code=1)
        contains(run.stdout + run.stderr, [str(taken), str(holder.pids()["h/0"])], "the refused reload")
        equal(stack.pids(), before, "pids after a refused reload")
        equal(get(stack.ports.listen(0)).status, 200, "the old listener after a refused reload")
        holder.run("stop", "h")
        stack.run("reload")
        equal(get(taken).status, 200, "the new listener once its address is free")
        stack.edit(f'"127.0.0.1:<L0>", "127.0.0.1:{taken}"', '"127.0.0.1:<L1>"')
        stack.run("reload")
        check(stack.ports.listen(0) not in procs.listening_sockets(), "a removed listener is open")
        equal(get(stack.ports.listen(1)).status, 200, "the listener that came")


@scenario
def apps_come_go_and_are_renamed() -> None:
    with Stack() as stack:
        stack.write(TWO)
        stack.daemon()
        stack.ready()
        pids = stack.pids()
        stack.edit("[app.other]", "[app.another]")
        stack.run("reload")
        stack.ready()
        equal(sorted(app["name"] for app in stack.ps()["apps"]), ["another", "web"], "apps after a rename")
        check(not procs.alive(pids["other/0"]), "the removed app runs")
        equal(stack.pids("web"), {i: p for i, p in pids.items() if i.startswith("web")}, "pids of the others")


@scenario
def env_file_changes() -> None:
    """A reload sees changed contents as a new revision; a restart takes them fresh."""
    with Stack() as stack:
        (stack.folder / "web.env").write_text("WORD=first\n", encoding="utf-8")
        stack.write('[app.web]\nrun = "<REPLICA> {port}"\nenv_file = "web.env"\nlisten = <L0>\n')
        stack.daemon()
        stack.ready()
        equal(procs.environment(stack.pids()["web/0"])["WORD"], "first", "WORD")
        (stack.folder / "web.env").write_text("WORD=second\n", encoding="utf-8")
        stack.run("reload")
        equal(procs.environment(stack.pids()["web/0"])["WORD"], "second", "WORD after reload")
        (stack.folder / "web.env").write_text("WORD=third\n", encoding="utf-8")
        stack.run("restart", "web")
        equal(procs.environment(stack.pids()["web/0"])["WORD"], "third", "WORD after restart")


@scenario
def watched_files_restart_their_app() -> None:
    with Stack() as stack:
        (stack.folder / "src").mkdir()
        (stack.folder / "src" / "a.py").write_text("1\n", encoding="utf-8")
        stack.write('[app.web]\nrun = "<REPLICA> {port}"\nwatch = ["src/*.py"]\n[app.other]\nrun = "<REPLICA> {port}"\n')
        stack.up()
        stack.ready()
        before = stack.pids()
        (stack.folder / "src" / "a.txt").write_text("2\n", encoding="utf-8")
        (stack.folder / "src" / "a.py").write_text("2\n", encoding="utf-8")
        stack.until("web/0", lambda row: row["pid"] not in (None, before["web/0"]) and row["state"] == "ready", "restarted")
        stack.ready()
        equal(stack.pids("other"), {"other/0": before["other/0"]}, "pid of the app that does not watch")


# Whole files that are no spec; {good} is a good one.
BROKEN = [
    "[app.web", "[app.web]\nrun = \"x", "[{a]", "[[app]]", "app = 3", "[app.web]\nrun = 7", "[app.web]\nrun = \"x\"\nreplicas = \"two\"",
    "[app.web]\nrun = \"x\"\nreplicas = 2.5", "[app.web]\nrun = \"x\"\nreplicas = -1", "[app.web]\nrun = \"x\"\nrun = \"y\"",
    "[app.web]\nrun = \"x\"\n[app.web]\nrun = \"y\"", "[app.web]\nrun = \"x\"\nafter = [\"web\"]",
    "[app.a]\nrun = \"x\"\nafter = [\"b\"]\n[app.b]\nrun = \"x\"\nafter = [\"a\"]", "[app.web]\nrun = \"x\"\nafter = [\"nobody\"]",
    "[app.Web]\nrun = \"x\"", "[app.web]\nrnu = \"x\"", "[app.web]\nrun = \"x {prot}\"", "[app.web]\nrun = \"x {port\"",
    "[app.web]\nrun = \"x ${MUSTER_E2E_UNSET}\"", "[app.web]\nrun = \"x\"\nlisten = \":80\"", "[app.web]\nrun = \"x\"\nlisten = 70000",
    "[app.web]\nrun = \"x\"\nstop = { timeout = 5 }", "[app.web]\nrun = \"x\"\numask = 022", "[app.web]\nrun = \"x\"\nuser = \"nobody-here\"",
    "[app.web]\nrun = \"'x\"", "[app.web]\nrun = \"x\"\nhealth = \"log:(\"", "[listen.l]\nbind = \"127.0.0.1:1\"\nto = \"nobody\"",
    "[app.web]\nrun = \"x {port}\"\nport = 65535\nreplicas = 2", "[app.a]\nrun = \"x\"\nport = 5000\n[app.b]\nrun = \"x\"\nport = 5000",
    "[app.web]\nrun = \"x\"\nscale = { min = 1, max = 3 }", "[job.j]\nrun = \"x\"", "[daemon]\nthreads = \"many\"", "\ufeff\ufeff[app.web]",
    "[app.web]\nrun = \ufb26", "[app.\u202eweb]\nrun = \"x\"", "a.b.c.d.e.f = " + "[" * 60, "x = " + "1" * 5000, "\0", "[app.web]\r", "= 1",
]


def broken_files(good: str, count: int) -> list[bytes]:
    """The list, and the good file cut off inside a line or with one byte exchanged (fixed seed)."""
    chance, made = random.Random(20), [text.encode("utf-8", "surrogatepass") for text in BROKEN]
    whole = good.encode()
    while len(made) < count:
        at = chance.randrange(1, len(whole))
        cut = whole[:at] + b" = = " if chance.random() < 0.5 else whole[:at] + bytes([chance.choice(b"\0\1\xff\xc0{}[]=\"")]) * 3 + b"\n\xff" + whole[at:]
        made.append(cut)
    return made


@scenario
def broken_files_change_nothing() -> None:
    """200 files that are no spec, one after the other: each refused with file, line and column, nothing that runs changes."""
    with Stack() as stack:
        path = stack.write(TWO)
        daemon = stack.daemon()
        stack.ready()
        before, good = stack.pids(), path.read_text(encoding="utf-8")
        size_before = int(procs.status(daemon.pid)["VmRSS"].split()[0])
        with Load(stack.ports.listen(0), keep=2, pause=0.05) as load:
            for number, text in enumerate(broken_files(good, 200)):
                path.write_bytes(text)
                answer = stack.api("POST", "/v1/apply", {"wait": True}).text
                check('"code":65' in answer.replace(" ", ""), f"file {number} {text[:80]!r}: {answer[:300]}")
                check(re.search(r"muster\.toml:\d+:\d+: ", answer), f"file {number} {text[:80]!r}: no file, line and column: {answer[:300]}")
            path.unlink()
            os.mkfifo(path)
            check('"code":66' in stack.api("POST", "/v1/apply", {"wait": True}).text.replace(" ", ""), "a FIFO in place of the spec")
            path.unlink()
            with open(path, "wb") as huge:
                huge.truncate(1 << 30)
            begin = time.monotonic()
            check('"code":65' in stack.api("POST", "/v1/apply", {"wait": True}).text.replace(" ", ""), "a spec of 1 GiB")
            check(time.monotonic() - begin < DEADLINE / 2, "a spec of 1 GiB took long")
            path.unlink()
            check('"code":66' in stack.api("POST", "/v1/apply", {"wait": True}).text.replace(" ", ""), "no spec at all")
        equal(load.failures[:5], [], "failed requests meanwhile")
        equal(stack.pids(), before, "pids after 203 bad files")
        equal([app["revision"] for app in stack.ps()["apps"]], [1, 1], "revisions after 203 bad files")
        grown = int(procs.status(daemon.pid)["VmRSS"].split()[0]) - size_before
        check(grown < 300 << 10, f"the daemon grew by {grown} KiB")
        path.write_text(good, encoding="utf-8")
        stack.run("reload")
        equal(stack.ps()["daemon"]["spec"]["error"], None, "spec.error after a good file")


if __name__ == "__main__":
    sys.exit(main())
