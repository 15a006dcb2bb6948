"""A database as far as its volume is concerned: alone in it, or it says so. Numbers every line that it prints.

    tenant.py VOLUME CLASHES [RECEIPTS]

Takes an flock and an O_EXCL file; who finds another living tenant appends a line to CLASHES. What it has printed it
counts in RECEIPTS/<pid>-<start>, before the line goes out.
"""
import fcntl
import os
import pathlib
import signal
import sys
import time

volume, clashes = sys.argv[1:3]
receipts = sys.argv[3] if len(sys.argv) > 3 else ""


def start_time(pid: int) -> str:
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


def clash(what: str) -> None:
    with open(clashes, "a", encoding="utf-8") as out:
        out.write(f"{volume}: {what}\n")
    sys.exit(3)


me = f"{os.getpid()} {start_time(os.getpid())}"
lock = os.open(f"{volume}/lock", os.O_RDWR | os.O_CREAT, 0o600)
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    clash("the lock is held")
owner = pathlib.Path(f"{volume}/owner")
try:
    os.close(os.open(owner, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
except FileExistsError:
    pid, _, started = owner.read_text(encoding="utf-8").partition(" ")
    if pid and started == start_time(int(pid)):
        clash(f"pid {pid} owns it")
owner.write_text(me, encoding="utf-8")
running = True


def stop(_number: int, _frame: object) -> None:
    global running
    running = False


signal.signal(signal.SIGTERM, stop)
name = me.replace(" ", "-")
line = 0
while running:
    line += 1
    if receipts:
        pathlib.Path(receipts, name).write_text(str(line), encoding="utf-8")
    os.write(1, f"{name} line {line}\n".encode())
    time.sleep(0.01)
owner.unlink()
