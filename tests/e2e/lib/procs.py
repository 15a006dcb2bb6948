"""What /proc says: processes, listening sockets. And the scenario as the parent of all that its daemon leaves behind."""
import contextlib
import ctypes
import os
import pathlib
import signal

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
LISTENING = "0A"


def adopt_orphans() -> None:
    """From now on every process that outlives its parent below us becomes our child: nothing can hide."""
    if _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> None:
    """In a child before exec: a scenario that is killed takes its daemon along."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name; empty when there is no such process."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def helps_a_sanitizer(pid: int) -> bool:
    """A process that a sanitizer's runtime has started in whatever it watches; it ends a moment after that."""
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip() == "llvm-symbolizer"
    return False


def alive(pid: int) -> bool:
    fields = _stat(pid)
    return bool(fields) and fields[0] != "Z"


def start_time(pid: int) -> str:
    """Tells two lives of one pid apart."""
    fields = _stat(pid)
    return fields[19] if fields else ""


def command(pid: int) -> str:
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except OSError:
        return ""


def thread_names(pid: int) -> set[str]:
    """Of all threads, as ps shows them."""
    try:
        return {task.read_text(encoding="utf-8").strip() for task in pathlib.Path(f"/proc/{pid}/task").glob("*/comm")}
    except OSError:
        return set()


def own_groups(pid: int) -> list[pathlib.Path]:
    """The cgroups that a daemon of this pid has made beside ours, on hybrid hosts and on those with cgroup2 alone."""
    lines = pathlib.Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines()
    group = next((line[3:] for line in lines if line.startswith("0::")), "")
    roots = [pathlib.Path(root + group) for root in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")]
    return [found for root in roots if root.is_dir() for found in root.glob(f"muster-{pid}*")]


def descendants(root: int) -> set[int]:
    """All living processes below `root`."""
    parents: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            fields = _stat(int(entry))
            if fields:
                parents.setdefault(int(fields[1]), []).append(int(entry))
    found: set[int] = set()
    stack = [root]
    while stack:
        for child in parents.get(stack.pop(), []):
            if child not in found:
                found.add(child)
                stack.append(child)
    return {pid for pid in found if alive(pid) and not helps_a_sanitizer(pid)}


def in_session(leader: int) -> set[int]:
    """All living processes of a session, whoever has adopted them."""
    pids = {int(entry) for entry in os.listdir("/proc") if entry.isdigit()}
    return {pid for pid in pids if (fields := _stat(pid)) and fields[0] != "Z" and int(fields[3]) == leader}


def keepers(root: int) -> set[int]:
    """The daemons' processes that hold the replicas' output."""
    found = set()
    for pid in descendants(root):
        with contextlib.suppress(FileNotFoundError):  # ended meanwhile
            if status(pid)["Name"] == "muster-keeper":
                found.add(pid)
    return found


def describe(pids: set[int]) -> str:
    return ", ".join(f"{pid} {''.join(_stat(pid)[:1])} ({command(pid)})" for pid in sorted(pids))


def status(pid: int) -> dict[str, str]:
    lines = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def environment(pid: int) -> dict[str, str]:
    entries = pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return {name.decode(): value.decode() for name, _, value in (entry.partition(b"=") for entry in entries if entry)}


def listening_sockets() -> dict[int, set[int]]:
    """TCP port to the inodes of the sockets that listen on it."""
    found: dict[int, set[int]] = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = pathlib.Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if fields[3] == LISTENING:
                found.setdefault(int(fields[1].rpartition(":")[2], 16), set()).add(int(fields[9]))
    return found


def kill_quietly(pid: int, number: int = signal.SIGKILL) -> bool:
    try:
        os.kill(pid, number)
        return True
    except ProcessLookupError:
        return False
