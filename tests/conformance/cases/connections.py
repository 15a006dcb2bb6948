"""Connections and what belongs to one hop alone: RFC 9112 section 9, RFC 9110 section 7.6."""
from case import Rep, Req, add, answered, refused, script, section, served
from talk import Talk, get, ok, post
from wire import Deadline

AB = (Req(b"/a"), Req(b"/b"))
CLOSE = b"Connection: close\r\n"

section("9112 9.3")
served("stays-open-by-default", "HTTP/1.1 connections persist.", get(b"/a"), seen=(Req(b"/a"),))
served("keep-alive-in-1-1", "Connection: keep-alive changes nothing in HTTP/1.1.", get(b"/a", b"Connection: keep-alive\r\n"), seen=(Req(b"/a"),))
served("close", "Connection: close ends the connection behind the answer.", get(b"/a", CLOSE), seen=(Req(b"/a"),), stays=False)
served("close-in-upper-case", "Connection options have no case.", get(b"/a", b"Connection: CLOSE\r\n"), seen=(Req(b"/a"),), stays=False)
served("close-beside-keep-alive", "close wins over keep-alive.", get(b"/a", b"Connection: keep-alive, close\r\n"), seen=(Req(b"/a"),), stays=False)
served("close-on-a-second-line", "Lines of Connection are one list.", get(b"/a", b"Connection: keep-alive\r\nConnection: close\r\n"),
       seen=(Req(b"/a"),), stays=False)
served("close-among-empty-elements", "Empty list elements are skipped.", get(b"/a", b"Connection: ,, close ,\r\n"), seen=(Req(b"/a"),), stays=False)
served("closes-in-1-0", "HTTP/1.0 connections end behind the answer.", get(b"/a", minor=0), seen=(Req(b"/a"),), stays=False)
served("close-then-another-request", "Behind a request with close no other is served.", get(b"/a", CLOSE) + get(b"/evil"), seen=(Req(b"/a"),),
       stays=False)
served("closes-in-1-0-then-another-request", "Behind the request of a connection that ends no other is served.", get(b"/a", minor=0) + get(b"/evil"),
       seen=(Req(b"/a"),), stays=False)


@script("A client of HTTP/1.0 that asks for keep-alive may get it, and is told so.")
def keep_alive_in_1_0(talk: Talk) -> None:
    replies, client = talk.exchange((get(b"/a", b"Connection: keep-alive\r\n", minor=0),), [b"GET"])
    talk.finish()
    talk.equal(replies[0].status, 200, "status")
    kept = len(replies) == 2
    talk.check(not kept or b"keep-alive" in replies[0].list("connection"), "the connection stays open and the client is not told")
    talk.promise(kept, "the connection stays open")


@script("An answer that ends with the connection does not promise keep-alive.")
def keep_alive_in_1_0_and_an_answer_without_length(talk: Talk) -> None:
    client = talk.client()
    client.send(get(b"/a", b"Connection: keep-alive\r\n", minor=0))
    upstream = talk.upstream()
    upstream.request()
    upstream.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
    talk.equal(client.until_end(), "closed", "the end")
    answer = client.answer()
    talk.equal((answer.body, answer.all("transfer-encoding")), (b"hi", []), "the answer")
    talk.check(b"keep-alive" not in answer.list("connection"), f"Connection: {answer.all('connection')}")


@script("The client's close is not the replica's: its connection may be used again.")
def close_of_the_client_alone(talk: Talk) -> None:
    for target in (b"/a", b"/b"):
        client = talk.client()
        client.send(get(target, CLOSE))
        talk.serve(client, lambda client=client: bool(client.end), Deadline(talk.seconds), "the end of the client's connection")
        talk.equal(client.answer().body, b"answer to " + target, "the answer")
    talk.promise(len(talk.upstreams) == 1, f"one connection to the replica, not {len(talk.upstreams)}")


@script("A proxy that closes says so in the answer.")
def close_is_announced(talk: Talk) -> None:
    client = talk.client()
    client.send(get(b"/", CLOSE))
    upstream = talk.upstream()
    upstream.request()
    upstream.send(ok())
    answer = client.answer()
    talk.check(b"close" in answer.list("connection"), f"Connection: {answer.all('connection')}")
    talk.equal(client.until_end(), "closed", "the end")


section("9112 9.3.1")


@script("A request that may not be repeated is never sent twice.")
def post_is_not_repeated(talk: Talk) -> None:
    talk.answers = [b""]
    talk.answer_end = "close"
    replies, _ = talk.exchange((post(b"abc"),), [b"POST"], after_refusal=True)
    talk.equal(sum(r.method == b"POST" for r in talk.requests), 1, "POST requests at the replica")
    talk.check(replies and replies[0].status >= 500, "no refusal")


@script("A request that may not be repeated is not sent twice either when the connection had carried another before.")
def post_is_not_repeated_on_a_used_connection(talk: Talk) -> None:
    client = talk.client()
    client.send(get(b"/a"))
    first = talk.upstream()
    first.request()
    first.send(ok())
    client.answer()
    talk.answers = [b""]
    talk.answer_end = "close"
    client.send(post(b"abc"))
    talk.serve(client, lambda: bool(client.end) or b"\r\n\r\n" in client.data, Deadline(talk.seconds), "an answer")
    talk.equal(sum(u.all.count(b"POST ") for u in talk.upstreams), 1, "POST requests at the replica")


@script("A POST does not run into a connection that the replica has closed meanwhile.")
def post_after_the_replica_closed(talk: Talk) -> None:
    client = talk.client()
    client.send(get(b"/a"))
    first = talk.upstream()
    first.request()
    first.send(ok())
    client.answer()
    first.close()
    client.send(post(b"abc", b"/b"))
    second = talk.upstream()
    talk.equal(second.request().body, b"abc", "body")
    second.send(ok(b"b"))
    talk.equal(client.answer().body, b"b", "the answer")


section("9112 9.3.2")
served("two-requests-in-one-write", "Pipelined requests are answered in their order.", get(b"/a") + get(b"/b"), seen=AB)
served("ten-requests-in-one-write", "Pipelined requests are answered in their order.", b"".join(get(b"/%d" % n) for n in range(10)),
       seen=tuple(Req(b"/%d" % n) for n in range(10)))
served("requests-with-bodies-in-one-write", "Each body ends where its framing says.",
       post(b"abc", b"/a") + post(b"", b"/b") + b"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n" + get(b"/d"),
       seen=(Req(b"/a", body=b"abc"), Req(b"/b"), Req(b"/c", body=b"x"), Req(b"/d")))
served("second-request-in-pieces", "The end of one read is no end of a message.", get(b"/a") + b"GE", b"T /b HT", b"TP/1.1\r\nHost: h\r\n\r\n",
       seen=AB)
served("second-request-behind-a-split-body", "The end of one read is no end of a message.",
       post(b"", b"/a").replace(b"Length: 0", b"Length: 3") + b"ab", b"c" + get(b"/b"), seen=(Req(b"/a", body=b"abc"), Req(b"/b")))
served("head-among-requests", "An answer to HEAD has no body, also in a pipeline.", get(b"/a") + get(b"/b", method=b"HEAD") + get(b"/c"),
       seen=(Req(b"/a"), Req(b"/b", b"HEAD"), Req(b"/c")))
refused("bad-request-before-a-good-one", "Behind a request that cannot be read nothing is read.", b"GET / HTTP/1.1\r\n\r\n" + get(b"/evil"))
refused("bad-request-behind-a-good-one", "A good request is served, a bad one behind it refused.",
        get(b"/a") + b"GET / HTTP/1.1\r\n\r\n" + get(b"/evil"), after=(Req(b"/a"),))
refused("bad-chunk-before-a-good-request", "Behind a body that cannot be read nothing is read.",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n0\r\n\r\n" + get(b"/evil"), begun=True)


@script("Answers keep the order of requests also when the replica is slow with the first.")
def order_with_a_slow_first_answer(talk: Talk) -> None:
    client = talk.client()
    client.send(get(b"/a") + get(b"/b"))
    first = talk.upstream()
    talk.equal(first.request().target, b"/a", "the first request")
    client.until_read()
    first.send(ok(b"a"))
    talk.serve(client, lambda: client.data.count(b"HTTP/1.1 200") == 2 and client.data.endswith(b"/b"), _deadline(talk), "both answers")
    talk.equal([client.answer().body, client.answer().body], [b"a", b"answer to /b"], "answers")


def _deadline(talk: Talk) -> Deadline:
    return Deadline(talk.seconds)


section("9112 9.6")


def half_close(name: str, count: int) -> None:
    def play(talk: Talk) -> None:
        client = talk.client()
        client.send(b"".join(get(b"/%d" % n) for n in range(count)))
        client.end_sending()
        talk.serve(client, lambda: bool(client.end), _deadline(talk), "the end of the client's connection")
        answers = b"".join(b"answer to /%d" % n for n in range(count))
        found = b""
        while client.data:
            found += client.answer().body
        talk.check(answers.startswith(found), f"answers {found!r}")
        talk.promise(found == answers, f"the answers, not {found!r}")

    add(name, "A client that ends its side behind its requests may still get the answers, whole; muster sends them.", play)


half_close("half-close-behind-a-request", 1)
half_close("half-close-behind-two-requests", 2)


@script("A refusal reaches a client that is still sending: the connection ends in stages.")
def refusal_while_the_client_sends(talk: Talk) -> None:
    client = talk.client()
    client.send(b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n" + b"y" * 300000)
    talk.check(client.answer().status >= 400, "no refusal")


section("9112 9.2")


@script("Bytes that come on an idle connection end it; the next request takes another.")
def unasked_answer_on_an_idle_connection(talk: Talk) -> None:
    client = talk.client()
    client.send(get(b"/a"))
    first = talk.upstream()
    first.request()
    first.send(ok(b"a"))
    talk.equal(client.answer().body, b"a", "the first answer")
    first.send(ok(b"evil"))
    first.until_end()
    client.send(get(b"/b"))
    second = talk.upstream()
    second.request()
    second.send(ok(b"b"))
    talk.equal(client.answer().body, b"b", "the second answer")


section("9112 9.8")
answered("answer-with-close", "Connection: close of the replica is for its own connection.", ok(b"hi", CLOSE), rep=Rep(body=b"hi"), end="close",
         reused=False)
answered("answer-with-close-and-still-open", "Behind Connection: close a connection carries no other request.", ok(b"hi", CLOSE), rep=Rep(body=b"hi"),
         reused=False)
answered("answer-of-1-0-with-keep-alive", "A replica of HTTP/1.0 that keeps alive may be asked again.",
         b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi", rep=Rep(body=b"hi"))

section("9110 7.6.1")
DROPPED = "Fields of one hop do not go on."
served("hop-by-hop-fields", DROPPED, get(b"/",
                                         b"Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\nConnection: TE, keep-alive\r\n"),
       seen=(Req(lacks=("keep-alive", "proxy-connection", "te")),))
served("fields-named-by-connection", "Fields that Connection names do not go on.",
       get(b"/", b"X-One: 1\r\nConnection: X-One, x-two\r\nX-Two: 2\r\nX-Three: 3\r\n"), seen=(Req(lacks=("x-one", "x-two"), has={"x-three": b"3"}),))
served("fields-named-on-two-lines", "Lines of Connection are one list.",
       get(b"/", b"Connection: X-One\r\nX-One: 1\r\nX-Two: 2\r\nConnection: X-Two\r\n"), seen=(Req(lacks=("x-one", "x-two")),))
served("fields-named-twice-there", "Every line of a named field goes.", get(b"/", b"Connection: X-One\r\nX-One: 1\r\nX-One: 2\r\n"),
       seen=(Req(lacks=("x-one",)),))
served("fields-named-and-not-there", "Connection may name what is not there.", get(b"/", b"Connection: X-None\r\n"))
for name, option in (("host", b"Host"), ("a-length", b"Content-Length"), ("a-coding", b"Transfer-Encoding")):
    refused(f"connection-names-{name}", "A field that frames or routes the message cannot be taken away by Connection.",
            post(b"abc", b"/", b"Connection: close, %s\r\n" % option), lenient=(Req(body=b"abc", has={"host": b"h"}),))
refused("connection-with-no-token", "Connection is a list of tokens.", get(b"/", b"Connection: a b\r\n"), lenient=(Req(),))


@script("The replica's Connection does not tell the client what to do, and the client's does not tell the replica.")
def connection_is_of_one_hop(talk: Talk) -> None:
    client = talk.client()
    client.send(get(b"/", b"Connection: close, X-One\r\nX-One: 1\r\n"))
    upstream = talk.upstream()
    request = upstream.request()
    talk.check(b"x-one" not in request.list("connection"), f"Connection at the replica: {request.all('connection')}")
    upstream.send(ok(b"", b"Connection: X-Two, keep-alive\r\nX-Two: 2\r\nX-Three: 3\r\n"))
    answer = client.answer()
    talk.check(b"x-two" not in answer.list("connection"), f"Connection at the client: {answer.all('connection')}")
    talk.equal(answer.all("x-three"), [b"3"], "X-Three")


answered("answer-with-hop-by-hop-fields", DROPPED, ok(b"hi", b"Keep-Alive: timeout=77\r\nProxy-Connection: close\r\nConnection: keep-alive\r\n"),
         rep=Rep(body=b"hi", lacks=("proxy-connection",)))
answered("answer-with-fields-named-by-connection", "Fields that Connection names do not go on.",
         ok(b"hi", b"X-One: 1\r\nConnection: X-One\r\nX-Two: 2\r\n"), rep=Rep(body=b"hi", lacks=("x-one",), has={"x-two": b"2"}))
answered("answer-with-connection-naming-a-length", "A field that frames the message cannot be taken away by Connection.",
         ok(b"hi", b"Connection: Content-Length\r\n"), rep=None, end="close", lenient=(Rep(body=b"hi"),))

section("9110 7.6.2")
LAST_HOP = "OPTIONS and TRACE with Max-Forwards: 0 are answered here; with more, one less goes on."
served("max-forwards-of-get", "Max-Forwards has a meaning for OPTIONS and TRACE alone.", get(b"/", b"Max-Forwards: 0\r\n"),
       seen=(Req(has={"max-forwards": b"0"}),))


@script(LAST_HOP)
def max_forwards_0(talk: Talk) -> None:
    replies, _ = talk.exchange((get(b"*", b"Max-Forwards: 0\r\n", method=b"OPTIONS"),), [b"OPTIONS"], after_refusal=True)
    talk.finish()
    talk.check(replies, "no answer")
    talk.equal([r.target for r in talk.requests if r.method == b"OPTIONS"], [], "requests at the replica")


served("max-forwards-2", LAST_HOP, get(b"/", b"Max-Forwards: 2\r\n", method=b"OPTIONS"), seen=(Req(has={"max-forwards": b"1"}),))

section("9110 7.6.3")
NO_VIA = "Not sent, as by haproxy and nginx: servers turn compression off for requests that have a Via (nginx: gzip_proxied)."


@script("A gateway names itself in Via.", known=NO_VIA)
def via(talk: Talk) -> None:
    client = talk.client()
    client.send(get())
    request = talk.upstream().request()
    talk.check(any(word.startswith(b"1.1 ") for word in request.list("via")), "no Via at the replica")
