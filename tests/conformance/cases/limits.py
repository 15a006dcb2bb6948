"""Limits in bytes and in time, on a listener that sets them low: RFC 9110 section 15.5 and 15.6."""
from case import Req, refused, script, section, served
from talk import Talk, get, ok, post

KIB_100 = 100 << 10
BODY = b"x" * KIB_100

section("9110 15.5.14")
served("body-at-the-limit", "A body of just the limit is taken.", post(BODY), seen=(Req(body=BODY),), listener="tight")
served("chunks-at-the-limit", "A chunked body of just the limit is taken.",
       b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (KIB_100, BODY),
       seen=(Req(body=BODY),), listener="tight")
refused("body-over-the-limit", "A length over the limit is refused before a byte goes on.", post(BODY + b"x"), status=413, ends=False,
        listener="tight")
refused("body-over-the-limit-announced", "A length over the limit is refused before the body comes.",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9000000000\r\n\r\n", status=413, ends=False, listener="tight")
refused("body-over-the-limit-expected", "Who asks first is told before sending.",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 102401\r\nExpect: 100-continue\r\n\r\n", status=413, ends=False, listener="tight")
refused("chunks-over-the-limit", "Chunks over the limit are refused; haproxy, as set up here, limits announced lengths alone.",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n1\r\nx\r\n0\r\n\r\n" % (KIB_100, BODY), status=413, begun=True,
        lenient=(Req(body=BODY + b"x"),), listener="tight")
refused("one-chunk-over-the-limit", "A chunk that alone is over the limit is refused.",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n7fffffffffffffff\r\n" + BODY + b"x", status=413, begun=True,
        listener="tight")

section("9110 15.5.15")
refused("target-over-the-limit", "A target that is too long: 414.", b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", status=414)
refused("target-without-an-end", "A target that is too long: 414, without waiting for its end.", b"GET /" + b"a" * 60000, status=414)

section("9110 15.5.9")


@script("A head that does not come to its end in time: 408, or an end.", "tight")
def head_too_slow(talk: Talk) -> None:
    client = talk.client()
    client.send(b"GET / HTTP/1.1\r\nHost: h\r\n")
    client.until_end()
    talk.promise(client.data.startswith(b"HTTP/1.1 408 "), f"408, not {client.data!r}")
    talk.finish()
    talk.equal([r.target for r in talk.requests], [], "requests at the replica")


@script("A client that only connects is let go in time, without an answer to no request.", "tight")
def silent_client(talk: Talk) -> None:
    client = talk.client()
    client.until_end()
    talk.promise(not client.data, f"no bytes, not {client.data!r}")


section("9110 15.6.5")


@script("An answer that does not begin in time: 504, and the replica's connection ends.", "tight")
def answer_too_slow(talk: Talk) -> None:
    client = talk.client()
    client.send(get())
    upstream = talk.upstream()
    upstream.request()
    talk.equal(client.answer().status, 504, "status")
    upstream.until_end()


@script("A 1xx is no answer: the final one has to come in time.", "tight")
def final_answer_too_slow(talk: Talk) -> None:
    client = talk.client()
    client.send(get())
    upstream = talk.upstream()
    upstream.request()
    upstream.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
    answer = client.answer()
    while answer.status == 103:
        answer = client.answer()
    talk.equal(answer.status, 504, "status")


@script("An answer that comes too late is not given to the next request.", "tight")
def late_answer_is_nobodys(talk: Talk) -> None:
    client = talk.client()
    client.send(get(b"/a"))
    first = talk.upstream()
    first.request()
    talk.equal(client.answer().status, 504, "status")
    first.send(ok(b"late"))
    if client.end or not talk.strict:
        client = talk.client()
    client.send(get(b"/b"))
    second = talk.upstream()
    second.request()
    second.send(ok(b"b"))
    talk.equal(client.answer().body, b"b", "the answer to the next request")


section("9110 15.6.4")


@script("502 to one request does not harm the next one on the connection.")
def next_request_after_502(talk: Talk) -> None:
    client = talk.client()
    client.send(post(b"abc", b"/a"))
    first = talk.upstream()
    first.request()
    first.send(b"nonsense\r\n\r\n")
    first.close()
    answer = client.answer(b"POST")
    talk.equal(answer.status, 502, "status")
    if b"close" in answer.list("connection") and not talk.strict:
        return
    client.send(get(b"/b"))
    second = talk.upstream()
    talk.equal(second.request().target, b"/b", "the next request")
    second.send(ok(b"b"))
    talk.equal(client.answer().body, b"b", "the answer to the next request")
