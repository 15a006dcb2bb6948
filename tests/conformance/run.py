#!/usr/bin/env python3
"""HTTP/1.1 conformance, byte by byte: every case of cases/ against muster, and against haproxy and nginx for comparison.

    run.py MUSTER                         muster alone; exit 1 when a case fails
    run.py MUSTER --peer all              muster, haproxy, nginx (or one of these); only muster's failures count
    run.py MUSTER --table FILE            all of them, and the comparison as Markdown into FILE
    run.py MUSTER CASE…                   these cases alone (a name, or a part of one), with what every side saw
    run.py --list                         the cases, one a line
"""
import argparse
import dataclasses
import importlib
import pathlib
import queue
import sys
import threading
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))

import case
import table
from case import Case
from lib import procs
from lib.expect import Skipped
from peers import Peer, all_peers
from talk import Lane, Talk
from wire import Failed, can_split_writes

SECONDS_MUSTER = 20.0  # for one wait; generous: the suite runs on busy machines and under sanitizers
SECONDS_OTHERS = 2.0   # their failures cost time and fail nothing
SHOWN_MAX = 1500       # bytes of one side's stream

for file in sorted((HERE / "cases").glob("*.py")):
    importlib.import_module(f"cases.{file.stem}")


@dataclasses.dataclass
class Verdict:
    outcome: str       # what was seen, in short
    problem: str = ""  # "" when the case holds
    trace: str = ""


def shown(data: bytes) -> str:
    """Byte by byte, but for the middle of what is long."""
    return repr(data) if len(data) <= SHOWN_MAX else f"{data[: SHOWN_MAX // 2]!r} … {data[-SHOWN_MAX // 2 :]!r} ({len(data)} bytes)"


def play(one: Case, lane: Lane, strict: bool, seconds: float, verbose: bool) -> Verdict:
    talk = Talk(lane, one.listener, strict, seconds)
    problem = trace = ""
    try:
        one.play(talk)
    except (Failed, OSError) as failure:
        where = [frame for frame in traceback.extract_tb(failure.__traceback__) if "/cases/" in frame.filename]
        problem = f"{failure}" if isinstance(failure, Failed) else f"{type(failure).__name__}: {failure}"
        problem += f" ({pathlib.Path(where[-1].filename).name}:{where[-1].lineno})" if where else ""
    if problem or verbose:
        for side, wires in (("client", talk.clients), ("replica", talk.upstreams)):
            for number, wire in enumerate(wires):
                trace += f"      {side} {number} sent {shown(wire.sent)}\n      {side} {number} got  {shown(wire.all)} {wire.end}\n"
    talk.clear()
    statuses = " ".join(str(status) for client in talk.clients for status in client.statuses)
    return Verdict(talk.outcome or statuses, problem, trace)


def play_all(cases: list[Case], lanes: list[Lane], strict: bool, seconds: float, verbose: bool) -> dict[str, Verdict]:
    waiting: queue.SimpleQueue[Case] = queue.SimpleQueue()
    for one in cases:
        waiting.put(one)
    verdicts: dict[str, Verdict] = {}

    def work(lane: Lane) -> None:
        while True:
            try:
                one = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                verdicts[one.name] = play(one, lane, strict, seconds, verbose)
            except Exception:  # a fault of the suite is a failure of the case, whatever it is
                verdicts[one.name] = Verdict("", traceback.format_exc())

    threads = [threading.Thread(target=work, args=(lane,)) for lane in lanes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return verdicts


def report(peer: Peer, cases: list[Case], verdicts: dict[str, Verdict], seconds: float, verbose: bool) -> int:
    """Prints the failures byte by byte; how many of them count."""
    counted = 0
    for one in cases:
        verdict = verdicts[one.name]
        if verdict.problem and not (one.known and peer.name == "muster"):
            counted += 1
            trace = verdict.trace if verbose or peer.name == "muster" else ""
            print(f"{peer.name}: {one.name} (RFC {one.section}): {one.why}\n    {verdict.problem[:2000]}\n{trace}", end="")
        elif verbose:
            print(f"{peer.name}: {one.name}: {'known: ' + one.known if verdict.problem else 'passed'}: {verdict.outcome}\n{verdict.trace}", end="")
    passed = sum(not verdicts[one.name].problem for one in cases)
    known = sum(bool(one.known and verdicts[one.name].problem) for one in cases)
    intended = f" ({known} differ on purpose)" if known and peer.name == "muster" else ""
    print(f"{peer.name} {peer.version}: {passed} of {len(cases)} cases passed{intended}, {seconds:.1f} s", flush=True)
    return counted


def main() -> int:
    parser = argparse.ArgumentParser(description="HTTP/1.1 conformance of muster, haproxy and nginx")
    parser.add_argument("muster", nargs="?")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--peer", default="muster", choices=["muster", "haproxy", "nginx", "all"])
    parser.add_argument("--table", type=pathlib.Path)
    arguments = parser.parse_intermixed_args()
    if arguments.list:
        print("\n".join(f"{one.section:12} {one.name}: {one.why}" for one in case.ALL.values()))
        return 0
    if not arguments.muster:
        parser.error("which muster?")
    names = arguments.names
    cases = [one for one in case.ALL.values() if not names or one.name in names] or [one for one in case.ALL.values() if any(n in one.name for n in names)]
    procs.adopt_orphans()
    if not can_split_writes():
        print("the kernel does not tell what a receiver has read (sock_diag): several writes may arrive as one")
    failures, results, versions, skipped = 0, {}, {}, {}
    for peer in all_peers(str(pathlib.Path(arguments.muster).resolve())):
        if not arguments.table and arguments.peer not in ("all", peer.name):
            continue
        ours = peer.name == "muster"
        try:
            with peer.start() as lanes:
                begin = time.monotonic()
                verdicts = play_all(cases, lanes, ours, SECONDS_MUSTER if ours else SECONDS_OTHERS, bool(names))
                counted = report(peer, cases, verdicts, time.monotonic() - begin, bool(names))
        except Skipped as reason:
            print(f"{peer.name}: skipped: {reason}")
            skipped[peer.name] = str(reason)
            continue
        results[peer.name], versions[peer.name] = verdicts, peer.version
        failures += counted if ours else 0
    if arguments.table:
        arguments.table.write_text(table.markdown(cases, results, versions, skipped), encoding="utf-8")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
