"""Switching protocols: RFC 9110 section 7.8, and what may be hidden behind it."""
from case import Req, add, refused, script, section, served
from talk import Talk, get, ok
from wire import Client, Deadline, Upstream

ASKS = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
SWITCHES = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"


def opened(talk: Talk, early: bytes = b"") -> tuple[Client, Upstream]:
    """Both sides behind a 101; `early`: what the client sends behind its request without waiting."""
    client = talk.client()
    client.send(get(b"/chat", ASKS) + early)
    upstream = talk.upstream()
    request = upstream.head()
    talk.equal(request.list("upgrade"), [b"websocket"], "Upgrade at the replica")
    talk.check(b"upgrade" in request.list("connection"), f"Connection at the replica: {request.all('connection')}")
    talk.equal(request.all("sec-websocket-key"), [b"dGhlIHNhbXBsZSBub25jZQ=="], "Sec-WebSocket-Key at the replica")
    return client, upstream


section("9110 7.8")


@script("After 101 bytes go both ways as they are.")
def tunnel(talk: Talk) -> None:
    client, upstream = opened(talk)
    upstream.send(SWITCHES)
    answer = client.answer()
    talk.equal((answer.status, answer.list("upgrade")), (101, [b"websocket"]), "the answer")
    talk.check(b"upgrade" in answer.list("connection"), f"Connection at the client: {answer.all('connection')}")
    for turn in range(5):
        client.send(bytes(range(256)) + b"%d" % turn)
        talk.equal(upstream.take(257), bytes(range(256)) + b"%d" % turn, "bytes at the replica")
        upstream.send(b"\r\n\0HTTP/1.1 500 no\r\n\r\n%d" % turn)
        talk.equal(client.take(23), b"\r\n\0HTTP/1.1 500 no\r\n\r\n%d" % turn, "bytes at the client")


@script("What the client sends before the 101 belongs to the new protocol.")
def tunnel_with_early_bytes(talk: Talk) -> None:
    client, upstream = opened(talk, b"early")
    upstream.send(SWITCHES)
    talk.equal(client.answer().status, 101, "the answer")
    talk.equal(upstream.take(5), b"early", "bytes at the replica")


@script("What the replica sends right behind the 101 belongs to the new protocol.")
def tunnel_with_bytes_behind_the_101(talk: Talk) -> None:
    client, upstream = opened(talk)
    upstream.send(SWITCHES + b"hello")
    talk.equal(client.answer().status, 101, "the answer")
    talk.equal(client.take(5), b"hello", "bytes at the client")


@script("Large amounts go through a tunnel both ways at once.")
def tunnel_of_much(talk: Talk) -> None:
    client, upstream = opened(talk)
    upstream.send(SWITCHES)
    client.answer()
    much = bytes(range(256)) * 800
    client.send(much)
    upstream.send(much)
    talk.equal(upstream.take(len(much)) == much, True, "bytes at the replica")
    talk.equal(client.take(len(much)) == much, True, "bytes at the client")


@script("The end of one direction is passed on; muster leaves the other open.")
def tunnel_half_closed_by_the_client(talk: Talk) -> None:
    client, upstream = opened(talk)
    upstream.send(SWITCHES)
    client.answer()
    client.send(b"bye")
    client.end_sending()
    talk.equal(upstream.take(3), b"bye", "bytes at the replica")
    talk.equal(upstream.until_end(), "closed", "the end at the replica")
    if talk.strict:
        upstream.send(b"later")
        talk.equal(client.take(5), b"later", "bytes at the client behind the end of the other direction")


@script("The replica's end is passed on.")
def tunnel_closed_by_the_replica(talk: Talk) -> None:
    client, upstream = opened(talk)
    upstream.send(SWITCHES + b"bye")
    client.answer()
    upstream.end_sending()
    talk.equal(client.take(3), b"bye", "bytes at the client")
    talk.equal(client.until_end(), "closed", "the end at the client")


@script("A tunnel that breaks is closed on the other side too; muster resets it.")
def tunnel_reset_by_the_replica(talk: Talk) -> None:
    client, upstream = opened(talk)
    upstream.send(SWITCHES)
    client.answer()
    upstream.reset()
    end = client.until_end()
    talk.promise(end == "reset", f"a reset, not {end}")


def answers_instead(name: str, why: str, answer: bytes, status: int) -> None:
    def play(talk: Talk) -> None:
        client, upstream = opened(talk)
        upstream.send(answer)
        talk.equal(client.answer().status, status, "the answer")
        client.send(get(b"/b", b"X: y\r\nConnection: close, X-One\r\nX-One: 1\r\n"))
        talk.serve(client, lambda: bool(client.end), Deadline(talk.seconds), "the end of the client's connection")
        talk.finish()
        talk.check(b"Connection: close, X-One" not in upstream.all, "a request went through a tunnel that was never opened")
        talk.promise([r.target for r in talk.requests] == [b"/b"], "the connection goes on with HTTP")

    add(name, why, play)


REFUSED = "A replica may refuse to switch: the connection goes on with HTTP, and every request is still read."
answers_instead("upgrade-answered-with-200", REFUSED, ok(b""), 200)
answers_instead("upgrade-answered-with-426", REFUSED,
                b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 0\r\n\r\n", 426)
answers_instead("upgrade-answered-with-404", REFUSED, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 404)


@script("426 tells which protocol is wanted: Upgrade reaches the client, and Connection names it (RFC 9110 15.5.22).")
def upgrade_required(talk: Talk) -> None:
    client = talk.client()
    client.send(get())
    upstream = talk.upstream()
    upstream.request()
    upstream.send(b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n")
    answer = client.answer()
    talk.equal((answer.status, answer.list("upgrade")), (426, [b"websocket"]), "status and Upgrade at the client")
    talk.check(b"upgrade" in answer.list("connection"), f"Connection at the client: {answer.all('connection')}")


@script("An offer to switch that is no 426 is of one hop: it does not go on alone.")
def upgrade_offered(talk: Talk) -> None:
    client = talk.client()
    client.send(get())
    upstream = talk.upstream()
    upstream.request()
    upstream.send(ok(b"", b"Upgrade: h2c\r\nConnection: Upgrade\r\n"))
    answer = client.answer()
    talk.check(not answer.has("upgrade") or b"upgrade" in answer.list("connection"), f"{answer.fields}")
    talk.promise(not answer.has("upgrade"), f"{answer.fields}")


def never_switches(name: str, why: str, fields: bytes, minor: int = 1) -> None:
    """A request that must not open a tunnel, and a replica that tries."""

    def play(talk: Talk) -> None:
        client = talk.client()
        client.send(get(b"/chat", fields, minor=minor))
        upstream = talk.upstream()
        upstream.head()
        upstream.send(SWITCHES + b"hello")
        upstream.end_sending()
        answer = client.answer()
        talk.check(answer.status != 101, "a switch that was not asked for")
        talk.promise(answer.status == 502, f"502, not {answer.status}")

    add(name, why, play)


never_switches("switch-without-upgrade", "101 without a request for it is refused.", b"")
never_switches("switch-without-connection", "Upgrade without Connection: upgrade is for nobody.", b"Upgrade: websocket\r\n")
never_switches("switch-with-connection-alone", "Connection: upgrade without Upgrade asks for nothing.", b"Connection: upgrade\r\n")
never_switches("switch-in-1-0", "Upgrade in HTTP/1.0 is ignored.", ASKS, minor=0)


def to_http2(talk: Talk, fields: bytes) -> None:
    replies, _ = talk.exchange((get(b"/a", fields),), [b"GET"], after_refusal=True)
    talk.finish()
    talk.check(replies, "no answer")
    talk.promise([r.target for r in talk.requests][:1] == [b"/a"], "the request goes on")
    talk.promise(not any(r.has("upgrade") or r.has("http2-settings") for r in talk.requests), "without the wish to switch")


served("upgrade-without-connection", "Upgrade is of one hop: without Connection naming it, it does not go on.", get(b"/a", b"Upgrade: websocket\r\n"),
       seen=(Req(b"/a", lacks=("upgrade",)),))
served("upgrade-in-1-0", "Upgrade in HTTP/1.0 is ignored.", get(b"/a", ASKS, minor=0), seen=(Req(b"/a", lacks=("upgrade",)),), stays=False)
for name, fields in (("h2c", b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n"),
                     ("h2c-in-a-list", b"Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n")):
    refused(f"upgrade-to-{name}-and-a-bad-host", "A request to switch is held to the same rules as any other.",
            b"GET /a HTTP/1.1\r\nHost: a b\r\n" + fields + b"\r\n")
    add(f"upgrade-to-{name}", "HTTP/2 in clear text behind a proxy carries requests past it: muster does not ask for it.", lambda talk,
        fields=fields: to_http2(talk, fields))


@script("101 without Upgrade switches to nothing.")
def switch_without_naming_it(talk: Talk) -> None:
    client, upstream = opened(talk)
    upstream.send(b"HTTP/1.1 101 Switching Protocols\r\n\r\nhello")
    upstream.end_sending()
    answer = client.answer()
    talk.check(answer.status != 101 or not talk.strict, "101 without Upgrade is passed on")


@script("A request to switch with a body: the body is read as one, whatever follows.")
def upgrade_with_a_body(talk: Talk) -> None:
    client = talk.client()
    client.send(b"POST /a HTTP/1.1\r\nHost: h\r\n" + ASKS + b"Content-Length: 3\r\n\r\nabc")
    upstream = talk.upstream()
    request = upstream.request()
    talk.equal(request.body, b"abc", "body")
    upstream.send(ok(b"a"))
    talk.equal(client.answer().body, b"a", "the answer")
    client.send(get(b"/b", b"Connection: close\r\n"))
    talk.serve(client, lambda: bool(client.end), Deadline(talk.seconds), "the end of the client's connection")
    talk.equal([r.target for r in talk.requests], [b"/b"], "requests at the replica")
