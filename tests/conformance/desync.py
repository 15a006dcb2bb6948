#!/usr/bin/env python3
"""Differential smuggling: ambiguous requests beside innocent ones, over connections that the proxy uses again, to replicas that read
HTTP in odd ways.

    desync.py MUSTER [--pairs N] [--seed S] [--peer NAME|all] [--verbose]

Each pair is an attacker's bytes on one connection and a victim's plain request on another, which the proxy sends behind them on the same
connection to the replica where it can. A desync is: a replica reads a request that the proxy did not send as one (the proxy's own field is
missing), or anybody gets the answer to somebody else's request. muster must have none; what others have is printed beside it.
"""
import argparse
import dataclasses
import pathlib
import random
import re
import select
import selectors
import socket
import sys
import threading

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))

from lib.expect import DEADLINE, Skipped
from message import Malformed, read_answer
from peers import Peer, all_peers
from talk import Lane

QUIET = 0.03  # seconds without a byte after which an attacker's request counts as hanging: paces, decides nothing


# --- replicas that read in odd ways


@dataclasses.dataclass(frozen=True)
class Dialect:
    name: str
    bare_lf: bool = False         # lines end with LF alone, too
    fold: bool = False            # a line that begins with a blank belongs to the one before
    blank_before_colon: bool = False
    underscores: bool = False     # "Transfer_Encoding" is Transfer-Encoding, as where fields become variables
    coding: str = "exact"         # exact, any ("xchunked" too), last (of a list), none (an HTTP/1.0 server)
    length_first: bool = False    # Content-Length counts where both are there
    length: str = "strict"        # strict, digits (what int() makes of the digits in front), first, last
    loose_chunks: bool = False    # sizes with 0x, sign or blanks; LF ends; a missing CRLF behind the data
    control_bytes: bool = False   # NUL and others at the ends of names and values are trimmed away


DIALECTS = [
    Dialect("by the book"),
    Dialect("bare LF", bare_lf=True),
    Dialect("obs-fold", fold=True),
    Dialect("blank before the colon", blank_before_colon=True),
    Dialect("underscores", underscores=True),
    Dialect("any coding with chunked in it", coding="any"),
    Dialect("the last coding counts", coding="last", length="last"),
    Dialect("no codings", coding="none"),
    Dialect("length before coding", length_first=True),
    Dialect("length by its first digits", length="digits"),
    Dialect("the first length", length="first"),
    Dialect("the last length", length="last"),
    Dialect("loose chunks", loose_chunks=True),
    Dialect("control bytes are nothing", control_bytes=True, blank_before_colon=True),
    Dialect("all of it", bare_lf=True, fold=True, blank_before_colon=True, underscores=True, coding="any", length="digits", loose_chunks=True,
            control_bytes=True),
    Dialect("all of it, length first", bare_lf=True, fold=True, blank_before_colon=True, underscores=True, coding="any", length_first=True,
            length="last", loose_chunks=True, control_bytes=True),
]


class Bad(Exception):
    pass


@dataclasses.dataclass
class Seen:
    target: bytes
    sent_by_the_proxy: bool
    size: int


def split_head(data: bytes, dialect: Dialect) -> tuple[list[bytes], int] | None:
    lines: list[bytes] = []
    at = 0
    while True:
        end = data.find(b"\n", at)
        if end < 0:
            return None
        line = data[at:end]
        at = end + 1
        if line.endswith(b"\r"):
            line = line[:-1]
        elif not dialect.bare_lf:
            raise Bad("a bare LF")
        if not line:
            if not lines:
                continue
            return lines, at
        if line[:1] in b" \t" and lines:
            if not dialect.fold:
                raise Bad("a folded line")
            lines[-1] += b" " + line.strip()
        else:
            lines.append(line)


def fields_of(lines: list[bytes], dialect: Dialect) -> list[tuple[bytes, bytes]]:
    fields = []
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if not colon:
            raise Bad("a line without a colon")
        if dialect.control_bytes:
            name = name.strip(bytes(range(0x21)) + b"\x7f")
            value = value.strip(bytes(range(0x21)) + b"\x7f")
        if dialect.blank_before_colon:
            name = name.rstrip()
        if dialect.underscores:
            name = name.replace(b"_", b"-")
        fields.append((name.lower(), value.strip(b" \t")))
    return fields


def length_of(values: list[bytes], dialect: Dialect) -> int:
    if not values:
        return 0
    if dialect.length in ("first", "last"):
        value = values[0 if dialect.length == "first" else -1].split(b",")[0 if dialect.length == "first" else -1].strip()
    else:
        value = values[0]
        if len(set(values)) > 1:
            raise Bad("two lengths")
    if dialect.length == "digits":
        digits = re.match(rb"\s*\+?(\d+)", value)
        return int(digits[1]) if digits else 0
    if not re.fullmatch(rb"\d+", value):
        raise Bad("a malformed length")
    return int(value)


def is_chunked(values: list[bytes], dialect: Dialect) -> bool:
    if not values or dialect.coding == "none":
        return False
    if dialect.coding == "any":
        return any(b"chunked" in value.lower() for value in values)
    codings = [coding.strip().lower() for value in values for coding in value.split(b",")]
    if dialect.coding == "last":
        return codings[-1] == b"chunked"
    if codings != [b"chunked"]:
        raise Bad("a coding it does not know")
    return True


def chunks_end(data: bytes, at: int, dialect: Dialect) -> int | None:
    while True:
        end = data.find(b"\n", at)
        if end < 0:
            return None
        line = data[at:end]
        if line.endswith(b"\r"):
            line = line[:-1]
        elif not dialect.loose_chunks:
            raise Bad("a bare LF in a chunk's line")
        size_text = line.split(b";")[0]
        if dialect.loose_chunks:
            digits = re.match(rb"[\s+]*(?:0[xX])?([0-9a-fA-F]*)", size_text)
            size = int(digits[1] or b"0", 16) if digits else 0
        elif re.fullmatch(rb"[0-9a-fA-F]+", size_text):
            size = int(size_text, 16)
        else:
            raise Bad("a malformed chunk size")
        at = end + 1
        if size == 0:
            break
        if len(data) < at + size + 2:
            return None
        at += size
        if data[at : at + 2] == b"\r\n":
            at += 2
        elif not dialect.loose_chunks:
            raise Bad("no CRLF behind a chunk")
        elif data[at : at + 1] == b"\n":
            at += 1
    while True:  # trailers
        end = data.find(b"\n", at)
        if end < 0:
            return None
        line = data[at:end].rstrip(b"\r")
        at = end + 1
        if not line:
            return at


def read_oddly(data: bytes, dialect: Dialect) -> Seen | None:
    """One request, or None while it is not whole. Raises Bad."""
    head = split_head(data, dialect)
    if head is None:
        return None
    lines, size = head
    words = lines[0].split()
    if len(words) < 2:
        raise Bad("a malformed request line")
    fields = fields_of(lines, dialect)
    codings = [value for name, value in fields if name == b"transfer-encoding"]
    lengths = [value for name, value in fields if name == b"content-length"]
    chunked = is_chunked(codings, dialect) and not (dialect.length_first and lengths)
    if chunked:
        end = chunks_end(data, size, dialect)
        if end is None:
            return None
    else:
        end = size + length_of(lengths, dialect)
        if len(data) < end:
            return None
    return Seen(words[1], any(name == b"x-forwarded-for" for name, _ in fields), end)


ANSWER = b"HTTP/1.1 200 OK\r\nX-Answer-To: TARGET\r\nContent-Length: 3\r\n\r\nfor"
CHUNKED = b"HTTP/1.1 200 OK\r\nX-Answer-To: TARGET\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nfor\r\n0\r\n\r\n"
POISON = b"HTTP/1.1 200 OK\r\nX-Answer-To: /poison\r\nContent-Length: 0\r\n\r\n"
ODD_ANSWERS = [
    CHUNKED, ANSWER + POISON, CHUNKED + POISON, ANSWER + b"\r\n" + POISON, ANSWER + b"\n",
    b"HTTP/1.1 100 Continue\r\n\r\n" + ANSWER, b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ANSWER, b"HTTP/1.1 100 Continue\r\nContent-Length: 3\r\n\r\nfor" + ANSWER,
    ANSWER.replace(b"Content-Length: 3", b"Content-Length: 3\r\nTransfer-Encoding: chunked") + POISON,
    ANSWER.replace(b"Content-Length: 3", b"Content-Length: 3\r\nContent-Length: 0") + POISON, ANSWER.replace(b"th: 3", b"th: +3"), ANSWER.replace(b"th: 3", b"th: 3, 3"),
    ANSWER.replace(b"200 OK", b"204 No Content") + POISON, ANSWER.replace(b"200 OK", b"304 Not Modified") + POISON,
    ANSWER.replace(b"Content-Length", b"Content-Length "), ANSWER.replace(b"Content-Length: 3", b"X: y\r\n Content-Length: 3"),
    CHUNKED.replace(b"chunked", b"xchunked"), CHUNKED.replace(b"\r\n3\r\n", b"\r\n0x3\r\n"), CHUNKED.replace(b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n"),
    CHUNKED.replace(b"\r\n3\r\n", b"\r\n3;a=b\r\n"), CHUNKED.replace(b"\r\n3\r\n", b"\r\n3\n"), ANSWER.replace(b"Content-Length: 3", b"Content_Length: 3") + POISON,
    ANSWER.replace(b"HTTP/1.1", b"HTTP/1.0"), ANSWER.replace(b"200 OK", b"101 Switching Protocols") + POISON,
]


class Replica(threading.Thread):
    """Answers what it reads; keeps every connection open. What it saw is read after stop()."""

    def __init__(self, listener: socket.socket, dialect: Dialect, choose: random.Random) -> None:
        super().__init__(daemon=True)
        self.choose = choose
        self.listener = listener
        self.dialect = dialect
        self.smuggled: list[bytes] = []
        self.requests = 0
        self.over_reused = 0
        self.wake_in, self.wake_out = socket.socketpair()
        self.start()

    def stop(self) -> None:
        self.wake_in.send(b"x")
        self.join(DEADLINE)
        self.wake_in.close()
        self.wake_out.close()

    def run(self) -> None:
        selector = selectors.DefaultSelector()
        selector.register(self.listener, selectors.EVENT_READ)
        selector.register(self.wake_out, selectors.EVENT_READ)
        open_ones: dict[socket.socket, tuple[bytes, int]] = {}
        try:
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self.wake_out:
                        return
                    if key.fileobj is self.listener:
                        connection = self.listener.accept()[0]
                        connection.settimeout(DEADLINE)
                        selector.register(connection, selectors.EVENT_READ)
                        open_ones[connection] = (b"", 0)
                        continue
                    connection = key.fileobj
                    assert isinstance(connection, socket.socket)
                    data, count = open_ones.pop(connection)
                    try:
                        more = connection.recv(1 << 16)
                        data += more
                        served, data = self.serve(connection, data, count) if more else (count, None)
                    except OSError:
                        served, data = count, None
                    if data is None:
                        selector.unregister(connection)
                        connection.close()
                    else:
                        open_ones[connection] = (data, served)
        finally:
            for connection in open_ones:
                connection.close()
            selector.close()

    def serve(self, connection: socket.socket, data: bytes, count: int) -> tuple[int, bytes | None]:
        while data:
            try:
                seen = read_oddly(data, self.dialect)
            except Bad:
                # What it cannot read began where a request should: the proxy sent something, or was made to.
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                return count, None
            if seen is None:
                break
            self.requests += 1
            self.over_reused += count > 0
            count += 1
            if not seen.sent_by_the_proxy:
                self.smuggled.append(data[: seen.size])
            data = data[seen.size :]
            odd = self.choose.choice(ODD_ANSWERS) if seen.target.startswith(b"/attack-") and self.choose.randrange(3) == 0 else ANSWER
            connection.sendall(odd.replace(b"TARGET", seen.target))
        return count, data


# --- the attacker


CODINGS = [
    b"Transfer-Encoding: chunked", b"Transfer-Encoding : chunked", b"Transfer-Encoding:chunked", b"Transfer-Encoding:\tchunked",
    b"Transfer-Encoding: \x0bchunked", b"Transfer-Encoding: xchunked", b"Transfer-Encoding: chunkedx", b"Transfer-Encoding: chunked\x00",
    b"Transfer-Encoding: \"chunked\"", b"Transfer-Encoding: chunked, identity", b"Transfer-Encoding: identity, chunked",
    b"Transfer-Encoding: chunked, chunked", b"Transfer-Encoding: chunked;q=1", b"Transfer-Encoding: cow\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: cow", b"Transfer-Encoding:\r\n chunked", b"Transfer-Encoding\r\n : chunked",
    b"X: y\r\n Transfer-Encoding: chunked", b"X: y\nTransfer-Encoding: chunked", b"X: y\rTransfer-Encoding: chunked",
    b"Transfer_Encoding: chunked", b"transfer_encoding: chunked", b"Transfer-Encoding\x00: chunked", b"\x00Transfer-Encoding: chunked",
    b"Transfer-Encoding\x7f: chunked", b"Transfer-\xadEncoding: chunked", b"TRANSFER-ENCODING: CHUNKED", b"Transfer-Encoding: chunked\n",
    b" Transfer-Encoding: chunked", b"Transfer-Encoding: ,chunked", b"Transfer-Encoding: chunked,", b"Connection: transfer-encoding\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding:\xa0chunked", b"Transfer Encoding: chunked", b"Transfer-Encoding= chunked", b"X: y\r\n\tTransfer-Encoding: chunked",
]
LENGTHS = [
    b"Content-Length: %d", b"Content-Length : %d", b"Content-Length:%d", b"Content-Length: +%d", b"Content-Length: 0%d", b"Content-Length: %d,0",
    b"Content-Length: 0, %d", b"Content-Length: %d, %d", b"Content-Length: %d\r\nContent-Length: 0", b"Content-Length: 0\r\nContent-Length: %d",
    b"Content-Length: %d\r\nContent-Length: %d", b"Content-Length: %dx", b"Content-Length: 0x%x", b"Content-Length:\r\n %d", b"Content_Length: %d",
    b"Content-Length: 0\r\nContent_Length: %d", b"Content-Length: %d.0", b"Content-Length: -%d", b"Content-Length: \x0b%d", b"Content-Length: %d\x00",
    b"X: y\nContent-Length: %d", b"Connection: content-length\r\nContent-Length: %d", b"Content-Length: \"%d\"", b" Content-Length: %d",
    b"Content-Length:\xa0%d", b"content-length: %d\nX: y", b"Content-Length: %d 0", b"Content-Length: 18446744073709551616", b"Content-Length: 1e1",
]
SIZES = [b"%x", b"0%x", b"0x%x", b"+%x", b" %x", b"%x ", b"%x;a=b", b"%x;\"\r\n\"", b"%x\x00", b"%x\x0b", b"%x;a\nb", b"%xg", b"%X;"]
ENDS = [b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\r\r\n", b"\n\r\n", b""]


def with_number(text: bytes, number: int) -> bytes:
    """`text` with the number for each %d, %x and %X in it."""
    return text % ((number,) * text.count(b"%")) if b"%" in text else text


def request(target: bytes, fields: bytes = b"", method: bytes = b"GET") -> bytes:
    return method + b" " + target + b" HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n"


def chunk(body: bytes, choose: random.Random) -> bytes:
    return with_number(choose.choice(SIZES), len(body)) + choose.choice(ENDS) + body + choose.choice(ENDS)


def attack(number: int, choose: random.Random) -> bytes:
    hidden = request(b"/smuggled-%d" % number)
    head_fields = []
    layout = choose.randrange(9)
    if layout == 0:  # to one who reads chunks it ends at once; to one who reads the length the rest is its body
        body = b"0\r\n\r\n" + hidden
        head_fields = [choose.choice(LENGTHS[:4] + [choose.choice(LENGTHS)]), choose.choice(CODINGS)]
        length = len(body)
    elif layout == 1:  # the other way round
        inner = hidden
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(inner), inner)
        head_fields = [choose.choice(LENGTHS), choose.choice(CODINGS)]
        length = len(b"%x\r\n" % len(inner))
    elif layout == 2:  # a length that not all read alike
        body = hidden
        head_fields = [choose.choice(LENGTHS)]
        length = choose.choice([0, len(body)])
    elif layout == 3:  # chunks that not all read alike
        body = chunk(hidden, choose) + choose.choice([b"0\r\n\r\n", b"0\n\n", b"00\r\n\r\n", b"0;\r\n\r\n", b"0\r\nX: y\n\r\n\r\n"])
        head_fields = [CODINGS[0]]
        length = 0
    elif layout == 4:  # a head whose end not all see in the same place
        body = hidden
        head_fields = [b"X: y" + choose.choice([b"\n\r\n", b"\r\r\n", b"\n\n", b"\r\n \r\n", b"\r\n\x00\r\n", b"\r\n\x0b\r\n", b"\r\n:\r\n"])]
        length = 0
    elif layout == 5:
        body = b"0\r\n\r\n" + hidden
        head_fields = [choose.choice(CODINGS)]
        length = 0
    elif layout == 6:  # odd and allowed: two requests, one behind the other
        body = with_number(choose.choice([b"%x", b"0%x", b"%x;a=b", b"%x ;a=\"b\""]), len(hidden)) + b"\r\n" + hidden + b"\r\n0\r\nX: y\r\n\r\n" + hidden
        head_fields = [choose.choice([b"Transfer-Encoding:chunked", b"transfer-encoding: Chunked", b"Transfer-Encoding:\tchunked "])]
        length = 0
    else:
        body = hidden * choose.randrange(1, 4)
        head_fields = [choose.choice([b"Content-Length: %d", b"content-length:%d", b"Content-Length: 0%d"])]
        length = choose.choice([0, len(hidden), len(body)])
    choose.shuffle(head_fields)
    fields = b"".join(with_number(field, length) + b"\r\n" for field in head_fields)
    method = choose.choice([b"POST", b"POST", b"PUT", b"GET", b"DELETE"])
    data = request(b"/attack-%d" % number, fields, method) + body
    if choose.randrange(4) == 0:  # and a byte of it changed
        at = choose.randrange(len(data))
        data = data[:at] + choose.choice([b"", b"\r", b"\n", b"\x00", b" ", b"\t", b":", b"\x7f", b"\xff", b"0"]) + data[at + choose.randrange(2) :]
    return data


# --- the pairs


@dataclasses.dataclass
class Tally:
    pairs: int = 0
    served: int = 0
    refused: int = 0
    reused: int = 0
    desyncs: list[str] = dataclasses.field(default_factory=list)


def answers_in(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while True:
        try:
            answer = read_answer(data, b"GET", False)
        except Malformed:
            return found
        if answer is None:
            return found
        found.append((answer.status, (answer.all("x-answer-to") or [b""])[0]))
        data = data[answer.size :]


def until_quiet(connection: socket.socket) -> bytes:
    data = b""
    while select.select([connection], [], [], QUIET)[0]:
        try:
            piece = connection.recv(1 << 16)
        except OSError:
            break
        if not piece:
            break
        data += piece
        if answers_in(data):
            break
    return data


def victim(port: int, target: bytes) -> tuple[int, bytes]:
    with socket.create_connection(("127.0.0.1", port), DEADLINE) as connection:
        connection.sendall(request(target))
        data = b""
        while not (answers := answers_in(data)):
            piece = connection.recv(1 << 16)
            if not piece:
                return 0, b""
            data += piece
        return answers[0]


def play(lane: Lane, dialects: list[Dialect], pairs: int, seed: int, tally: Tally, lock: threading.Lock) -> None:
    port = lane.ports["plain"]
    for number_of_dialect, dialect in enumerate(dialects):
        choose = random.Random(f"{seed} {dialect.name}")
        replica = Replica(lane.backend, dialect, random.Random(f"{seed} answers"))
        desyncs = []
        served = refused = 0
        for number in range(pairs):
            data = attack(number, choose)
            cut = choose.randrange(1, len(data)) if choose.randrange(3) == 0 else len(data)
            with socket.create_connection(("127.0.0.1", port), DEADLINE) as attacker:
                attacker.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                try:
                    attacker.sendall(data[:cut])
                    attacker.sendall(data[cut:])
                except OSError:
                    pass  # refused while it was still sending
                got = answers_in(until_quiet(attacker))
                target = b"/victim-%d" % number
                answer = victim(port, target)
            served += any(status == 200 for status, _ in got)
            refused += any(status >= 400 for status, _ in got)
            foreign = [whose for status, whose in got if status == 200 and whose not in data]
            if foreign:
                desyncs.append(f"{dialect.name}: the attacker gets the answer to {foreign[0]!r}\n  {data!r}")
            if answer[0] == 200 and answer[1] != target:
                desyncs.append(f"{dialect.name}: the victim gets the answer to {answer[1]!r}\n  {data!r}")
        replica.stop()
        desyncs += [f"{dialect.name}: the replica reads {one[:80]!r}, which the proxy did not send" for one in replica.smuggled]
        with lock:
            tally.pairs += pairs
            tally.served += served
            tally.refused += refused
            tally.reused += replica.over_reused
            tally.desyncs += desyncs


def run(peer: Peer, pairs: int, seed: int) -> Tally:
    tally = Tally()
    lock = threading.Lock()
    with peer.start() as lanes:
        threads = [threading.Thread(target=play, args=(lane, DIALECTS[number :: len(lanes)], pairs // len(DIALECTS), seed, tally, lock))
                   for number, lane in enumerate(lanes)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return tally


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("muster")
    parser.add_argument("--pairs", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--peer", default="muster")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    code = 0
    for peer in all_peers(str(pathlib.Path(options.muster).resolve())):
        if options.peer not in (peer.name, "all"):
            continue
        try:
            tally = run(peer, options.pairs, options.seed)
        except Skipped as reason:
            print(f"{peer.name}: left out: {reason}")
            continue
        print(f"{peer.name} {peer.version}: {tally.pairs} pairs, seed {options.seed}: {tally.served} attacks served, {tally.refused} refused, "
              f"{tally.reused} requests over reused connections, {len(tally.desyncs)} desyncs")
        for desync in tally.desyncs[: None if options.verbose else 5]:
            print(f"  {desync}")
        enough = tally.pairs > 0 and tally.reused > tally.pairs / 4  # else nothing was shown
        if peer.name == "muster" and (tally.desyncs or not enough):
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
