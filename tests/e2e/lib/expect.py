"""What a scenario says when something is not as it should be, and how it waits."""
import threading
import time
import typing

DEADLINE = 60.0  # seconds; generous: the same scenarios run under sanitizers on a busy machine

T = typing.TypeVar("T")


class Failed(Exception):
    """A check of a scenario does not hold."""


class Skipped(Exception):
    """This machine cannot run the scenario; the reason is printed and the exit code is 77."""


def check(holds: object, what: str) -> None:
    if not holds:
        raise Failed(what)


def equal(found: object, wanted: object, what: str) -> None:
    if found != wanted:
        raise Failed(f"{what}: {found!r}, not {wanted!r}")


def contains(text: str, words: str | list[str], what: str) -> None:
    """Every one of the words is in the text, whatever the case: messages are read by people, not by their bytes."""
    for word in [words] if isinstance(words, str) else words:
        if word.lower() not in text.lower():
            raise Failed(f"{what}: {word!r} is not in:\n{text}")


def wait_for(what: str, probe: typing.Callable[[], T], seconds: float = DEADLINE, every: float = 0.02) -> T:
    """Asks until the answer is true; the deadline only ends a run that has failed."""
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() > deadline:
            raise Failed(f"not within {seconds:.0f} s: {what}")
        pause.wait(every)
