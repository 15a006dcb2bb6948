"""HEAD, 204, 304, interim answers and Expect: RFC 9110 sections 9, 10 and 15."""
import typing

from case import Rep, Req, add, answered, cut_off, refused, script, section, served
from talk import Talk, get, ok, post
from wire import Deadline

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
EXPECTS = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"


def head(name: str, why: str, answer: bytes, **more: typing.Any) -> None:
    answered(name, why, answer, method=b"HEAD", **more)


section("9110 9.3.2")
head("head-with-a-length", "An answer to HEAD announces a length and has no body.", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
     rep=Rep(body=b"", has={"content-length": b"1000"}), reused=True)
head("head-with-a-coding", "An answer to HEAD announces a coding and has no body.", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
     rep=Rep(body=b""), reused=True)
head("head-with-neither", "An answer to HEAD without a length does not wait for the close.", b"HTTP/1.1 200 OK\r\n\r\n", rep=Rep(body=b""))
head("head-with-a-body", "Bytes behind an answer to HEAD are no body and no answer.", ok(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"),
     rep=Rep(body=b""), reused=False)
head("head-with-a-chunked-body", "Bytes behind an answer to HEAD are no body and no answer.",
     b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n", rep=Rep(body=b""), reused=False)
head("head-to-an-error", "An answer of any status to HEAD has no body.", b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\n",
     rep=Rep(404, b"", has={"content-length": b"5"}), reused=True)
head("head-to-a-bad-answer", "The proxy's own answer to HEAD has no body either.", b"bad\r\n\r\n", rep=None, end="close")
served("head-to-the-proxy-itself", "The proxy's own answer to HEAD has no body either.", get(b"/a", method=b"HEAD"), seen=(Req(b"/a", b"HEAD"),),
       answers=(b"HTTP/1.1 20 x\r\n\r\n",), got=(Rep(502, b""),),
       may_refuse=True)


def head_refused(name: str, request: bytes, status: int) -> None:
    """What the proxy itself answers to HEAD ends behind its head."""

    def play(talk: Talk) -> None:
        client = talk.client()
        client.send(request)
        answer = client.answer(b"HEAD")
        talk.check(answer.status >= 400, f"status {answer.status}")
        talk.promise(answer.status == status, f"{status}, not {answer.status}")
        client.until_end()
        talk.equal(client.data, b"", "bytes behind the answer's head")

    add(name, "The proxy's own answer to HEAD has no body either.", play)


head_refused("head-with-two-hosts", b"HEAD / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400)
head_refused("head-with-a-bad-field", b"HEAD / HTTP/1.1\r\nHost: h\r\nX : y\r\n\r\n", 400)
head_refused("head-with-too-many-fields", b"HEAD / HTTP/1.1\r\nHost: h\r\n" + b"".join(b"X%d: %s\r\n" % (n,
                                                                                                         b"y" * 1000) for n in range(70)) + b"\r\n",
             431)

section("9110 6.6.1")
answered("date-of-the-replica", "A Date that is there stays.", ok(b"hi", b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"),
         rep=Rep(body=b"hi", has={"date": b"Sun, 06 Nov 1994 08:49:37 GMT"}))


@script("A Date that is not there is added on the way.")
def date_is_added(talk: Talk) -> None:
    replies, _ = talk.exchange((get(),), [b"GET"])
    talk.finish()
    talk.check(replies[0].has("date"), "no Date")


section("9110 9.2.2")


@script("A request that may be repeated may be sent again when the replica closed without an answer; the client gets one answer.")
def get_is_repeated(talk: Talk) -> None:
    client = talk.client()
    client.send(get(b"/a"))
    first = talk.upstream()
    first.request()
    first.end_sending()
    first.until_end()
    talk.serve(client, lambda: b"\r\n\r\n" in client.data, Deadline(talk.seconds), "an answer")
    answer = client.answer()
    talk.check(answer.status == 200 or answer.status >= 500, f"status {answer.status}")
    talk.promise(answer.body == b"answer to /a", "the answer of another try")


@script("A request that may be repeated is not sent again once the client has part of an answer.")
def get_is_not_repeated_behind_a_head(talk: Talk) -> None:
    talk.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"]
    talk.answer_end = "close"
    talk.exchange((get(b"/a"),), [b"GET"])
    talk.finish()
    talk.equal([r.target for r in talk.requests], [b"/a"], "requests at the replica")


@script("A replica that closes in the middle of a request that may not be repeated: an error, and no second try.")
def post_cut_off_by_the_replica(talk: Talk) -> None:
    client = talk.client()
    client.send(b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc")
    upstream = talk.upstream()
    upstream.head()
    upstream.body(3)
    upstream.close()
    talk.serve(client, lambda: bool(client.end) or b"\r\n\r\n" in client.data, Deadline(talk.seconds), "an answer, or the end")
    talk.check(not client.data or client.answer(b"POST").status >= 500, "no error")
    talk.finish()
    talk.equal(talk.requests, [], "whole requests at the replica")


section("9110 15.3.5")
answered("204", "204 has no body.", b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n",
         rep=Rep(204, b"", has={"x": b"y"}, lacks=("content-length", "transfer-encoding")), reused=True)
answered("204-with-length-0", "204 has no Content-Length; one of 0 does no harm.", b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
         rep=Rep(204, b""))
answered("204-with-a-length", "204 ends behind its head: a length there is an error of the replica.",
         b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", rep=None, end="close", lenient=(Rep(204, b""),))
answered("204-with-a-coding", "204 ends behind its head: a coding there is an error of the replica.",
         b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", rep=None, end="close", lenient=(Rep(204, b""),))
answered("204-with-bytes-behind", "Bytes behind a 204 are no body and no answer.", b"HTTP/1.1 204 No Content\r\n\r\nevil", rep=Rep(204, b""),
         reused=False)

section("9110 15.4.5")
answered("304", "304 has no body.", b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n", rep=Rep(304, b"", has={"etag": b"\"x\""}), reused=True)
answered("304-with-a-length", "The length of a 304 is that of a 200.", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n", rep=Rep(304, b""),
         reused=True)
answered("304-with-a-coding", "304 ends behind its head, whatever its fields say.",
         b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", rep=Rep(304, b""), may_refuse=True)
answered("304-with-bytes-behind", "Bytes behind a 304 are no body and no answer.", b"HTTP/1.1 304 Not Modified\r\n\r\n" + ok(b"evil"),
         rep=Rep(304, b""), reused=False)
answered("304-to-head", "304 to HEAD.", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n", rep=Rep(304, b""), method=b"HEAD", reused=True)

section("9110 15.3.6")
answered("205", "205 has no content: its length is 0.", b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", rep=Rep(205, b""))
section("9110 15.3.7")
answered("206", "A part of a representation goes on with its range.",
         b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-1/10\r\nContent-Length: 2\r\n\r\nhi",
         rep=Rep(206, b"hi", has={"content-range": b"bytes 0-1/10"}))

section("9110 10.1.1")


@script("The expectation goes on, the 100 comes back, then the body, then the answer.")
def expect(talk: Talk) -> None:
    client = talk.client()
    client.send(EXPECTS)
    upstream = talk.upstream()
    request = upstream.head()
    talk.check(b"100-continue" in request.list("expect"), f"Expect at the replica: {request.all('expect')}")
    talk.equal(upstream.data, b"", "bytes of the body before the 100")
    upstream.send(CONTINUE)
    talk.equal(client.answer().status, 100, "the interim answer")
    client.send(b"abc")
    talk.equal(upstream.body(3), b"abc", "body")
    upstream.send(ok(b"a"))
    talk.equal(client.answer().body, b"a", "the answer")
    client.send(get(b"/b"))
    talk.serve(client, lambda: b"/b" in client.data[-20:], Deadline(talk.seconds), "the next answer")


@script("A final answer instead of the 100 reaches the client, and what it sends next is not misread.")
def expect_refused(talk: Talk) -> None:
    client = talk.client()
    client.send(EXPECTS)
    upstream = talk.upstream()
    upstream.head()
    upstream.send(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n")
    talk.equal(client.answer().status, 417, "the answer")
    client.send(get(b"/b", b"X: abc\r\n"))
    client.end_sending()
    talk.serve(client, lambda: bool(client.end), Deadline(talk.seconds), "the end of the client's connection")
    targets = [r.target for r in talk.requests]
    talk.check(targets in ([], [b"/b"]), f"requests at the replica: {targets}")
    talk.finish()


@script("A client that does not wait for the 100 loses nothing.")
def expect_without_waiting(talk: Talk) -> None:
    client = talk.client()
    client.send(EXPECTS + b"abc")
    upstream = talk.upstream()
    request = upstream.request()
    talk.equal(request.body, b"abc", "body")
    upstream.send(CONTINUE + ok(b"a"))
    answer = client.answer()
    while answer.status == 100:
        answer = client.answer()
    talk.equal(answer.body, b"a", "the answer")


@script("A replica that never sends the 100 gets the body once the client is tired of waiting.")
def expect_without_a_100(talk: Talk) -> None:
    client = talk.client()
    client.send(EXPECTS)
    upstream = talk.upstream()
    upstream.head()
    client.send(b"abc")
    talk.equal(upstream.body(3), b"abc", "body")
    upstream.send(ok(b"a"))
    answer = client.answer()
    while answer.status == 100:
        answer = client.answer()
    talk.equal(answer.body, b"a", "the answer")


@script("A client of HTTP/1.0 gets no 100, and its expectation is ignored.")
def expect_of_1_0(talk: Talk) -> None:
    client = talk.client()
    client.send(EXPECTS.replace(b"HTTP/1.1", b"HTTP/1.0") + b"abc")
    upstream = talk.upstream()
    request = upstream.request()
    talk.equal(request.body, b"abc", "body")
    talk.check(not request.has("expect") or request.minor == 0, "the expectation of HTTP/1.0 goes on")
    upstream.send(CONTINUE + ok(b"a"))
    client.until_end()
    talk.check(b"100" not in client.all.split(b"\r\n")[0] and client.all.endswith(b"\r\n\r\na"), f"the client gets {client.all!r}")


@script("The body may be chunked.")
def expect_chunked(talk: Talk) -> None:
    client = talk.client()
    client.send(b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nExpect: 100-Continue\r\n\r\n")
    upstream = talk.upstream()
    upstream.head()
    upstream.send(CONTINUE)
    talk.equal(client.answer().status, 100, "the interim answer")
    client.send(b"3\r\nabc\r\n", b"0\r\n\r\n")
    talk.equal(upstream.body(13), b"3\r\nabc\r\n0\r\n\r\n", "body")
    upstream.send(ok(b"a"))
    talk.equal(client.answer().body, b"a", "the answer")


served("expect-without-a-body", "An expectation without a body is nothing to wait for.", get(b"/a", b"Expect: 100-continue\r\n"), seen=(Req(b"/a"),))
refused("expect-something-else", "An expectation that is not known may be answered with 417.", get(b"/a", b"Expect: 200-ok\r\n"), status=417,
        lenient=(Req(b"/a"),), ends=False)

section("9110 15.2")


def interim(name: str, why: str, interims: bytes, statuses: list[int], minor: int = 1) -> None:
    def play(talk: Talk) -> None:
        talk.answers = [interims + ok(b"hi")]
        replies, client = talk.exchange((get(b"/", minor=minor),), [b"GET"], another=minor == 1)
        talk.finish()
        early = [r.status for r in replies if r.status < 200]
        finals = [r for r in replies if r.status >= 200]
        talk.equal(finals[0].body, b"hi", "the answer")
        talk.check(early == statuses, f"interim answers {early}, not {statuses}")
        talk.equal(len(finals), 2 if minor == 1 else 1, "final answers")

    add(name, why, play)


FORWARD = "A proxy forwards 1xx answers, unless it asked for them itself."
interim("100-unasked", FORWARD, CONTINUE, [100])
interim("102", FORWARD, b"HTTP/1.1 102 Processing\r\n\r\n", [102])
interim("103", FORWARD, HINTS, [103])
interim("199", FORWARD, b"HTTP/1.1 199 x\r\n\r\n", [199])
interim("103-three-times", FORWARD, HINTS * 3, [103, 103, 103])
interim("100-and-103", FORWARD, CONTINUE + HINTS, [100, 103])
interim("103-to-1-0", "A client of HTTP/1.0 gets no 1xx.", HINTS, [], minor=0)


@script("The fields of an interim answer are its own.")
def early_hints_keep_their_fields(talk: Talk) -> None:
    client = talk.client()
    client.send(get())
    upstream = talk.upstream()
    upstream.request()
    upstream.send(b"HTTP/1.1 103 Early", b" Hints\r\nLink: </a>\r\nConnection: X-One\r\nX-One: 1\r\n\r", b"\n")
    first = client.answer()
    talk.equal((first.status, first.all("link"), first.all("x-one")), (103, [b"</a>"], []), "the interim answer")
    upstream.send(ok(b"hi"))
    answer = client.answer()
    talk.equal((answer.status, answer.body, answer.all("link")), (200, b"hi", []), "the answer")


answered("103-with-a-length", "An interim answer has no length.", b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n" + ok(b"hi"), rep=None,
         end="close", lenient=(Rep(body=b"hi"),))
answered("103-with-a-coding", "An interim answer has no coding.", b"HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n" + ok(b"hi"),
         rep=None, end="close", lenient=(Rep(body=b"hi"),))
answered("103-without-end", "Interim answers have an end.", HINTS * 500, rep=None, end="close")
cut_off("103-then-close", "An interim answer is no answer.", HINTS, end="close")
cut_off("103-then-half-a-head", "An interim answer is no answer.", HINTS + b"HTTP/1.1 200 OK\r\n", end="close")
answered("101-unasked", "A switch that nobody asked for is refused.",
         b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", rep=None, end="close")


@script("A second answer of a replica is not the next request's, also behind an interim one.")
def interim_answer_and_two_answers(talk: Talk) -> None:
    talk.answers = [HINTS + ok(b"hi") + HINTS + ok(b"evil")]
    replies, client = talk.exchange((get(),), [b"GET"])
    talk.finish()
    talk.check(b"evil" not in client.all, f"the client gets {client.all!r}")


section("9112 9.5")


def early(name: str, why: str, body: bytes, rest: bytes, answer: bytes, status: int) -> None:
    """The replica answers when it has seen the head; the client sends the rest afterwards."""

    def play(talk: Talk) -> None:
        client = talk.client()
        client.send(body)
        upstream = talk.upstream()
        upstream.head()
        upstream.send(answer)
        got = client.answer()
        talk.equal(got.status, status, "status")
        client.send(rest)
        client.end_sending()
        talk.serve(client, lambda: bool(client.end), Deadline(talk.seconds), "the end of the client's connection")
        talk.finish()
        evil = [r.target for r in talk.requests if r.target.startswith(b"/evil")]
        talk.check(not evil, f"the body of a request was read as {evil}")

    add(name, why, play)


EARLY = "An answer may come before the body is over; the rest of the body is never read as a request."
SMUGGLED = get(b"/evil")
DENIED = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n"
early("early-answer-to-a-length", EARLY, b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % (len(SMUGGLED) + 1) + b"x", SMUGGLED,
      DENIED + b"\r\n", 403)
early("early-answer-to-chunks", EARLY, b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
      b"%x\r\n%s\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED), DENIED + b"\r\n", 403)
early("early-answer-and-close", EARLY, b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % (len(SMUGGLED) + 1) + b"x", SMUGGLED,
      DENIED + b"Connection: close\r\n\r\n", 403)
early("early-good-answer", EARLY, b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % (len(SMUGGLED) + 1) + b"x", SMUGGLED, ok(b""), 200)


@script("An answer that comes while a large body is on its way reaches the client.")
def early_answer_to_a_large_body(talk: Talk) -> None:
    client = talk.client()
    client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 500000\r\n\r\n" + b"x" * 200000)
    upstream = talk.upstream()
    upstream.head()
    upstream.send(DENIED + b"Connection: close\r\n\r\n")
    upstream.close()
    talk.equal(client.answer().status, 403, "the answer")


@script("The replica may close before the body is over: the answer that it sent counts.")
def early_answer_and_reset(talk: Talk) -> None:
    client = talk.client()
    client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc")
    upstream = talk.upstream()
    upstream.head()
    upstream.send(DENIED + b"\r\n")
    upstream.close()
    talk.equal(client.answer().status, 403, "the answer")
