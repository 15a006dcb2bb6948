#!/usr/bin/env python3
"""Volumes: one tenant at a time, whoever started it; nobody loses one, and nothing takes its place unseen."""
import contextlib
import json
import os
import pathlib
import pty
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import typing

from lib import procs
from lib.expect import DEADLINE, Skipped, check, contains, equal, wait_for
from lib.postgres import postgres
from lib.redis import REDIS
from lib.scenario import main, scenario
from lib.stack import Stack
from lib.store import each_finds_its_own_data, listed, needs

DB = """
[app.db]
run         = "sh -c 'setsid sleep 1111 & exec <REPLICA> $PORT'"
port        = <N0>
volume.data = {{ path = "{disk}" }}
stop        = {{ timeout = "2s" }}
"""


def resource_of(pid: int) -> int:
    return resource.prlimit(pid, resource.RLIMIT_NOFILE)[0]


@scenario
def a_volume_has_one_tenant() -> None:
    """Two daemons with different state folders and one `path`: the second waits until the first one's last process has
    ended, also when that first daemon was killed."""
    with tempfile.TemporaryDirectory(prefix="muster-e2e-disk-") as disk, Stack() as first, Stack() as second:
        for stack in (first, second):
            stack.write(DB.format(disk=disk))
        first.daemon()
        first.ready("db")
        tenant = first.pids()["db/0"]
        sleeper = wait_for("the tenant's stray", lambda: [pid for pid in procs.descendants(os.getpid())
                                                         if "1111" in procs.describe({pid})])[0]
        equal(sorted(os.listdir(disk)), [".0.lock", "0"], "the disk")
        equal(os.listdir(pathlib.Path(disk) / "0"), [], "what the app sees in its volume")
        limit = min(1024, resource_of(sleeper))
        equal(sorted(int(fd) for fd in os.listdir(f"/proc/{sleeper}/fd")), [0, 1, 2, limit - 1], "descriptors of a process with a volume")
        second.daemon()
        busy = f"volume data of db/0 is in use by pid {tenant} (e2e_replica)"
        row = second.in_state("db/0", "backoff")
        contains(row["reason"], busy, "the reason in ps")
        contains(second.run("why", "db/0").stdout, busy, "why")
        equal(row["restarts"], 0, "restarts of the one that waits")
        equal(len([e for e in second.events(app="db") if e["kind"] == "volume-busy"]), 1, "events about it")
        assert first.daemon_process is not None
        first.daemon_process.kill()
        first.daemon_process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.kill(tenant, signal.SIGKILL)
        check(procs.alive(sleeper), "the stray went with its daemon, nothing is proven")
        second.until("db/0", lambda row: f"in use by pid {sleeper} (sleep)" in (row["reason"] or ""), "names the stray")
        equal(second.pids(), {}, "processes of the second")
        begin = time.monotonic()
        os.kill(sleeper, signal.SIGKILL)
        second.ready("db")
        print(f"free to ready: {time.monotonic() - begin:.2f} s")


@scenario
def a_tenant_follows_at_once() -> None:
    """Restarts and crashes of our own never find the volume in use, whatever the last tenant left running."""
    with Stack() as stack:
        stack.write("""
[app.db]
run    = "sh -c 'setsid sleep 1111 & exec <REPLICA> $PORT'"
port   = <N0>
volume = "data"
stop   = { timeout = "1s" }
""")
        stack.daemon()
        stack.ready("db")
        for _ in range(5):
            stack.run("restart", "db")
        for _ in range(2):
            pid = stack.pids()["db/0"]
            os.kill(pid, signal.SIGKILL)
            stack.until("db/0", lambda row, pid=pid: row["state"] == "ready" and row["pid"] != pid, "started again")
        equal([e["reason"] for e in stack.events(app="db") if e["kind"] == "volume-busy"], [], "events of a busy volume")


@scenario
def each_redis_finds_its_own_data() -> None:
    """Three, written to each: kill -9, scale 3 to 1 to 3, the app renamed and back, a new daemon, an upgrade."""
    needs("redis-server", "redis-cli")
    with Stack() as stack:
        each_finds_its_own_data(stack, REDIS)


@scenario
def each_postgres_finds_its_own_data() -> None:
    """The same of PostgreSQL; and a volume that is removed while its database is stopped gets no empty one in its place."""
    with Stack() as stack:
        store = postgres(stack)
        each_finds_its_own_data(stack, store)
        stack.run("stop", "pg")
        path = stack.folder / ".muster/volumes/pg/1/data"
        shutil.rmtree(path)
        stack.run("start", "pg", "--no-wait")
        contains(stack.in_state("pg/1", "backoff")["reason"], ["volume data of pg/1 is missing", str(path)], "the reason in ps")
        for ordinal in (0, 2):
            stack.in_state(f"pg/{ordinal}", "ready")
            store.holds(stack, range(ordinal, ordinal + 1), "beside a volume that is gone")
        check(not path.exists(), "a directory was made in its place")
        check(stack.ports.numbered(1) not in procs.listening_sockets(), "a database runs without its volume")


STORE = """
[app.db]
run      = "<REPLICA> {port}"
port     = <N0>
replicas = 2
volume   = "data"
"""


@scenario
def a_volume_that_is_gone_is_missed() -> None:
    """rm -rf of a volume while its app is stopped: an error that starts nothing; it heals when the directory is back."""
    with Stack() as stack:
        stack.write(STORE)
        stack.daemon()
        stack.ready()
        path = stack.folder / ".muster/volumes/db/0/data"
        (path / "kept").write_text("data", encoding="utf-8")
        stack.run("stop", "db")
        away = path.with_name("away")
        path.rename(away)
        stack.run("start", "db", "--no-wait")
        row = stack.in_state("db/0", "backoff")
        contains(row["reason"], ["volume data of db/0 is missing", str(path), "muster volumes rm db/0/data"], "the reason in ps")
        stack.in_state("db/1", "ready")
        equal(listed(stack)["db/0/data"]["state"], "missing", "its state")
        contains(stack.run("volumes", "db").stdout, ["missing", "put it back"], "the table")
        first = time.monotonic()  # it is tried again, and said once
        wait_for("two more tries", lambda: time.monotonic() - first > 2.2)
        equal(len([e for e in stack.events(app="db") if e["kind"] == "volume-lost"]), 1, "events about it")
        check(not path.exists(), "a directory was made in its place")
        path.symlink_to(away)
        stack.until("db/0", lambda row: "is not a directory" in (row["reason"] or ""), "says that a link is there")
        path.unlink()
        path.mkdir()
        stack.until("db/0", lambda row: "is another directory than before" in (row["reason"] or ""), "says that another is there")
        equal(listed(stack)["db/0/data"]["state"], "foreign", "its state")
        path.rmdir()
        away.rename(path)
        stack.in_state("db/0", "ready")
        check((path / "kept").exists(), "its data")
        # Given up by a person: made anew.
        stack.run("stop", "db/0")
        shutil.rmtree(path)
        contains(stack.run("volumes", "rm", "db/0/data", "--yes").stdout, "not registered any more", "rm of one that is missing")
        stack.run("start", "db/0")
        stack.in_state("db/0", "ready")
        equal(os.listdir(path), [], "the new volume")


@scenario
def a_list_that_is_lost_loses_no_volume() -> None:
    """The daemon starts without its list of volumes, says so, and still misses one that is gone."""
    with Stack() as stack:
        stack.write(STORE)
        stack.daemon()
        stack.ready()
        stack.end(signal.SIGTERM, code=0)
        state = stack.folder / ".muster"
        (state / "volumes.json").write_bytes(b"\0" * 100)
        (state / "volumes.json.prev").unlink()
        shutil.rmtree(state / "volumes/db/1/data")
        stack.daemon()
        stack.in_state("db/0", "ready")
        contains(stack.in_state("db/1", "backoff")["reason"], "volume data of db/1 is missing", "the reason in ps")
        contains(stack.output(), ["volumes.json is damaged", "known from the lock files"], "the daemon's log")
        equal(listed(stack)["db/0/data"]["state"], "in use", "the other one")


@scenario
def a_directory_of_somebody_else_is_adopted_by_hand() -> None:
    with tempfile.TemporaryDirectory(prefix="muster-e2e-disk-") as disk, Stack() as stack:
        theirs = pathlib.Path(disk) / "0"
        theirs.mkdir()
        (theirs / "theirs").write_text("data", encoding="utf-8")
        stack.write(STORE.replace("replicas = 2", "").replace('volume   = "data"', f'volume.data = {{ path = "{disk}" }}'))
        stack.daemon()
        reason = stack.in_state("db/0", "backoff")["reason"]
        contains(reason, [str(theirs), "was there before muster", "muster volumes adopt db/0/data"], "the reason in ps")
        equal(sorted(os.listdir(disk)), ["0"], "nothing was made beside it")
        equal((listed(stack)["db/0/data"]["state"], listed(stack)["db/0/data"]["registered"]), ("foreign", False), "in the list")
        stack.run("volumes", "rm", "db/0/data", "--yes", code=1)
        check((theirs / "theirs").exists(), "what was not muster's was removed")
        contains(stack.run("volumes", "adopt", "db/0").stdout, "db/0/data", "adopt")
        stack.in_state("db/0", "ready")
        check((theirs / "theirs").exists(), "its contents")
        equal(listed(stack)["db/0/data"]["state"], "in use", "in the list")
        contains(stack.run("volumes", "adopt", "db/0/data", code=1).stderr, "in use", "adopting one that is in use")
        # Restored from a backup: another directory with the same contents.
        stack.run("stop", "db")
        shutil.copytree(theirs, pathlib.Path(disk) / "copy")
        shutil.rmtree(theirs)
        (pathlib.Path(disk) / "copy").rename(theirs)
        stack.run("start", "db", "--no-wait")
        stack.until("db/0", lambda row: "another directory" in (row["reason"] or ""), "says that it is another")
        stack.run("volumes", "adopt", str(theirs))
        stack.in_state("db/0", "ready")
        stack.run("volumes", "adopt", "db/7/data", code=1)


def typed(stack: Stack, words: list[str], answer: str) -> tuple[int, str]:
    """A muster command on a terminal, on which `answer` is typed."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([stack.muster, *words], cwd=stack.folder, env=stack.environment, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        os.write(ours, f"{answer}\n".encode())
        text = b""
        with contextlib.suppress(OSError):  # the terminal is gone with its last process
            while piece := os.read(ours, 4096):
                text += piece
        code = process.wait(DEADLINE)
    os.close(ours)
    return code, text.decode(errors="replace")


@scenario
def a_volume_is_removed_by_hand_only() -> None:
    """Scale-down, drain, removal from the spec and `down` keep it; `volumes rm` wants a confirmation, and nobody in it."""
    with Stack() as stack:
        stack.write(STORE)
        stack.up()
        stack.ready()
        paths = [stack.folder / f".muster/volumes/db/{ordinal}/data" for ordinal in range(2)]
        for path in paths:
            (path / "kept").write_text("data", encoding="utf-8")
        stack.run("drain", "db/1")
        stack.run("scale", "db=1")
        contains(stack.run("volumes", "rm", "db/0/data", "--yes", code=1).stderr, "in use", "rm of one in use")
        contains(stack.run("volumes", "rm", "db/1/data", code=64).stderr, "--yes", "rm without a confirmation")
        stack.run("volumes", "rm", "db", "--yes", code=64)
        code, text = typed(stack, ["volumes", "rm", "db/1/data"], "yes")
        equal(code, 1, f"rm with another word typed: {text}")
        contains(text, ["db/1/data", "not confirmed"], "what the terminal shows")
        stack.edit("[app.db]", "[app.other]")
        stack.ready("other")
        equal([row["state"] for row in listed(stack, "db").values()], ["orphan"] * 2, "of an app that is gone")
        stack.run("down")
        assert stack.daemon_process is not None
        stack.daemon_process.wait(DEADLINE)
        for path in paths:
            check((path / "kept").exists(), f"{path} was removed")
        equal(stack.run("volumes", code=69).stdout, "", "without a daemon")
        stack.up()
        stack.ready("other")
        outside = stack.folder / "outside"
        outside.mkdir()
        (outside / "kept").write_text("data", encoding="utf-8")
        (paths[1] / "link").symlink_to(outside)
        (paths[1] / "folder").mkdir()
        (paths[1] / "folder/file").write_text("data", encoding="utf-8")
        code, text = typed(stack, ["volumes", "rm", "db/1/data"], "db/1/data")
        equal(code, 0, f"rm on a terminal: {text}")
        check(not paths[1].parent.exists(), "what was its folder")
        check((outside / "kept").exists(), "a link in it was followed")
        answer = json.loads(stack.run("volumes", "rm", "db/0/data", "--yes", "-o", "json").stdout)
        equal(answer["code"], 0, "rm -o json")
        check(not (stack.folder / ".muster/volumes/db").exists(), "the folders above it")
        equal(listed(stack, "db"), {}, "in the list")
        stack.edit("[app.other]", "[app.db]")
        stack.ready("db")
        equal(os.listdir(paths[0]), [], "a new volume")


@scenario
def a_size_that_nobody_enforces_is_watched() -> None:
    with Stack() as stack:
        stack.write(STORE.replace('volume   = "data"', 'volume.data = { size = "1MiB" }'))
        stack.daemon()
        stack.ready()
        size = listed(stack)["db/0/data"]
        if size["size_enforced"]:
            raise Skipped("this file system has project quotas")
        warnings = [e["text"] for e in stack.events() if e["kind"] == "volume-size"]
        equal(len(warnings), 1, f"warnings at load: {warnings}")
        contains(warnings[0], ["size of volume data is not enforced"], "the warning")
        pids = stack.pids()
        path = stack.folder / ".muster/volumes/db/1/data"
        (path / "big").write_bytes(b"x" * (3 << 20))
        row = listed(stack)["db/1/data"]
        check(row["used_bytes"] >= 3 << 20 and row["used_complete"], f"its use: {row}")
        event = stack.event("it holds too much", lambda e: "more than its size of 1MiB" in e["text"])
        equal((event["app"], event["ordinal"]), ("db", 1), "whose")
        listed(stack)
        equal(len([e for e in stack.events() if "more than its size" in e["text"]]), 1, "said once")
        stack.edit('"1MiB"', '"8MiB"')
        stack.run("apply")
        equal(stack.pids(), pids, "processes: another size restarts nobody")
        equal(listed(stack)["db/1/data"]["size_bytes"], 8 << 20, "the size that counts")
        stack.event("it holds less than its size", lambda e: "again within its size of 8MiB" in e["text"])
        contains(stack.run("doctor", code=None).stdout, "volumes", "doctor")


@contextlib.contextmanager
def disk_with_quotas() -> typing.Iterator[pathlib.Path]:
    """An ext4 of its own with project quotas, for root on a host whose kernel has them."""
    if os.getuid() != 0:
        raise Skipped("needs root: mounts a file system")
    if not shutil.which("mkfs.ext4"):
        raise Skipped("mkfs.ext4 is not installed")
    with tempfile.TemporaryDirectory(prefix="muster-e2e-quota-") as folder:
        image, disk = pathlib.Path(folder) / "image", pathlib.Path(folder) / "disk"
        disk.mkdir()
        with open(image, "wb") as file:
            file.truncate(96 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-O", "quota,project", str(image)], check=True)
        mounted = subprocess.run(["mount", "-o", "loop,prjquota", str(image), str(disk)], capture_output=True, text=True, check=False)
        if mounted.returncode != 0:
            raise Skipped(f"no project quotas here: {mounted.stderr.strip().splitlines()[:1]}")
        os.chmod(folder, 0o755)
        try:
            yield disk
        finally:
            subprocess.run(["umount", str(disk)], check=True)


def write_as_nobody(path: pathlib.Path, mebibytes: int) -> str:
    """What dd says when it does not get all of it down, in one word for what ext4 and xfs call it; "" when it does."""
    dd = subprocess.run(["dd", "if=/dev/zero", f"of={path}", "bs=1M", f"count={mebibytes}", "status=none"], capture_output=True, text=True, check=False, user=65534, group=65534)
    return "full" if re.search("Disk quota exceeded|No space left", dd.stderr) else dd.stderr


@scenario
def a_size_is_enforced_by_a_project_quota() -> None:
    """Who writes more gets no more, its sibling on the same disk all that it wants; an edit of the size counts at once."""
    with disk_with_quotas() as disk, Stack() as stack:
        app = """
[app.{name}]
run    = "sleep 1111"
user   = "nobody"
dir    = "/"
health = "none"
volume.data = {{ path = "{disk}/{name}", size = "4MiB" }}
"""
        late = app.format(name="late", disk=disk).replace(', size = "4MiB"', "")
        stack.write(app.format(name="db", disk=disk) + "replicas = 2\n" + late)
        stack.daemon()
        stack.ready()
        pids = stack.pids()
        equal([row["size_enforced"] for row in listed(stack).values()], [True, True, False], "what is enforced")
        equal([e["text"] for e in stack.events() if e["kind"] == "volume-size"], [], "warnings")
        equal(write_as_nobody(disk / "db/0/big", 8), "full", "8 MiB in a volume of 4 MiB")
        used = listed(stack)["db/0/data"]["used_bytes"]
        check(3 << 20 < used <= 4 << 20, f"in use of 4 MiB: {used}")
        equal(write_as_nobody(disk / "db/1/big", 3), "", "its sibling's 3 MiB of 4")
        equal(write_as_nobody(disk / "late/0/big", 8), "", "a volume without a size")
        (disk / "late/0/folder").mkdir()
        os.chown(disk / "late/0/folder", 65534, 65534)
        equal(write_as_nobody(disk / "late/0/folder/small", 2), "", "a volume without a size")
        # Both sizes live: one is larger, one is new on a volume with data in it.
        stack.edit('size = "4MiB"', 'size = "16MiB"')
        stack.edit(f'path = "{disk}/late"', f'path = "{disk}/late", size = "12MiB"')
        stack.run("apply")
        equal(stack.pids(), pids, "processes")
        equal(write_as_nobody(disk / "db/0/big", 12), "", "12 MiB in a volume of 16 MiB")
        wait_for("what was there counts too", lambda: listed(stack)["late/0/data"]["used_bytes"] >= 10 << 20)
        equal(write_as_nobody(disk / "late/0/folder/more", 4), "full", "4 MiB more than 10 MiB of 12")
        equal(write_as_nobody(disk / "late/0/renamed", 0), "", "an empty file")
        os.rename(disk / "late/0/big", disk / "late/0/folder/big")
        # Without a size there is no limit.
        stack.edit(', size = "12MiB"', "")
        stack.run("apply")
        equal(write_as_nobody(disk / "late/0/folder/more", 8), "", "8 MiB once there is no size")
        projects = {row["project"] for row in json.loads((stack.folder / ".muster/volumes.json").read_text().split("\n", 1)[1])["volumes"]}
        check(len(projects) == 3, f"each has its own project: {projects}")
        equal(stack.pids(), pids, "processes")
        stack.run("stop", "db")
        stack.run("volumes", "rm", "db/0/data", "--yes")
        check(not (disk / "db/0").exists(), "the volume")
        stack.run("start", "db")
        stack.in_state("db/0", "ready")
        equal(write_as_nobody(disk / "db/0/big", 12), "", "12 MiB in a new volume of 16 MiB")
        contains(stack.run("doctor", code=None).stdout, "ext4 with project quota", "doctor")


if __name__ == "__main__":
    sys.exit(main())
