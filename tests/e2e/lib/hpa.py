"""What Kubernetes' HorizontalPodAutoscaler (autoscaling/v2) would do, computed from the usage that muster shows: written
from Kubernetes' documents, not from muster, to compare the two look by look."""
import dataclasses
import math
import threading
import time
import typing

from lib.expect import check
from lib.stack import Stack, Status

EVERY = 15.0      # seconds between two looks
TOLERANCE = 0.1
UP_AT_ONCE = 4    # or as many as there are, whichever is more
YOUNG = 5.0       # seconds for which a replica has no usage yet


@dataclasses.dataclass
class Replica:
    ready: bool
    value: float | None  # none: nobody has measured it


def proposal(replicas: list[Replica], target: float, full: float = 100.0) -> int:
    """By one metric, for as many replicas as are wanted. `full`: what one without a measurement counts for on the way down."""
    wanted = len(replicas)
    measured = [one.value for one in replicas if one.ready and one.value is not None]
    missing = sum(one.ready and one.value is None for one in replicas)
    unready = sum(not one.ready for one in replicas)
    if not measured:
        return wanted
    ratio = sum(measured) / len(measured) / target
    if not missing and not (unready and ratio > 1):
        return wanted if abs(ratio - 1) <= TOLERANCE else math.ceil(ratio * len(measured))
    values = measured + ([full] * missing if ratio < 1 else [0.0] * missing) + ([0.0] * unready if ratio > 1 else [])
    again = sum(values) / len(values) / target
    if abs(again - 1) <= TOLERANCE or (again - 1) * (ratio - 1) < 0:
        return wanted
    found = math.ceil(again * len(values))
    return max(found, wanted) if again > 1 else min(found, wanted)


class Autoscaler:
    """Its memory: the window on the way down, the bound on the way up."""

    def __init__(self, least: int, most: int, window: float) -> None:
        self.least, self.most, self.window = least, most, window
        self.proposals: list[tuple[float, int]] = []

    def look(self, now: float, proposed: int, wanted: int) -> int:
        proposed = max(self.least, min(self.most, proposed))
        self.proposals = [(at, count) for at, count in self.proposals if now - at <= self.window] + [(now, proposed)]
        if proposed > wanted:
            return min(proposed, max(2 * wanted, wanted + UP_AT_ONCE))
        return min(wanted, max(count for _, count in self.proposals))


@dataclasses.dataclass
class Seen:
    """One answer of `ps`."""

    at: float
    wanted: int
    reason: str
    rows: list[Status]


class Watch:
    """Asks for the state of one app twice a second, in a thread of its own: `with Watch(stack, "web") as watch:` …"""

    def __init__(self, stack: Stack, app: str, value: typing.Callable[[Status], float | None], is_rate: bool) -> None:
        """`value` of a row of `ps`; of a rate the average since the last look counts, of all else what is there at the look."""
        self.stack, self.app, self.value, self.is_rate = stack, app, value, is_rate
        self.seen: list[Seen] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def _run(self) -> None:
        while not self._stop.wait(0.5):
            app = self.stack.app(self.app)
            self.seen.append(Seen(time.monotonic(), app["desired"], app["scale"]["reason"] or "", app["replicas"]))

    # --- what it has seen

    def looks(self) -> list[int]:
        """Indexes of the answers that are the first after a look: its words are others, with nothing new every 15 s."""
        found: list[int] = []
        for index in range(1, len(self.seen)):
            now = self.seen[index]
            is_new = (now.reason, now.wanted) != (self.seen[index - 1].reason, self.seen[index - 1].wanted)
            if is_new or (found and now.at - self.seen[found[-1]].at > EVERY + 1.5):
                found.append(index)
        return found

    def replicas(self, begin: int, end: int) -> list[Replica]:
        """As a look just before answer `end` has them, its last look just before `begin`."""
        before = self.seen[end - 1]
        rows = {row["ordinal"]: row for row in before.rows if row["state"] in ("ready", "draining")}
        measure = self._average if self.is_rate else lambda row, *_: None if row is None else self.value(row)
        return [Replica(ordinal in rows, measure(rows.get(ordinal), begin, end)) for ordinal in range(before.wanted)]

    def _average(self, row: Status | None, begin: int, end: int) -> float | None:
        if row is None:
            return None
        span = [(seen.at, self.value(other)) for seen in self.seen[begin:end] for other in seen.rows if other["pid"] == row["pid"]]
        if not span or span[-1][0] - span[0][0] < YOUNG - 1:
            return None
        values = [value for _, value in span[1:] if value is not None]  # the first is of the time before
        return sum(values) / len(values)

    def changes(self) -> list[tuple[float, int]]:
        """When another number was wanted, and which, counted from the first answer."""
        start, found = self.seen[0].at, [(0.0, self.seen[0].wanted)]
        for seen in self.seen:
            if seen.wanted != found[-1][1]:
                found.append((round(seen.at - start, 1), seen.wanted))
        return found


@dataclasses.dataclass
class Look:
    at: float
    wanted: int       # by muster
    reference: int    # by Kubernetes, from what there was before
    replicas: list[Replica]


def compare(watch: Watch, target: float, least: int, most: int, window: float) -> list[Look]:
    """Each look of muster beside the reference's. Fails where muster wants what the reference wants neither then nor one look
    earlier or later."""
    scaler = Autoscaler(least, most, window)
    looks: list[Look] = []
    begin = 0
    for index in watch.looks():
        before, now = watch.seen[index - 1], watch.seen[index]
        replicas = watch.replicas(begin, index)
        reference = scaler.look(now.at, proposal(replicas, target), before.wanted)
        looks.append(Look(now.at - watch.seen[0].at, now.wanted, reference, replicas))
        begin = index
    for number, look in enumerate(looks):
        near = {other.reference for other in looks[max(0, number - 1):number + 2]}
        values = ", ".join("-" if one.value is None else f"{one.value:.1f}" for one in look.replicas)
        print(f"+{look.at:.0f} s: muster {look.wanted}, reference {look.reference} of {values}")
        check(look.wanted in near, f"at +{look.at:.0f} s muster wants {look.wanted}, the reference {sorted(near)}")
    return looks
