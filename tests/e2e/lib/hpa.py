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
# How far what `ps` shows may be from what a look has seen: half a second of time, and a twentieth of each value.
EDGE = 1.0
ERRORS = (0.95, 1.0, 1.05)


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
        self.proposals = [(at, count) for at, count in self.proposals if now - at <= self.window] + [(now, proposed)]
        if proposed > wanted:
            found = min(proposed, max(2 * wanted, wanted + UP_AT_ONCE))
        else:
            found = min(wanted, max(count for _, count in self.proposals))
        return max(self.least, min(self.most, found))


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
            if (now.reason, now.wanted) != (self.seen[index - 1].reason, self.seen[index - 1].wanted):
                found.append(index)
            elif found and now.at - self.seen[found[-1]].at > EVERY + 1.5:
                due = self.seen[found[-1]].at + EVERY
                found.append(min(range(found[-1] + 1, index + 1), key=lambda i: abs(self.seen[i].at - due)))
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
    before: int
    wanted: int           # by muster
    low: int              # by Kubernetes, from what there was before: between these, for all that was measured inexactly
    high: int
    replicas: list[Replica]

    @property
    def agrees(self) -> bool:
        return self.low <= self.wanted <= self.high


def compare(watch: Watch, target: float, least: int, most: int, window: float) -> list[Look]:
    """Each look of muster beside the reference's. Fails where muster wants what the reference does not; but a change may come
    one look later than the reference's."""
    scalers = [(Autoscaler(least, most, max(window + edge, 0.0)), error) for edge in (-EDGE, EDGE) for error in ERRORS]
    looks: list[Look] = []
    begin = 0
    for index in watch.looks():
        before, now = watch.seen[index - 1], watch.seen[index]
        replicas = watch.replicas(begin, index)
        found = [scaler.look(now.at, proposal(replicas, target / error), before.wanted) for scaler, error in scalers]
        looks.append(Look(now.at - watch.seen[0].at, before.wanted, now.wanted, min(found), max(found), replicas))
        begin = index
    for look in looks:
        values = ", ".join("-" if one.value is None else f"{one.value:.1f}" for one in look.replicas)
        told = str(look.low) if look.low == look.high else f"{look.low} to {look.high}"
        print(f"+{look.at:.0f} s: muster {look.before} -> {look.wanted}, reference {told} of {values}")
    for look, after in zip(looks, looks[1:] + looks[-1:]):
        is_late = look.wanted == look.before and after is not look and after.agrees and after.wanted != after.before
        check(look.agrees or is_late, f"at +{look.at:.0f} s muster wants {look.wanted}, the reference {look.low} to {look.high}")
    return looks
