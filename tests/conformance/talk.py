"""A case in play: the client's and the replica's side of one proxy, in one thread, with every byte in hand.

When a case is over, a last request on a connection of its own proves that the proxy serves the next client, and makes
sure that nothing of the case is still on its way to the replica; only then is what reached the replica judged.
"""
import contextlib
import dataclasses
import select
import socket
import typing

from case import Rep, Req
from message import Malformed, Message, head_of_request, read_answer, read_request
from wire import Client, Deadline, Failed, Late, Upstream

SENTINEL = b"/sentinel"
LAST = b"/last-on-this-connection"


@dataclasses.dataclass
class Lane:
    """A listener of the proxy under test whose only replica is `backend`. Cases on one lane run one after the other."""
    backend: socket.socket
    ports: dict[str, int]  # plain, tight


def ok(body: bytes = b"ok", fields: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n%s" % (len(body), fields, body)


def get(target: bytes = b"/", fields: bytes = b"", method: bytes = b"GET", minor: int = 1) -> bytes:
    return b"%s %s HTTP/1.%d\r\nHost: h\r\n%s\r\n" % (method, target, minor, fields)


def post(body: bytes, target: bytes = b"/", fields: bytes = b"") -> bytes:
    return b"POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n%s\r\n%s" % (target, len(body), fields, body)


def default_answer(request: Message) -> bytes:
    return ok(b"answer to " + request.target, b"X-Answer-To: %s\r\n" % name_of(request))


def name_of(request: Message) -> bytes:
    return request.target[:100]


class Talk:
    def __init__(self, lane: Lane, listener: str, strict: bool, seconds: float) -> None:
        self.lane, self.listener, self.seconds = lane, listener, seconds
        self.strict = strict  # muster is under test: what it promises beyond the RFC counts
        self.clients: list[Client] = []
        self.upstreams: list[Upstream] = []
        self.requests: list[Message] = []    # whole ones that `serve` has seen
        self.unfinished: list[Message] = []  # heads whose body did not come
        self.answers: list[bytes] = []     # of the replica in the order of the requests; the last one again and again
        self.answer_end = ""               # what follows each: "", "close", "reset"
        self.answered_requests = 0
        self.outcome = ""

    # --- the two sides, for cases that are functions

    def client(self) -> Client:
        client = Client(self.lane.ports[self.listener], self.seconds)
        self.clients.append(client)
        return client

    def upstream(self) -> Upstream:
        """The next connection from the proxy."""
        deadline = Deadline(self.seconds)
        if not select.select([self.lane.backend], [], [], deadline.left("a connection to the replica"))[0]:
            raise Late(f"no connection to the replica within {self.seconds:g} s; clients got {[c.all[-200:] for c in self.clients]}")
        return self._accept()

    def _accept(self) -> Upstream:
        connection, _ = self.lane.backend.accept()
        upstream = Upstream(connection, self.seconds)
        self.upstreams.append(upstream)
        return upstream

    def check(self, holds: object, what: str) -> None:
        if not holds:
            raise Failed(what)

    def promise(self, holds: object, what: str) -> None:
        """More than the RFC asks for: counts for muster alone."""
        if self.strict and not holds:
            raise Failed(f"promised by muster: {what}")

    def equal(self, found: object, wanted: object, what: str) -> None:
        if found != wanted:
            raise Failed(f"{what}: {found!r}, not {wanted!r}")

    # --- the replica as a machine

    def _serve_ready(self, upstream: Upstream) -> None:
        """Reads what is there and answers each whole request."""
        upstream.receive()
        while True:
            try:
                request = read_request(upstream.head_taken + upstream.data)
            except Malformed as problem:
                raise Failed(f"the replica gets what can be read in two ways: {problem}; all of it: {upstream.all!r}") from None
            if request is None:
                return
            upstream.data = upstream.data[request.size - len(upstream.head_taken) :]
            if upstream.head_taken:  # the case has answered it
                upstream.head_taken = b""
                continue
            if request.target.startswith(SENTINEL):
                upstream.send(default_answer(request))
                continue
            self.requests.append(request)
            if request.target == LAST or not self.answers:
                upstream.send(default_answer(request))
                self.answered_requests += 1
                continue
            upstream.send(*split_writes(self.answers[min(self.answered_requests, len(self.answers) - 1)]))
            self.answered_requests += 1
            if self.answer_end == "close":
                upstream.end_sending()
            elif self.answer_end == "reset":
                upstream.until_read()
                upstream.reset()
                return

    def serve(self, client: Client, until: typing.Callable[[], bool], deadline: Deadline, what: str) -> None:
        """Lets replica and client go on until the condition holds."""
        while not until():
            live = [u for u in self.upstreams if u.open and not u.end]
            watched: list[typing.Any] = [self.lane.backend, *live] if not client.open or client.end else [self.lane.backend, client, *live]
            sockets = {w if isinstance(w, socket.socket) else w.socket: w for w in watched}
            left = deadline.left(f"{what}; the client got {client.all[-400:]!r}, the replica {[u.all[-400:] for u in self.upstreams]}")
            for ready in select.select(list(sockets), [], [], left)[0]:
                side = sockets[ready]
                if isinstance(side, Upstream):
                    self._serve_ready(side)
                elif isinstance(side, Client):
                    side.receive()
                else:
                    self._accept()

    def exchange(self, pieces: tuple[bytes, ...], methods: list[bytes], another: bool = True, after_refusal: bool = False,
                 until_refused: bool = False) -> tuple[list[Message], Client]:
        """Sends, serves, and reads answers until the proxy ends the connection, or (`until_refused`) a refusal came.

        `another`: behind the first good answer (`after_refusal`: or bad one), one more request with `Connection: close`
        follows on the same connection. What the client gets is read with the methods in their order, then GET.
        """
        client = self.client()
        client.send(*pieces)
        replies: list[Message] = []
        deadline = Deadline(self.seconds)
        sent_last = False

        def step() -> bool:
            nonlocal sent_last
            while True:
                finals = sum(reply.status >= 200 for reply in replies)
                method = methods[finals] if finals < len(methods) else b"GET"
                try:
                    reply = read_answer(client.data, method, client.end == "closed")
                except Malformed as problem:
                    raise Failed(f"the client gets a malformed answer: {problem}") from None
                if reply is None:
                    break
                client.data = client.data[reply.size :]
                client.statuses.append(reply.status)
                replies.append(reply)
                if reply.framing == "close":
                    break
            finals = [reply for reply in replies if reply.status >= 200]
            well = finals and (after_refusal or all(reply.status < 400 for reply in finals))
            if another and well and not sent_last and not client.end:
                sent_last = True
                client.send(get(LAST, b"Connection: close\r\n"))
            return bool(client.end) or until_refused and any(reply.status >= 400 for reply in finals)

        try:
            self.serve(client, step, deadline, "the end of the client's connection")
        finally:
            self.outcome = self._outcome(client)
        return replies, client

    def _outcome(self, client: Client) -> str:
        seen = [r for r in self.requests if r.target != LAST]
        words = [str(s) for s in client.statuses[: len(client.statuses) - (len(self.requests) - len(seen))]]
        if client.data:
            words.append("cut")
        return " ".join(words or ["no answer"]) + (f", {len(seen)} passed on" if seen else "")

    # --- cases that are data

    def refused(self, pieces: tuple[bytes, ...], statuses: tuple[int, ...], after: tuple[Req, ...], lenient: tuple[Req, ...] | None, ends: bool,
                begun: bool) -> None:
        replies, client = self.exchange(pieces, [r.method or b"GET" for r in after], until_refused=not ends and not self.strict)
        self.finish()
        finals = [reply for reply in replies if reply.status >= 200]
        if lenient is not None and not self.strict and len(self._seen()) > len(after):
            self._compare_requests((*after, *lenient))
            self._compare_order(finals)
            return
        self._compare_requests(after)
        self.check(begun or not self.unfinished or not self.strict, f"the replica gets a head: {[u.all for u in self.upstreams]}")
        self.check(len(finals) <= len(after) + 1, f"{len(finals)} answers: {client.all!r}")
        for reply in finals[: len(after)]:
            self.equal(reply.status, 200, "status of a request before it")
        refusal = finals[len(after)] if len(finals) > len(after) else None
        if refusal:
            self.check(refusal.status >= 300, f"answered with {refusal.status}")
        if self.strict:
            self.check(refusal is not None, f"no refusal before the end: {client.all!r}")
            self.check(refusal and refusal.status in statuses, f"refused with {refusal and refusal.status}, not {statuses}")
            self.equal(client.end, "closed", "how the connection ends")

    def served(self, pieces: tuple[bytes, ...], seen: tuple[Req, ...], answers: tuple[bytes, ...], got: tuple[Rep, ...], stays: bool,
               may_refuse: bool) -> None:
        self.answers = list(answers)
        methods = [request.method or b"GET" for request in seen]
        replies, client = self.exchange(pieces, methods, another=stays, after_refusal=bool(answers))
        self.finish()
        finals = [reply for reply in replies if reply.status >= 200]
        refusal = next((r for r in finals if r.status >= 400 and not r.has("x-answer-to")), None)
        if may_refuse and not self.strict and refusal and len(self._seen()) < len(seen):
            return
        self._compare_requests(seen)
        wanted = got or tuple(Rep() for _ in seen)
        self.check(len(finals) >= len(wanted), f"{len(finals)} answers, not {len(wanted)}: {client.all!r}")
        for number, (reply, rep) in enumerate(zip(finals, wanted)):
            compare_answer(reply, rep, f"answer {number + 1}")
        self._compare_order(finals)
        self.check(not client.data, f"bytes behind the last answer: {client.data!r}")
        expected = (len(wanted) + 1,) if stays and self.strict else (len(wanted), len(wanted) + stays)
        self.check(len(finals) in expected,
                   f"{len(finals)} answers, not {expected[-1]} with that of another request on the connection: {client.all!r}")

    def answered(self, pieces: tuple[bytes, ...], rep: Rep | None, end: str, method: bytes, minor: int, lenient: tuple[Rep, ...] | None,
                 may_refuse: bool, reused: bool | None) -> None:
        self.answers = [WRITES.join(pieces)]
        self.answer_end = end
        fields = b"" if method in (b"GET", b"HEAD") else b"Content-Length: 0\r\n"
        replies, client = self.exchange((get(b"/", fields, method, minor),), [method], another=minor == 1, after_refusal=True)
        served_on = [[r.target for r in requests_in(u.all)] for u in self.upstreams]
        self.finish()
        finals = [reply for reply in replies if reply.status >= 200]
        self.check(finals or client.end, "no answer")
        first = finals[0] if finals else None
        refusal = first is None or (first.status >= 500 and not first.has("x-from-replica"))
        if rep is None and lenient is not None and not self.strict and not refusal:
            compare_with_one(finals[0], lenient)
        elif rep is None:
            self.check(refusal, f"a bad answer is passed on: {client.all!r}")
            self.check(len(finals) <= 2, f"{len(finals)} answers: {client.all!r}")
            self.promise(first and first.status == 502, f"502, not {first and first.status}")
        elif may_refuse and not self.strict and refusal:
            return
        else:
            self.check(first, f"no whole answer: {client.all!r}")
            compare_answer(typing.cast(Message, first), rep, "the answer")
            self.promise(minor == 0 or len(finals) == 2, "the client's connection goes on")
        self.check(not client.data, f"bytes behind the last answer: {client.data!r}")
        self.check(all(r.target == LAST or r.target == b"/" for r in self.requests), "requests that nobody sent")
        if minor == 1 and len(finals) == 2:
            self.equal(finals[1].all("x-answer-to"), [LAST], "whose answer the next request gets")
        if reused is not None and minor == 1:
            shared = any(len(targets) > 1 for targets in served_on)
            if reused:
                self.promise(shared, "the replica's connection is used again")
            else:
                self.check(not shared, "the replica's connection is used again")

    def cut_off(self, pieces: tuple[bytes, ...], end: str, minor: int, lenient: Rep | None) -> None:
        self.answers = [WRITES.join(pieces)]
        self.answer_end = end
        replies, _ = self.exchange((get(b"/", b"Content-Length: 0\r\n", b"POST", minor),), [b"POST"], after_refusal=True)
        self.finish()
        first = next((reply for reply in replies if reply.status >= 200), None)
        if first and first.status < 500 and lenient and not self.strict:
            compare_answer(first, lenient, "the answer")
            return
        self.check(first is None or first.status >= 500, f"a truncated answer looks whole to the client: {self.clients[0].all!r}")

    # --- judging

    def _seen(self) -> list[Message]:
        return [request for request in self.requests if request.target != LAST]

    def _compare_requests(self, wanted: tuple[Req, ...]) -> None:
        seen = self._seen()
        self.equal([r.target for r in seen], [r.target for r in wanted], "requests at the replica")
        for request, want in zip(seen, wanted):
            where = f"at the replica, {request.target!r}"
            if want.method is not None:
                self.equal(request.method, want.method, f"{where}: method")
            if want.body is not None:
                self.equal(request.body, want.body, f"{where}: body")
            if want.minor is not None:
                self.equal(request.minor, want.minor, f"{where}: minor version")
            compare_fields(request, want.has, want.lacks, where)

    def _compare_order(self, finals: list[Message]) -> None:
        """Each answer that says whose it is came to the request that it belongs to."""
        targets = [name_of(request) for request in self.requests]
        for number, reply in enumerate(finals):
            if reply.has("x-answer-to"):
                self.equal(reply.all("x-answer-to"), targets[number : number + 1], f"whose answer came as number {number + 1}")

    def finish(self) -> None:
        """The client leaves; the sentinel; every connection to the replica ends."""
        for client in self.clients:
            if client.open:
                client.close()
        last = Client(self.lane.ports["plain"], self.seconds)
        try:
            last.send(get(SENTINEL, b"Connection: close\r\n"))
            reply: list[Message] = []

            def step() -> bool:
                found = read_answer(last.data, b"GET", last.end == "closed")
                if found is None and last.end:
                    raise Failed(f"the next client is not served: {last.all!r}")
                if found is not None:
                    reply.append(found)
                return found is not None

            self.serve(last, step, Deadline(self.seconds), "the answer to the next client")
            self.check(reply[0].status == 200 and reply[0].all("x-answer-to") == [SENTINEL], f"the next client gets {last.all!r}")
        finally:
            last.close()
        for upstream in self.upstreams:
            if upstream.open and upstream.data and not upstream.head_taken:
                head = head_of_request(upstream.data)
                if head is not None:
                    self.unfinished.append(head)

    def clear(self) -> None:
        """Waits until the proxy has let go of every connection of this case: the next one finds nothing of it.

        What is still open is answered first: a request whose connection only closes would be tried again, later.
        """
        for client in self.clients:
            client.close()
        with contextlib.suppress(Failed):
            deadline = Deadline(min(2.0, self.seconds))
            told: set[Upstream] = set()
            while True:
                while select.select([self.lane.backend], [], [], 0)[0]:
                    self._accept()
                live = [upstream for upstream in self.upstreams if upstream.open and not upstream.end]
                for upstream in live:
                    if upstream not in told:
                        told.add(upstream)
                        upstream.send(ok(b"", b"Connection: close\r\n"))
                        upstream.end_sending()
                if not live:
                    break
                for upstream in live:
                    if select.select([upstream.socket], [], [], 0.05 if upstream is live[0] else 0)[0]:
                        upstream.receive()
                deadline.left("the proxy closes its connections")
        for upstream in self.upstreams:
            upstream.close()


# Between two writes of a replica's answer.
WRITES = b"\x00<next write>\x00"


def split_writes(answer: bytes) -> list[bytes]:
    return answer.split(WRITES)


def requests_in(data: bytes) -> list[Message]:
    found = []
    while (request := read_request(data)) is not None:
        found.append(request)
        data = data[request.size :]
    return found


def compare_fields(message: Message, has: dict[str, bytes], lacks: tuple[str, ...], where: str) -> None:
    for name, value in has.items():
        if message.all(name) != [value]:
            raise Failed(f"{where}: {name} is {message.all(name)!r}, not [{value!r}]")
    for name in lacks:
        if message.has(name):
            raise Failed(f"{where}: {name} is there: {message.all(name)!r}")


def compare_with_one(reply: Message, choices: tuple[Rep, ...]) -> None:
    problems = []
    for choice in choices:
        try:
            return compare_answer(reply, choice, "the answer")
        except Failed as problem:
            problems.append(str(problem))
    raise Failed("; ".join(problems))


def compare_answer(reply: Message, rep: Rep, where: str) -> None:
    if reply.status != rep.status:
        raise Failed(f"{where}: status {reply.status}, not {rep.status}")
    if rep.body is not None and reply.body != rep.body:
        raise Failed(f"{where}: body {reply.body!r}, not {rep.body!r}")
    compare_fields(reply, rep.has, rep.lacks, where)
