"""HTTP/1.1 messages read without forgiveness (RFC 9112): the second opinion on every byte that a proxy sends.

What a lenient reader would mend is `Malformed` here, so that a proxy which passes an ambiguity on is found out.
"""
import dataclasses
import re

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") ([^\x00-\x20\x7f]+) HTTP/1\.([01])\Z")
STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*))?\Z")
FIELD_LINE = re.compile(rb"(" + TOKEN + rb"):[ \t]*([^\x00\r\n]*?)[ \t]*\Z")
CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\x00\r\n]*)?\Z")

Fields = list[tuple[bytes, bytes]]


class Malformed(Exception):
    """These bytes can be read in two ways, or in none."""


@dataclasses.dataclass
class Message:
    fields: Fields = dataclasses.field(default_factory=list)
    body: bytes = b""
    trailers: Fields = dataclasses.field(default_factory=list)
    framing: str = "none"  # none, length, chunked, close
    size: int = 0          # bytes of all of it
    minor: int = 1
    # a request
    method: bytes = b""
    target: bytes = b""
    # an answer
    status: int = 0
    reason: bytes = b""

    def all(self, name: str) -> list[bytes]:
        return [value for key, value in self.fields if key.lower() == name.lower().encode()]

    def has(self, name: str) -> bool:
        return bool(self.all(name))

    def one(self, name: str) -> bytes | None:
        """The value of a field that may occur once."""
        found = self.all(name)
        return found[0] if len(found) == 1 else None

    def list(self, name: str) -> list[bytes]:
        """The elements of a comma-separated field, in lower case."""
        return [word.strip().lower() for value in self.all(name) for word in value.split(b",") if word.strip()]


def field_lines(lines: list[bytes]) -> Fields:
    fields = []
    for line in lines:
        found = FIELD_LINE.match(line)
        if not found:
            raise Malformed(f"field line {line!r}")
        fields.append((found[1], found[2]))
    return fields


def split_head(data: bytes) -> list[bytes] | None:
    """The lines before the first empty one; None when that has not come."""
    lines = []
    at = 0
    while (end := data.find(b"\n", at)) >= 0:
        line = data[at:end]
        if not line.endswith(b"\r"):
            raise Malformed(f"line {line!r} ends with a bare LF")
        line = line[:-1]
        if b"\r" in line or b"\0" in line:
            raise Malformed(f"CR or NUL within line {line!r}")
        if not line:
            return lines
        lines.append(line)
        at = end + 1
    return None


def chunks(data: bytes) -> tuple[bytes, Fields, int] | None:
    """Body, trailers and size of a chunked body at the beginning of `data`; None when it is not all there."""
    body = b""
    at = 0
    while True:
        end = data.find(b"\n", at)
        if end < 0:
            return None
        line = data[at:end]
        found = CHUNK_SIZE.match(line[:-1])
        if not line.endswith(b"\r") or not found:
            raise Malformed(f"chunk size line {line!r}")
        at = end + 1
        size = int(found[1], 16)
        if size == 0:
            break
        if len(data) < at + size + 2:
            return None
        body += data[at : at + size]
        at += size + 2
        if data[at - 2 : at] != b"\r\n":
            raise Malformed(f"a chunk of {size} bytes is followed by {data[at - 2 : at]!r}")
    if data[at : at + 2] == b"\r\n":
        return body, [], at + 2
    lines = split_head(data[at:])
    if lines is None:
        return None
    return body, field_lines(lines), at + sum(len(line) + 2 for line in lines) + 2


def framing(message: Message) -> tuple[str, int]:
    """How the body is delimited: none, length or chunked (a coding or a length, never both, never twice)."""
    lengths, codings = message.all("content-length"), message.all("transfer-encoding")
    if lengths and codings:
        raise Malformed("Content-Length beside Transfer-Encoding")
    if len(lengths) > 1 or len(codings) > 1:
        raise Malformed(f"framed twice: {lengths or codings!r}")
    if codings:
        if codings[0].lower() != b"chunked" or message.minor == 0:
            raise Malformed(f"Transfer-Encoding {codings[0]!r} in HTTP/1.{message.minor}")
        return "chunked", 0
    if lengths:
        if not re.fullmatch(rb"[0-9]{1,19}", lengths[0]):
            raise Malformed(f"Content-Length {lengths[0]!r}")
        return "length", int(lengths[0])
    return "none", 0


def take_body(message: Message, data: bytes, at: int, length: int) -> Message | None:
    if message.framing == "length":
        if len(data) < at + length:
            return None
        message.body = data[at : at + length]
        at += length
    elif message.framing == "chunked":
        found = chunks(data[at:])
        if found is None:
            return None
        message.body, message.trailers = found[0], found[1]
        at += found[2]
    message.size = at
    return message


def head_of_request(data: bytes) -> Message | None:
    """The head alone; `size` is its own."""
    lines = split_head(data)
    if lines is None:
        return None
    first = REQUEST_LINE.match(lines[0]) if lines else None
    if not first:
        raise Malformed(f"request line {data[:80]!r}")
    message = Message(method=first[1], target=first[2], minor=int(first[3]), fields=field_lines(lines[1:]))
    if message.minor == 1 and len(message.all("host")) != 1:
        raise Malformed(f"{len(message.all('host'))} Host fields")
    message.framing = framing(message)[0]
    message.size = sum(len(line) + 2 for line in lines) + 2
    return message


def read_request(data: bytes) -> Message | None:
    """The request at the beginning of `data`; None when it is not all there."""
    message = head_of_request(data)
    if message is None:
        return None
    return take_body(message, data, message.size, framing(message)[1])


def read_answer(data: bytes, method: bytes = b"GET", ended: bool = False) -> Message | None:
    """The answer at the beginning of `data`; `ended`: the connection was closed in order behind it."""
    lines = split_head(data)
    if lines is None:
        return None
    first = STATUS_LINE.match(lines[0]) if lines else None
    if not first:
        raise Malformed(f"status line {data[:80]!r}")
    message = Message(minor=int(first[1]), status=int(first[2]), reason=first[3] or b"", fields=field_lines(lines[1:]))
    at = sum(len(line) + 2 for line in lines) + 2
    message.framing, length = framing(message)
    bodiless = message.status < 200 or message.status in (204, 304)
    if bodiless and message.status != 304 and (message.framing == "chunked" or length > 0):
        raise Malformed(f"a {message.status} that announces a body")
    if bodiless or method == b"HEAD":
        message.size = at
        return message
    if message.framing == "none":
        message.framing = "close"
        if not ended:
            return None
        message.body = data[at:]
        message.size = len(data)
        return message
    return take_body(message, data, at, length)
