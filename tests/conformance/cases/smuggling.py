"""Request smuggling and response splitting, RFC 9112 section 11: two hops must not see different messages.

Each case is a pair: bytes that some parsers read as one request and others as two. `/evil` is the second one; it must
reach the replica only where the first ends before it by the strict reading, and never as a surprise.
"""
from case import Rep, Req, answered, refused, script, section, served
from talk import Talk, get, ok
from wire import Deadline

EVIL = get(b"/evil")
INNER = b"GET /evil HTTP/1.1\r\nHost: h\r\nX: "  # swallows the first line of the next request


def request(fields: bytes, body: bytes, start: bytes = b"POST /a HTTP/1.1\r\nHost: h\r\n") -> bytes:
    return start + fields + b"\r\n\r\n" + body


CHUNKED_EVIL = b"0\r\n\r\n" + INNER
TE = b"Transfer-Encoding: chunked"
ONE = (Req(b"/a", body=CHUNKED_EVIL),)
BY_CODING = (Req(b"/a"),)  # and the connection closed: what follows is nothing

section("9112 11.2")


def cl_te(name: str, why: str, fields: bytes, *, served_as: tuple[Req, ...] | None = None, start: bytes = b"POST /a HTTP/1.1\r\nHost: h\r\n") -> None:
    """The body ends by length behind INNER, by chunks before it."""
    refused(f"smuggling-{name}", why, request(fields.replace(b"<N>", b"%d" % len(CHUNKED_EVIL)), CHUNKED_EVIL, start), lenient=served_as)


cl_te("length-then-coding", "One hop by length, the other by chunks.", b"Content-Length: <N>\r\n" + TE, served_as=BY_CODING)
cl_te("coding-then-length", "One hop by length, the other by chunks.", TE + b"\r\nContent-Length: <N>", served_as=BY_CODING)
cl_te("coding-behind-a-space", "\"Transfer-Encoding :\" is a coding to one, unknown to the other.",
      b"Content-Length: <N>\r\nTransfer-Encoding : chunked")
cl_te("coding-folded", "A folded coding is one to some.", b"Content-Length: <N>\r\nTransfer-Encoding:\r\n chunked", served_as=BY_CODING)
cl_te("coding-in-a-folded-line", "A folded line is a coding to those who do not fold.", b"Content-Length: <N>\r\nX: y\r\n Transfer-Encoding: chunked",
      served_as=ONE)
cl_te("coding-behind-a-tab", "A tab before the name.", b"Content-Length: <N>\r\n\tTransfer-Encoding: chunked", served_as=ONE)
cl_te("coding-with-a-vertical-tab", "A vertical tab is white space to some.", b"Content-Length: <N>\r\nTransfer-Encoding: \x0bchunked")
cl_te("coding-with-x", "xchunked is chunked to those who search for it.", b"Content-Length: <N>\r\nTransfer-Encoding: xchunked")
cl_te("coding-with-quotes", "Quotes are taken off by some.", b"Content-Length: <N>\r\nTransfer-Encoding: \"chunked\"")
cl_te("coding-identity-then-chunked", "The first or the last line of two.", b"Content-Length: <N>\r\nTransfer-Encoding: identity\r\n" + TE)
cl_te("coding-chunked-then-identity", "The first or the last line of two.", b"Content-Length: <N>\r\n" + TE + b"\r\nTransfer-Encoding: identity")
cl_te("coding-chunked-in-a-list", "The first or the last element of a list.", b"Content-Length: <N>\r\nTransfer-Encoding: chunked, cow")
cl_te("coding-behind-lf", "A lone LF ends a line for some.", b"Content-Length: <N>\r\nX: y\nTransfer-Encoding: chunked", served_as=BY_CODING)
cl_te("coding-behind-cr", "A lone CR ends a line for some.", b"Content-Length: <N>\r\nX: y\rTransfer-Encoding: chunked")
cl_te("coding-behind-nul", "NUL ends a string for some.", b"Content-Length: <N>\r\nX: y\0\r\nTransfer-Encoding: chunked")
cl_te("coding-name-with-nul", "NUL ends a string for some.", b"Content-Length: <N>\r\nTransfer-Encoding\0: chunked")
cl_te("coding-value-with-nul", "NUL ends a string for some.", b"Content-Length: <N>\r\nTransfer-Encoding: chunked\0x")
cl_te("coding-before-a-cr", "A CR before CRLF is dropped by some.", b"Content-Length: <N>\r\nTransfer-Encoding: chunked\r")
cl_te("coding-with-high-bytes", "A non-breaking space is white space to some.", b"Content-Length: <N>\r\nTransfer-Encoding: \xa0chunked")
cl_te("coding-without-a-space-in-1-0", "HTTP/1.0 knows no coding; some read it.", b"Content-Length: <N>\r\n" + TE,
      start=b"POST /a HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n")
cl_te("coding-named-by-connection", "A coding that Connection takes away leaves the length.",
      b"Content-Length: <N>\r\nConnection: Transfer-Encoding\r\n" + TE, served_as=BY_CODING)
refused("smuggling-coding-with-an-underscore", "CGI makes one name of Transfer_Encoding and Transfer-Encoding: to HTTP it is another field.",
        request(b"Content-Length: %d\r\nTransfer_Encoding: chunked" % len(CHUNKED_EVIL), CHUNKED_EVIL), lenient=ONE)
served("smuggling-address-with-an-underscore", "X_Forwarded_For is who the client is, to CGI.",
       request(b"X_Forwarded-For: 10.0.0.1\r\nContent-Length: 0", b""), seen=(Req(b"/a", lacks=("x_forwarded-for",)),), may_refuse=True)
served("smuggling-coding-with-a-dot", "Names that only look alike frame nothing.",
       request(b"Content-Length: %d\r\nTransfer.Encoding: chunked" % len(CHUNKED_EVIL), CHUNKED_EVIL), seen=ONE, may_refuse=True)

TWO = b"Content-Length: 0\r\nContent-Length: %d" % len(EVIL)
refused("smuggling-two-lengths", "The first or the last of two lengths.", request(TWO, EVIL))
refused("smuggling-two-lengths-the-other-way", "The first or the last of two lengths.",
        request(b"Content-Length: %d\r\nContent-Length: 0" % len(EVIL), EVIL))
refused("smuggling-length-list", "The first or the last of a list.", request(b"Content-Length: 0, %d" % len(EVIL), EVIL))
refused("smuggling-length-behind-a-space", "\"Content-Length :\" is a length to one, unknown to the other.",
        request(b"Content-Length : %d" % len(EVIL), EVIL))
refused("smuggling-length-plus", "+N is N to strtol.", request(b"Content-Length: +%d" % len(EVIL), EVIL))
refused("smuggling-length-minus", "A negative length is no body to some.", request(b"Content-Length: -%d" % len(EVIL), EVIL))
refused("smuggling-length-hexadecimal", "0x10 is 0 to atoi and 16 to strtol.", request(b"Content-Length: 0x%x" % len(EVIL), EVIL))
refused("smuggling-length-with-a-space-inside", "\"1 0\" is 1 to some, 10 to others.", request(b"Content-Length: 3 %d" % len(EVIL), EVIL))
refused("smuggling-length-modulo-2-32", "A length modulo 2^32.", request(b"Content-Length: %d" % (1 << 64), EVIL), status=(400, 413))
refused("smuggling-length-folded", "A folded length.", request(b"Content-Length:\r\n %d" % len(EVIL), EVIL), lenient=(Req(b"/a", body=EVIL),))
refused("smuggling-length-behind-nul", "NUL ends a string for some.", request(b"X: \0\r\nContent-Length: %d" % len(EVIL), EVIL))
refused("smuggling-length-with-a-high-digit", "A digit of another alphabet.", request(b"Content-Length: \xb2%d" % len(EVIL), EVIL))
refused("smuggling-length-named-by-connection", "A length that Connection takes away leaves a body without framing.",
        request(b"Connection: Content-Length\r\nContent-Length: %d" % len(EVIL), EVIL),
        lenient=(Req(b"/a", body=EVIL),))
refused("smuggling-length-with-an-underscore", "Content_Length is another field to HTTP, and Content-Length to CGI.",
        request(b"Content_Length: %d" % len(EVIL), EVIL), lenient=(Req(b"/a"), Req(b"/evil")))
served("smuggling-a-body-of-get", "A body of GET is a body: what it holds is no request.",
       request(b"Content-Length: %d" % len(EVIL), EVIL, b"GET /a HTTP/1.1\r\nHost: h\r\n"), seen=(Req(b"/a", b"GET", EVIL),))
served("smuggling-a-body-of-head", "A body of HEAD is a body: what it holds is no request.",
       request(b"Content-Length: %d" % len(EVIL), EVIL, b"HEAD /a HTTP/1.1\r\nHost: h\r\n"), seen=(Req(b"/a", b"HEAD", EVIL),),
       may_refuse=True)
served("smuggling-a-body-of-options", "A body of OPTIONS is a body: what it holds is no request.",
       request(b"Content-Length: %d" % len(EVIL), EVIL, b"OPTIONS /a HTTP/1.1\r\nHost: h\r\n"),
       seen=(Req(b"/a", b"OPTIONS", EVIL),))
served("smuggling-a-body-with-upgrade", "An upgrade that is not granted changes nothing about the body.",
       request(b"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: %d" % len(EVIL), EVIL),
       seen=(Req(b"/a", b"POST", EVIL),))

CHUNK = b"POST /a HTTP/1.1\r\nHost: h\r\n" + TE + b"\r\n\r\n"
for name, why, body in (
        ("chunk-size-by-lf", "A chunk line that ends with LF.", b"1\nA\r\n0\r\n\r\n"),
        ("chunk-extension-lf", "LF in an extension: the line ends there for some.", b"5;\nAAAAA\r\n0\r\n\r\n" + EVIL),
        ("chunk-extension-cr", "CR in an extension: the line ends there for some.", b"5;\rAAAAA\r\n0\r\n\r\n" + EVIL),
        ("chunk-size-cr", "A CR without LF behind the size.", b"2\r\r;a\r\n02\r\n41\r\n0\r\n\r\n" + EVIL),
        ("chunk-data-two-bytes", "Any two bytes taken as the CRLF behind data.", b"5\r\nAAAAAXX2\r\n45\r\n0\r\n\r\n" + EVIL),
        ("chunk-data-lf-only", "LF alone taken as the CRLF behind data.", b"5\r\nAAAAA\n0\r\n\r\n" + EVIL),
        ("chunk-size-0x", "0x prefixes are taken by strtol.", b"0x%x\r\n" % len(EVIL) + EVIL + b"\r\n0\r\n\r\n"),
        ("chunk-size-modulo-2-64", "A size modulo 2^64.", b"10000000000000000\r\n\r\n" + EVIL),
        ("chunk-size-modulo-2-32", "A size that is negative in 64 bits.", b"ffffffff00000000\r\n\r\n" + EVIL),
        ("chunk-size-minus", "A negative size.", b"-1\r\n\r\n" + EVIL),
        ("chunk-size-empty", "An empty size is 0 to strtol.", b"\r\n\r\n" + EVIL),
        ("chunk-size-underscore", "Digits with an underscore are taken by some languages.", b"0_0\r\n\r\n" + EVIL),
        ("chunk-trailer-lf", "LF ends the trailers for some.", b"0\r\nX: y\n\n" + EVIL + b"\r\n"),
        ("chunk-last-lf", "The last empty line as LF.", b"0\r\n\n" + EVIL),
):
    refused(f"smuggling-{name}", why, CHUNK + body, begun=True, lenient=(Req(b"/a", body=None),) if name == "chunk-trailer-lf" else None)
served("smuggling-behind-the-last-chunk", "Behind the last chunk begins the next request, and nothing else.", CHUNK + b"0\r\n\r\n" + get(b"/b"),
       seen=(Req(b"/a"), Req(b"/b")))
served("smuggling-trailer-with-a-length", "A length among the trailers frames nothing.", CHUNK + b"0\r\nContent-Length: 100\r\n\r\n" + get(b"/b"),
       seen=(Req(b"/a"), Req(b"/b")), may_refuse=True)
served("smuggling-trailer-with-a-coding", "A coding among the trailers frames nothing.",
       CHUNK + b"0\r\nTransfer-Encoding: chunked\r\n\r\n" + get(b"/b"), seen=(Req(b"/a"), Req(b"/b")), may_refuse=True)

SPLIT = "Bytes that would begin a new line at the next hop never go on."
refused("splitting-target-with-crlf", SPLIT, b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n".replace(b"/a", b"/a\rX"))
refused("splitting-value-with-lf", SPLIT, b"GET /a HTTP/1.1\r\nHost: h\r\nX: y\n\nGET /evil HTTP/1.1\r\nHost: h\r\n\r\n",
        lenient=(Req(b"/a"), Req(b"/evil")))
refused("splitting-value-with-cr", SPLIT, b"GET /a HTTP/1.1\r\nHost: h\r\nX: y\r\rGET /evil HTTP/1.1\r\nHost: h\r\n\r\n")
refused("splitting-absolute-form-with-a-space", SPLIT, b"GET http://h/a b HTTP/1.1\r\nHost: h\r\n\r\n")
refused("splitting-method-with-a-line", SPLIT, b"GET /evil HTTP/1.1\nX: y /a HTTP/1.1\r\nHost: h\r\n\r\n", lenient=(Req(b"/evil"),))
refused("splitting-http-0-9-by-the-version", "A request without a version is HTTP/0.9 to some, and its fields a second request.",
        b"GET /a\r\nGET /evil HTTP/1.1\r\nHost: h\r\n\r\n")
served("splitting-percent-encoded", "%0d%0a stays as it is: a proxy decodes nothing.", get(b"/a%0d%0aX:%20y"), seen=(Req(b"/a%0d%0aX:%20y"),),
       may_refuse=True)

section("9112 11.1")
DESYNC = "What a replica sends too much is never the answer to somebody else."
answered("desync-two-answers", DESYNC, ok(b"hi") + ok(b"evil"), rep=Rep(body=b"hi"), reused=False)
answered("desync-head-with-a-body", DESYNC, ok(ok(b"evil")), rep=Rep(body=b""), method=b"HEAD", reused=False)
answered("desync-304-with-a-body", DESYNC, b"HTTP/1.1 304 x\r\nContent-Length: 38\r\n\r\n" + ok(b"evil"), rep=Rep(304, b""), reused=False)
answered("desync-204-with-an-answer", DESYNC, b"HTTP/1.1 204 x\r\n\r\n" + ok(b"evil"), rep=Rep(204, b""), reused=False)
answered("desync-coding-and-length", DESYNC, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n" + TE + b"\r\n\r\n0\r\n\r\n" + ok(b"evil"), rep=None,
         end="close", lenient=(Rep(body=b""),))
answered("desync-two-lengths", DESYNC, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 38\r\n\r\n" + ok(b"evil"), rep=None, end="close")
answered("desync-length-beyond-64-bits", DESYNC, b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\n" + ok(b"evil"), rep=None,
         end="close")
answered("desync-splitting-by-cr", "A lone CR in a value would be a line end to some clients.",
         b"HTTP/1.1 200 OK\r\nX: y\rSet-Cookie: evil\r\nContent-Length: 2\r\n\r\nhi", rep=None, end="close",
         lenient=(Rep(body=b"hi", lacks=("set-cookie",)),))


@script("A request that breaks off leaves nothing that the next client's request is appended to.")
def poisoned_connection(talk: Talk) -> None:
    victim = talk.client()
    attacker = talk.client()
    attacker.send(b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n" + INNER)
    attacker.until_read()
    attacker.close()
    victim.send(get(b"/b", b"Connection: close\r\n"))
    talk.serve(victim, lambda: bool(victim.end), Deadline(talk.seconds), "the end of the victim's connection")
    talk.equal([r.target for r in talk.requests], [b"/b"], "whole requests at the replica")
    talk.equal(victim.answer().body, b"answer to /b", "what the victim gets")


@script("Answers to a client that has left are not given to the next one.")
def answer_of_a_client_that_left(talk: Talk) -> None:
    attacker = talk.client()
    attacker.send(get(b"/a"))
    first = talk.upstream()
    first.request()
    attacker.reset()
    first.send(ok(b"a"))
    victim = talk.client()
    victim.send(get(b"/b", b"Connection: close\r\n"))
    talk.serve(victim, lambda: bool(victim.end), Deadline(talk.seconds), "the end of the victim's connection")
    talk.equal(victim.answer().body, b"answer to /b", "what the victim gets")
