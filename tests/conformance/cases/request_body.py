"""Where a request ends: RFC 9112 sections 6, 7 and 8."""
from case import Req, add, refused, script, section, served
from talk import Talk, get, post
from wire import Client, Deadline

ABC = (Req(body=b"abc"),)
ROOT = (Req(),)


def chunked(body: bytes, fields: bytes = b"", target: bytes = b"/") -> bytes:
    return b"POST %s HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n%s\r\n%s" % (target, fields, body)


def coded(value: bytes, body: bytes = b"3\r\nabc\r\n0\r\n\r\n") -> bytes:
    return b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: %s\r\n\r\n%s" % (value, body)


def sized(value: bytes, body: bytes = b"abc") -> bytes:
    return b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %s\r\n\r\n%s" % (value, body)


section("9112 6.1")
BOTH = "Length beside coding: refused, or the length dropped and the connection closed."
for name, fields in (("length-first", b"Content-Length: 13\r\nTransfer-Encoding: chunked"),
                     ("coding-first", b"Transfer-Encoding: chunked\r\nContent-Length: 13"),
                     ("length-0", b"Content-Length: 0\r\nTransfer-Encoding: chunked"),
                     ("apart", b"Content-Length: 3\r\nX: y\r\nTransfer-Encoding: chunked")):
    refused(f"coding-and-{name}", BOTH, b"POST / HTTP/1.1\r\nHost: h\r\n" + fields + b"\r\n\r\n3\r\nabc\r\n0\r\n\r\n", lenient=(Req(body=b"abc"),))
refused("coding-in-1-0", "Transfer-Encoding in HTTP/1.0 is faulty framing.",
        b"POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", lenient=ABC)
refused("coding-and-length-in-1-0", "Transfer-Encoding in HTTP/1.0 is faulty framing, also beside a length.",
        b"POST / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\nContent-Length: 13\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        lenient=ABC)
UNKNOWN = "A coding that is not understood, or a last one that is not chunked, is refused: the end cannot be known."
for name, value in (("unknown", b"xchunked"), ("identity", b"identity"), ("chunked-then-identity", b"chunked, identity"), ("gzip-alone", b"gzip"),
                    ("with-a-parameter", b"chunked;q=1"),
                    ("quoted", b"\"chunked\""), ("twice", b"chunked, chunked"), ("cut-short", b"chunke"), ("behind-a-vertical-tab", b"\x0bchunked"),
                    ("with-nul", b"chunked\0"),
                    ("empty", b""), ("of-two-words", b"chunked chunked"), ("beyond-ascii", b"\xc5\xbfchunked"), ("in-brackets", b"[chunked]")):
    refused(f"coding-{name}", UNKNOWN, coded(value))
refused("coding-gzip-then-chunked", "A coding before chunked may be refused, or goes on unseen.", coded(b"gzip, chunked"), lenient=ABC)
refused("coding-with-an-empty-element", "Empty list elements may be skipped.", coded(b"chunked,"), lenient=ABC)
refused("coding-on-two-lines", "Two lines are one list: here chunked twice.",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
refused("coding-on-two-lines-the-second-unknown", "Two lines are one list: here the last one is not chunked.",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
refused("coding-on-two-lines-the-first-unknown", "Two lines are one list: here one of them is not understood.",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", lenient=ABC)
served("coding-in-upper-case", "Names of codings have no case.", coded(b"CHUNKED"), seen=ABC)
served("coding-with-white-space", "White space around a value is no part of it.", coded(b" \tchunked \t"), seen=ABC)
refused("coding-by-an-underscore", "Transfer_Encoding is a field like any other, and frames nothing; to CGI it is Transfer-Encoding.",
        b"GET / HTTP/1.1\r\nHost: h\r\nTransfer_Encoding: chunked\r\n\r\n", lenient=ROOT)

section("9112 6.2")
LENGTH = "Content-Length is digits alone."
for name, value in (("plus", b"+3"), ("minus", b"-3"), ("minus-0", b"-0"), ("of-two-words", b"3 3"), ("hexadecimal", b"0x3"),
                    ("with-a-fraction", b"3.0"), ("empty", b""), ("a-word", b"three"),
                    ("with-a-letter", b"3a"), ("with-an-exponent", b"3e0"), ("quoted", b"\"3\""), ("with-a-parameter", b"3;x"),
                    ("behind-a-vertical-tab", b"\x0b3"), ("with-nul", b"3\0"),
                    ("beyond-ascii", b"\xb2"), ("with-underscore", b"1_0"), ("unequal-list", b"3, 4")):
    refused(f"length-{name}", LENGTH, sized(value))
for name, value in (("2-63", b"9223372036854775808"), ("2-64", b"18446744073709551616"), ("2-64-plus-3", b"18446744073709551619"),
                    ("of-400-digits", b"9" * 400)):
    refused(f"length-{name}", "A length that overflows is refused, never taken modulo.", sized(value), status=(400, 413))
SAME = "A repeated equal length is refused, or becomes one."
refused("length-list-of-equals", SAME, sized(b"3, 3"), lenient=(Req(body=b"abc", has={"content-length": b"3"}),))
refused("length-twice-the-same", SAME, b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        lenient=(Req(body=b"abc", has={"content-length": b"3"}),))
refused("length-twice", "Two lengths that differ: 400.", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd")
refused("length-twice-0-first", "Two lengths that differ: 400.", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nContent-Length: 3\r\n\r\nabc")
served("length-with-zeros-in-front", "Zeros in front are digits.", sized(b"0003"), seen=ABC, may_refuse=True)
served("length-with-white-space", "White space around a value is no part of it.", sized(b"\t 3 "), seen=ABC)
served("length-0", "A body may be empty.", sized(b"0", b""), seen=ROOT)
refused("length-by-an-underscore", "Content_Length is a field like any other, and frames nothing; to CGI it is Content-Length.",
        b"GET / HTTP/1.1\r\nHost: h\r\nContent_Length: 30\r\n\r\n", lenient=ROOT)

section("9112 6.3")
served("no-length-no-body", "A request without length and coding has no body.", b"POST /a HTTP/1.1\r\nHost: h\r\n\r\n" + get(b"/b"),
       seen=(Req(b"/a"), Req(b"/b")))
for method in (b"GET", b"DELETE", b"OPTIONS", b"PATCH", b"QUERY"):
    served(f"body-of-{method.decode().lower()}", "Whether a body follows depends on the framing, not on the method.",
           b"%s /a HTTP/1.1\r\nHost: h\r\nContent-Length: 28\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n" % method,
           seen=(Req(b"/a", method, b"GET /b HTTP/1.1\r\nHost: h\r\n\r\n"),),
           may_refuse=method == b"QUERY")
served("chunked-body-of-get", "Whether a body follows depends on the framing, not on the method.",
       b"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", seen=ABC)
served("body-byte-by-byte", "A body is the same however TCP cuts it.", sized(b"3", b""), b"a", b"b", b"c", seen=ABC)
served("body-that-looks-like-a-request", "What lies within the length is body.", post(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n"),
       seen=(Req(body=b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n"),))
served("body-with-every-byte", "A body is bytes.", post(bytes(range(256))), seen=(Req(body=bytes(range(256))),))
served("body-of-200-kib", "A body larger than any buffer arrives whole.", post(bytes(range(256)) * 800), seen=(Req(body=bytes(range(256)) * 800),))

section("9112 7.1")
for name, body, wanted in (("plain", b"3\r\nabc\r\n0\r\n\r\n", b"abc"), ("two", b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", b"abc"),
                           ("in-upper-case", b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
                           ("in-lower-case", b"a\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
                           ("with-zeros-in-front", b"0003\r\nabc\r\n0\r\n\r\n", b"abc"),
                           ("with-many-last-zeros", b"3\r\nabc\r\n0000\r\n\r\n", b"abc"), ("none", b"0\r\n\r\n", b""),
                           ("that-hold-their-own-end", b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n"),
                           ("with-every-byte", b"100\r\n" + bytes(range(256)) + b"\r\n0\r\n\r\n", bytes(range(256)))):
    served(f"chunks-{name}", "A chunked body is taken apart and arrives as it is.", chunked(body), seen=(Req(body=wanted),))
served("chunks-byte-by-byte", "Chunks are the same however TCP cuts them.", chunked(b""), *[bytes([b]) for b in b"3;x=y\r\nabc\r\n0\r\nX: y\r\n\r\n"],
       seen=ABC)
served("chunks-of-one-byte", "Many small chunks arrive whole.", chunked(b"1\r\nx\r\n" * 5000 + b"0\r\n\r\n"), seen=(Req(body=b"x" * 5000),))
served("chunks-of-200-kib", "A chunk larger than any buffer arrives whole.", chunked(b"%x\r\n%s\r\n0\r\n\r\n" % (200 << 10, b"x" * (200 << 10))),
       seen=(Req(body=b"x" * (200 << 10)),))
served("chunks-then-another-request", "The next request begins behind the last chunk's empty line.",
       chunked(b"3\r\nabc\r\n0\r\n\r\n", target=b"/a") + get(b"/b"),
       seen=(Req(b"/a", body=b"abc"), Req(b"/b")))
SIZE = "A chunk size is 1*HEXDIG that fits the recipient's integers."
for name, body in (("size-empty", b"\r\nabc\r\n0\r\n\r\n"), ("size-a-word", b"g\r\nabc\r\n0\r\n\r\n"), ("size-0x3", b"0x3\r\nabc\r\n0\r\n\r\n"),
                   ("size-minus", b"-3\r\nabc\r\n0\r\n\r\n"),
                   ("size-plus", b"+3\r\nabc\r\n0\r\n\r\n"), ("size-behind-a-space", b" 3\r\nabc\r\n0\r\n\r\n"),
                   ("size-with-a-letter", b"3x\r\nabc\r\n0\r\n\r\n"),
                   ("size-2-64", b"10000000000000003\r\nabc\r\n0\r\n\r\n"), ("size-2-64-minus-1", b"ffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
                   ("size-2-63", b"8000000000000000\r\nabc\r\n0\r\n\r\n"),
                   ("size-beyond-ascii", b"\xb3\r\nabc\r\n0\r\n\r\n"), ("size-with-nul", b"3\0\r\nabc\r\n0\r\n\r\n"),
                   ("size-underscored", b"0_3\r\nabc\r\n0\r\n\r\n")):
    refused(f"chunk-{name}", SIZE, chunked(body), begun=True)
refused("chunk-size-behind-many-zeros", "More digits than any number needs may be refused.", chunked(b"0" * 40 + b"3\r\nabc\r\n0\r\n\r\n"),
        lenient=ABC, begun=True)
LINES = "Chunk lines end with CRLF; here a recipient has no licence to take LF alone."
for name, body in (("size-ended-by-lf", b"3\nabc\r\n0\r\n\r\n"), ("size-ended-by-cr", b"3\rabc\r\n0\r\n\r\n"),
                   ("size-ended-by-cr-x", b"3\rXabc\r\n0\r\n\r\n"), ("data-ended-by-lf", b"3\r\nabc\n0\r\n\r\n"),
                   ("data-ended-by-nothing", b"3\r\nabc0\r\n\r\n"), ("data-too-long", b"3\r\nabcd\r\n0\r\n\r\n"),
                   ("data-ended-by-two-bytes", b"3\r\nabcXX0\r\n\r\n"),
                   ("last-ended-by-lf", b"3\r\nabc\r\n0\n\r\n"), ("end-by-lf", b"3\r\nabc\r\n0\r\n\n"), ("end-by-cr-x", b"3\r\nabc\r\n0\r\n\rX")):
    refused(f"chunk-{name}", LINES, chunked(body), begun=True)

section("9112 7.1.1")
for name, line in (("name", b"3;x"), ("name-and-value", b"3;x=y"), ("two", b"3;x=y;z"), ("quoted", b"3;x=\"y;z\""), ("with-white-space", b"3 ;x"),
                   ("on-the-last-chunk", b"3")):
    served(f"chunk-extension-{name}", "Extensions that are not understood are ignored.",
           chunked(line + b"\r\nabc\r\n0" + (b";x=y" if line == b"3" else b"") + b"\r\n\r\n"), seen=ABC)
EXTENSION = "An extension with a control byte or a lone line end is read in two ways."
for name, line in (("lf", b"3;x\ny"), ("cr", b"3;x\ry"), ("nul", b"3;x\0y")):
    refused(f"chunk-extension-with-{name}", EXTENSION, chunked(line + b"\r\nabc\r\n0\r\n\r\n"), begun=True, lenient=ABC if name == "nul" else None)
refused("chunk-extension-too-long", "The length of extensions is limited.", chunked(b"3;" + b"x" * 300 + b"\r\nabc\r\n0\r\n\r\n"), begun=True,
        lenient=ABC)
refused("chunk-extensions-in-all-too-long", "Their sum is limited too.", chunked(b"1;%s\r\nx\r\n" % (b"x" * 200) * 30 + b"0\r\n\r\n"), begun=True,
        lenient=(Req(body=b"x" * 30),))
refused("chunk-size-with-white-space", "White space behind a size is for extensions alone; some take it.", chunked(b"3 \r\nabc\r\n0\r\n\r\n"),
        begun=True, lenient=ABC)

section("9112 7.1.2")
served("trailers", "Trailer fields arrive, or are dropped; they are no header fields.",
       chunked(b"3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n", b"Trailer: X-Sum\r\n"), seen=(Req(body=b"abc", lacks=("x-sum",)),))


@script("muster passes trailer fields on, behind the body.")
def trailers_arrive(talk: Talk) -> None:
    client = talk.client()
    client.send(chunked(b"3\r\nabc\r\n0\r\nX-Sum: 1\r\nX-More:  2 \r\n\r\n"))
    request = talk.upstream().request()
    talk.equal(request.body, b"abc", "body")
    talk.promise([(name.lower(), value) for name, value in request.trailers] == [(b"x-sum", b"1"), (b"x-more", b"2")],
                 f"trailers: {request.trailers}")


@script("Trailers that would frame, route or authorise are not merged, and muster drops them (RFC 9110 6.5.1).")
def trailers_that_must_not_be(talk: Talk) -> None:
    client = talk.client()
    client.send(chunked(b"3\r\nabc\r\n0\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\nHost: evil\r\nConnection: close\r\nX: y\r\n\r\n"))
    request = talk.upstream().request()
    for name in ("content-length", "connection"):
        talk.check(not request.has(name) or name == "content-length" and request.framing == "length", f"{name} became a header field")
    talk.equal(request.all("host"), [b"h"], "Host")
    talk.promise([name.lower() for name, _ in request.trailers] == [b"x"], f"trailers: {request.trailers}")


for name, trailer in (("folded", b"X: y\r\n z\r\n"), ("without-a-colon", b"X\r\n"), ("with-a-space-before-the-colon", b"X : y\r\n"),
                      ("with-nul", b"X: \0\r\n"), ("with-lf", b"X: y\nZ: z\r\n"),
                      ("with-an-empty-name", b": y\r\n")):
    refused(f"trailers-{name}", "Trailer lines are held to the rules of field lines.", chunked(b"3\r\nabc\r\n0\r\n" + trailer + b"\r\n"), begun=True,
            lenient=ABC)
refused("trailers-too-long", "The length of trailers is limited.", chunked(b"3\r\nabc\r\n0\r\n" + b"X: %s\r\n" % (b"y" * 1000) * 12 + b"\r\n"),
        begun=True, lenient=ABC)

section("9112 8")


def breaks_off(name: str, *pieces: bytes) -> None:
    def play(talk: Talk) -> None:
        client = talk.client()
        client.send(*pieces)
        client.until_read()
        client.end_sending()
        nothing_whole(talk, client)

    add(name, "A request that breaks off is no request: the replica must not see a whole one.", play)


def nothing_whole(talk: Talk, client: Client) -> None:
    """Plays the replica until the client's connection is over: no whole request may have come."""
    talk.serve(client, lambda: bool(client.end), Deadline(talk.seconds), "the end of the client's connection")
    talk.finish()
    talk.equal([r.target for r in talk.requests], [], "whole requests at the replica")
    talk.check(not client.data or client.data.startswith(b"HTTP/1.1 4") or client.data.startswith(b"HTTP/1.1 5"), f"the client gets {client.data!r}")


breaks_off("cut-off-in-the-head", b"GET / HTTP/1.1\r\nHost: h\r\n")
breaks_off("cut-off-in-the-request-line", b"GET / HT")
breaks_off("cut-off-before-the-last-lf", b"GET / HTTP/1.1\r\nHost: h\r\n\r")
breaks_off("cut-off-in-a-body-by-length", sized(b"10", b"abc"))
breaks_off("cut-off-before-a-body-by-length", sized(b"10", b""))
breaks_off("cut-off-in-a-chunk", chunked(b"a\r\nabc"))
breaks_off("cut-off-between-chunks", chunked(b"3\r\nabc\r\n"))
breaks_off("cut-off-in-a-chunk-size", chunked(b"3\r\nabc\r\n1"))
breaks_off("cut-off-behind-the-last-chunk", chunked(b"3\r\nabc\r\n0\r\n"))
breaks_off("cut-off-in-the-trailers", chunked(b"3\r\nabc\r\n0\r\nX: y\r\n"))
