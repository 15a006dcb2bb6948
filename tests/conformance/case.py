"""What a case is: the bytes, who may see them, and what must come back. Cases register themselves in `ALL`."""
import dataclasses
import typing

if typing.TYPE_CHECKING:
    from talk import Talk

Play = typing.Callable[["Talk"], None]


@dataclasses.dataclass(frozen=True)
class Case:
    section: str  # "9112 5.1": RFC and section
    name: str
    why: str      # one sentence
    play: Play
    listener: str = "plain"  # or "tight": small limits, short times
    known: str = ""          # why muster differs on purpose; its failure then fails nothing


ALL: dict[str, Case] = {}
_section = ""


def section(text: str) -> None:
    """Of the cases that follow."""
    global _section
    _section = text


def add(name: str, why: str, play: Play, listener: str = "plain", known: str = "") -> None:
    if name in ALL:
        raise ValueError(f"two cases {name}")
    ALL[name] = Case(_section, name, why, play, listener, known)


def script(why: str, listener: str = "plain", known: str = "") -> typing.Callable[[Play], Play]:
    """A case that is a function of its Talk; its name is the function's."""

    def register(play: Play) -> Play:
        add(play.__name__.strip("_").replace("_", "-"), why, play, listener, known)
        return play

    return register


# --- cases that are data

@dataclasses.dataclass(frozen=True)
class Req:
    """A request as the replica must see it. `None` is not looked at."""
    target: bytes = b"/"
    method: bytes | None = None
    body: bytes | None = b""
    has: dict[str, bytes] = dataclasses.field(default_factory=dict)
    lacks: tuple[str, ...] = ()
    minor: int | None = None


@dataclasses.dataclass(frozen=True)
class Rep:
    """An answer as the client must see it."""
    status: int = 200
    body: bytes | None = None
    has: dict[str, bytes] = dataclasses.field(default_factory=dict)
    lacks: tuple[str, ...] = ()


def refused(name: str, why: str, *pieces: bytes, status: int | tuple[int, ...] = 400, after: tuple[Req, ...] = (),
            lenient: tuple[Req, ...] | None = None,
            ends: bool = True, begun: bool = False, listener: str = "plain", known: str = "") -> None:
    """The client is refused and not a byte of the request reaches the replica.

    muster promises the status; the RFC any 4xx or 5xx, or an end of the connection. `after`: requests in front that
    are served. `lenient`: the RFC also allows to serve it, and the replica then sees exactly these. `ends`: the
    connection must be closed, because where the next request begins cannot be known; muster closes it always.
    """
    wanted = (status,) if isinstance(status, int) else status
    add(name, why, lambda talk: talk.refused(pieces, wanted, after, lenient, ends, begun), listener, known)


def served(name: str, why: str, *pieces: bytes, seen: tuple[Req, ...] = (Req(),), answers: tuple[bytes, ...] = (), got: tuple[Rep, ...] = (),
           stays: bool = True, may_refuse: bool = False, listener: str = "plain", known: str = "") -> None:
    """The replica sees exactly these requests, the client gets their answers in order.

    `stays`: the connection carries another request afterwards, else it is closed. `may_refuse`: the RFC allows to
    refuse it, and muster does not.
    """
    add(name, why, lambda talk: talk.served(pieces, seen, answers, got, stays, may_refuse), listener, known)


def answered(name: str, why: str, *pieces: bytes, rep: Rep | None = None, end: str = "", method: bytes = b"GET", minor: int = 1,
             lenient: tuple[Rep, ...] | None = None,
             may_refuse: bool = False, reused: bool | None = None, known: str = "") -> None:
    """What the replica answers, and what the client must make of it.

    `pieces` is the replica's answer in separate writes; `end`: "close" or "reset" behind it. `rep`: what the client
    gets; None: the answer is refused with 502. `lenient`: what the RFC allows instead of a 502. `may_refuse`: the RFC
    allows a 502 instead of `rep`. `reused`: whether the replica's connection may carry the next request.
    """
    add(name, why, lambda talk: talk.answered(pieces, rep, end, method, minor, lenient, may_refuse, reused), known=known)


def cut_off(name: str, why: str, *pieces: bytes, end: str = "close", minor: int = 1, lenient: Rep | None = None) -> None:
    """The replica's answer breaks off: the client must be able to tell. `lenient`: what the RFC allows instead."""
    add(name, why, lambda talk: talk.cut_off(pieces, end, minor, lenient))
