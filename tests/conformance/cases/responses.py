"""Answers of the replica: status line and fields (RFC 9112 4 and 5), where they end (6, 7 and 8)."""
from case import Rep, answered, cut_off, script, section
from talk import Talk, get, ok

MARK = b"X-From-Replica: 1\r\n"
HI = Rep(body=b"hi")


def status(line: bytes) -> bytes:
    return line + b"\r\nContent-Length: 2\r\n" + MARK + b"\r\nhi"


def field(line: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + line + b"\r\n\r\nhi"


def framed(fields: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n" + body


def chunked(body: bytes, fields: bytes = b"") -> bytes:
    return framed(b"Transfer-Encoding: chunked\r\n" + fields, body)


section("9112 4")
for name, line in (("without-a-reason", b"HTTP/1.1 200 "), ("with-a-long-reason", b"HTTP/1.1 200 all is well, I think"),
                   ("with-a-reason-beyond-ascii", b"HTTP/1.1 200 d\xe9j\xe0"),
                   ("with-a-tab-in-the-reason", b"HTTP/1.1 200 a\tb")):
    answered(f"status-{name}", "The reason is any text, or none.", status(line), rep=HI, reused=True)
answered("status-without-the-last-space", "Many leave out the space behind the code; it may be taken or refused.", status(b"HTTP/1.1 200"), rep=HI,
         may_refuse=True)
answered("status-line-byte-by-byte", "An answer is the same however TCP cuts it.", *[bytes([b]) for b in field(b"X: y")], rep=HI, reused=True)
for code in (201, 226, 299, 300, 303, 399, 400, 401, 418, 451, 499, 500, 503, 511, 599):
    answered(f"status-{code}", "A code is passed on whether it is known or not (RFC 9110 15).", status(b"HTTP/1.1 %d x" % code), rep=Rep(code, b"hi"))
BAD = "What is no status line is not passed on."
for name, line in (("of-two-digits", b"HTTP/1.1 20 OK"), ("of-four-digits", b"HTTP/1.1 2000 OK"), ("with-a-letter", b"HTTP/1.1 2x0 OK"),
                   ("negative", b"HTTP/1.1 -20 OK"), ("missing", b"HTTP/1.1"),
                   ("without-a-version", b"200 OK"), ("of-another-protocol", b"ICY 200 OK"), ("with-a-version-of-2", b"HTTP/2.0 200 OK"),
                   ("with-a-version-of-0-9", b"HTTP/0.9 200 OK"),
                   ("in-lower-case", b"http/1.1 200 OK"), ("without-a-space", b"HTTP/1.1200 OK"), ("behind-a-space", b" HTTP/1.1 200 OK"),
                   ("with-nul-in-the-reason", b"HTTP/1.1 200 O\0K")):
    answered(f"status-{name}", BAD, status(line), rep=None, end="close")
for name, line in (("of-two-spaces", b"HTTP/1.1  200 OK"), ("behind-a-tab", b"HTTP/1.1\t200 OK")):
    answered(f"status-{name}", "Elements are separated by one space; a lenient parser splits at any white space.", status(line), rep=None,
             end="close", lenient=(HI,))
for code in (b"099", b"600", b"999"):
    answered(f"status-{code.decode()}", "A code outside 100-599 is invalid and taken as a 5xx (RFC 9110 15).", status(b"HTTP/1.1 " + code + b" x"),
             rep=None, end="close",
             lenient=(Rep(int(code), b"hi"),) if code == b"999" else None)
answered("garbage-as-an-answer", BAD, bytes(range(1, 256)), rep=None, end="close")
answered("nothing-as-an-answer", "A connection that closes without an answer is a 502.", b"", rep=None, end="close")
answered("reset-as-an-answer", "A connection that is reset without an answer is a 502.", b"", rep=None, end="reset")
answered("head-cut-off", "A head that breaks off is no answer.", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", rep=None, end="close")
answered("status-line-cut-off", "A head that breaks off is no answer.", b"HTTP/1.1 20", rep=None, end="close")
answered("head-cut-off-before-the-last-lf", "A head that breaks off is no answer.", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r", rep=None,
         end="close")
answered("answer-of-1-0", "The client gets the proxy's own version.", b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", rep=HI, reused=False)
answered("answer-of-1-2", "A higher minor version is processed as the highest one that is known (RFC 9110 2.5).",
         b"HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nhi", rep=HI, may_refuse=True)

section("9112 5.2")
FOLD = "A folded line in an answer: 502, or joined with spaces; never passed on folded."
answered("answer-folded", FOLD, field(b"X: a\r\n b"), rep=None, end="close", lenient=(HI,))
answered("answer-folded-by-a-tab", FOLD, field(b"X: a\r\n\tb"), rep=None, end="close", lenient=(HI,))
answered("answer-folded-like-a-length", FOLD, b"HTTP/1.1 200 OK\r\nX: a\r\n Content-Length: 5\r\nContent-Length: 2\r\n\r\nhi", rep=None, end="close",
         lenient=(HI,))

section("9112 5.1")
answered("answer-with-a-space-before-the-colon", "White space before the colon never goes on: 502, or it is removed.", field(b"X : y"), rep=None,
         end="close", lenient=(Rep(body=b"hi", has={"x": b"y"}), HI))
answered("answer-with-a-space-before-the-first-field", "White space between start line and first field: refused, or the line is dropped.",
         b"HTTP/1.1 200 OK\r\n X: y\r\nContent-Length: 2\r\n\r\nhi",
         rep=None, end="close", lenient=(Rep(body=b"hi", lacks=("x",)),))
for name, line in (("without-a-name", b": y"), ("with-a-space-in-a-name", b"X Y: z"), ("with-nul-in-a-name", b"X\0: y"),
                   ("with-a-name-beyond-ascii", b"X\xe9: y"), ("without-a-colon", b"X")):
    answered(f"answer-{name}", "A field name is a token with a colon behind it.", field(line), rep=None, end="close",
             lenient=(Rep(body=b"hi", lacks=("x",)),))
for name, byte in (("nul", b"\0"), ("cr", b"\r")):
    answered(f"answer-with-{name}-in-a-value", "CR, LF and NUL in a value: refused, or replaced by a space (RFC 9110 5.5).",
             field(b"X: a" + byte + b"b"), rep=None, end="close",
             lenient=(Rep(body=b"hi", has={"x": b"a b"}),))
answered("answer-with-lf-alone", "A lone LF may be taken as the end of a line (2.2), or refused.", b"HTTP/1.1 200 OK\nContent-Length: 2\n\nhi",
         rep=None, end="close", lenient=(HI,))
answered("answer-with-lf-before-a-field", "A lone LF may be taken as the end of a line (2.2), or refused.", field(b"X: a\nY: b"), rep=None,
         end="close", lenient=(Rep(body=b"hi", has={"y": b"b"}),))
answered("answer-beyond-ascii", "Bytes above 0x7f go on as they are (RFC 9110 5.5).", field(b"X: \xe4\xff"),
         rep=Rep(body=b"hi", has={"x": b"\xe4\xff"}))
answered("answer-with-a-large-field", "A field of 4 KiB goes on.", field(b"X: " + b"y" * 3500), rep=Rep(body=b"hi", has={"x": b"y" * 3500}))
answered("answer-with-a-head-too-large", "An answer's head is limited.", field(b"X: " + b"y" * 70000), rep=None, end="close")
answered("answer-with-a-head-without-an-end", "An answer's head is limited.",
         b"HTTP/1.1 200 OK\r\n" + b"".join(b"X%d: %s\r\n" % (n, b"y" * 1000) for n in range(70)), rep=None, end="close")

answered("answer-with-a-hundred-fields", "100 fields are taken.", field(b"\r\n".join(b"X%d: y" % n for n in range(99))),
         rep=Rep(body=b"hi", has={"x98": b"y"}))
answered("answer-with-more-fields", "Too many fields: 502, not a part of them.", field(b"\r\n".join(b"X%d: y" % n for n in range(100))), rep=None,
         end="close",
         lenient=(Rep(body=b"hi", has={"x99": b"y"}),))

section("9112 6.1")
answered("answer-chunked", "A chunked answer arrives.", chunked(b"2\r\nhi\r\n0\r\n\r\n"), rep=HI, reused=True)
answered("answer-coded-in-upper-case", "Names of codings have no case.", framed(b"TRANSFER-ENCODING: CHUNKED\r\n", b"2\r\nhi\r\n0\r\n\r\n"), rep=HI)
answered("answer-chunked-of-1-0", "Transfer-Encoding in HTTP/1.0 is faulty framing.",
         b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", rep=None, end="close",
         lenient=(HI, Rep(body=b"2\r\nhi\r\n0\r\n\r\n")))
BOTH = "Length beside coding in an answer: 502, or the length dropped."
answered("answer-with-coding-and-length", BOTH, framed(b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", b"2\r\nhi\r\n0\r\n\r\n"), rep=None,
         end="close", lenient=(Rep(body=b"hi"),))
answered("answer-with-length-and-coding", BOTH, framed(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"2\r\nhi\r\n0\r\n\r\n"), rep=None,
         end="close", lenient=(Rep(body=b"hi"),))
for name, value in (("gzip-then-chunked", b"gzip, chunked"), ("chunked-twice", b"chunked, chunked"), ("unknown", b"xchunked"), ("gzip", b"gzip"),
                    ("identity", b"identity")):
    answered(f"answer-coded-{name}", "A coding that is not understood is refused, or its message lasts until the close.",
             framed(b"Transfer-Encoding: " + value + b"\r\n", b"2\r\nhi\r\n0\r\n\r\n"), rep=None,
             end="close", lenient=(Rep(body=b"2\r\nhi\r\n0\r\n\r\n"), *((HI,) if name in ("gzip-then-chunked", "chunked-twice") else ())))
answered("answer-coded-to-1-0", "A client of HTTP/1.0 gets no chunks: the end of the connection ends the body.",
         chunked(b"2\r\nhi\r\n1\r\n!\r\n0\r\n\r\n"), rep=Rep(body=b"hi!", lacks=("transfer-encoding",)), minor=0)

section("9112 6.2")
for name, value in (("a-word", b"x"), ("negative", b"-2"), ("plus", b"+2"), ("with-a-letter", b"2a"), ("empty", b""),
                    ("2-64-plus-2", b"18446744073709551618"), ("unequal-list", b"2, 3")):
    answered(f"answer-length-{name}", "An invalid length in an answer: 502.", framed(b"Content-Length: " + value + b"\r\n", b"hi"), rep=None,
             end="close")
answered("answer-length-twice", "Two lengths in an answer that differ: 502.", framed(b"Content-Length: 2\r\nContent-Length: 3\r\n", b"hi!"), rep=None,
         end="close")
for name, fields in (("twice-the-same", b"Content-Length: 2\r\nContent-Length: 2\r\n"), ("list-of-equals", b"Content-Length: 2, 2\r\n")):
    answered(f"answer-length-{name}", "A repeated equal length is refused, or becomes one.", framed(fields, b"hi"), rep=None, end="close",
             lenient=(Rep(body=b"hi", has={"content-length": b"2"}),))
answered("answer-length-0", "A body may be empty.", ok(b""), rep=Rep(body=b"", has={"content-length": b"0"}), reused=True)
answered("answer-of-300-kib", "A body larger than any buffer arrives whole.", ok(bytes(range(256)) * 1200), rep=Rep(body=bytes(range(256)) * 1200),
         reused=True)
answered("answer-in-pieces", "A body is the same however TCP cuts it.", ok(b"")[:-4].replace(b": 0", b": 4") + b"\r\n\r\na", b"b", b"c", b"d",
         rep=Rep(body=b"abcd"), reused=True)
answered("answer-that-looks-like-an-answer", "What lies within the length is body.", ok(ok(b"x")), rep=Rep(body=ok(b"x")))

section("9112 6.3")
answered("answer-until-close", "Without length and coding the connection's end is the body's.", framed(b"", b"hi"), rep=HI, end="close", reused=False)
answered("answer-until-close-empty", "Without length and coding the connection's end is the body's.", framed(b"", b""), rep=Rep(body=b""),
         end="close")
answered("answer-until-close-in-pieces", "Without length and coding the connection's end is the body's.", framed(b"", b"a"), b"b", b"c",
         rep=Rep(body=b"abc"), end="close")
answered("answer-until-close-to-1-0", "A client of HTTP/1.0 learns of the end by the end of the connection.", framed(b"", b"hi"),
         rep=Rep(body=b"hi", lacks=("transfer-encoding",)), end="close", minor=0)
answered("answer-with-bytes-behind", "Bytes behind the length are no part of the answer, nor of the next.", ok(b"hi") + b"XXXX", rep=HI, reused=False)
answered("answer-with-an-answer-behind", "An answer that nobody asked for is not given to the next request.", ok(b"hi") + ok(b"evil"), rep=HI,
         reused=False)
answered("answer-chunked-with-bytes-behind", "Bytes behind the last chunk are no part of the answer, nor of the next.",
         chunked(b"2\r\nhi\r\n0\r\n\r\n") + ok(b"evil"), rep=HI, reused=False)
answered("answer-whole-and-then-the-end", "An answer whose length came is whole, however its connection ends.", ok(b"hi"), rep=HI, end="close",
         reused=False)
answered("answer-whole-and-then-a-reset", "An answer whose length came is whole, however its connection ends.", ok(b"hi"), rep=HI, end="reset",
         reused=False)
answered("answer-with-an-answer-soon-behind", "An answer that comes unasked on an idle connection ends it (9.2).", ok(b"hi"), ok(b"evil"), rep=HI)

section("9112 7.1")
for name, body, wanted in (("with-extensions", b"2;a=b;c=\"d\"\r\nhi\r\n0;e\r\n\r\n", b"hi"),
                           ("with-trailers", b"2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n", b"hi"), ("none", b"0\r\n\r\n", b""),
                           ("that-hold-their-own-end", b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n"),
                           ("with-every-byte", b"100\r\n" + bytes(range(256)) + b"\r\n0\r\n\r\n", bytes(range(256))),
                           ("many", b"1\r\nx\r\n" * 3000 + b"0\r\n\r\n", b"x" * 3000),
                           ("large", b"30000\r\n" + b"x" * 0x30000 + b"\r\n0\r\n\r\n", b"x" * 0x30000)):
    answered(f"answer-chunks-{name}", "A chunked answer is taken apart and arrives as it is.", chunked(body), rep=Rep(body=wanted, lacks=("x-sum",)),
             reused=True)
answered("answer-chunks-byte-by-byte", "Chunks are the same however TCP cuts them.", chunked(b""),
         *[bytes([b]) for b in b"2;x=y\r\nhi\r\n0\r\nX: y\r\n\r\n"], rep=HI, reused=True)
SIZE = "A bad chunk in an answer: its body must not look whole."
for name, body in (("size-empty", b"\r\nhi\r\n0\r\n\r\n"), ("size-a-word", b"x\r\nhi\r\n0\r\n\r\n"), ("size-0x2", b"0x2\r\nhi\r\n0\r\n\r\n"),
                   ("size-minus", b"-2\r\nhi\r\n0\r\n\r\n"), ("size-2-64-plus-2", b"10000000000000002\r\nhi\r\n0\r\n\r\n"),
                   ("size-2-64-minus-1", b"ffffffffffffffff\r\nhi\r\n0\r\n\r\n"), ("size-ended-by-lf", b"2\nhi\r\n0\r\n\r\n"),
                   ("data-too-long", b"2\r\nhi!\r\n0\r\n\r\n"), ("data-ended-by-nothing", b"2\r\nhi0\r\n\r\n"),
                   ("data-ended-by-lf", b"2\r\nhi\n0\r\n\r\n"), ("with-lf-in-an-extension", b"2;a\nb\r\nhi\r\n0\r\n\r\n"),
                   ("later", b"2\r\nhi\r\nzz\r\n")):
    cut_off(f"answer-chunk-{name}", SIZE, chunked(body))
for name, trailer in (("folded", b"X: y\r\n z\r\n"), ("without-a-colon", b"X\r\n"), ("with-nul", b"X: \0\r\n")):
    cut_off(f"answer-trailers-{name}", "A bad trailer breaks the answer off, or is dropped.", chunked(b"2\r\nhi\r\n0\r\n" + trailer + b"\r\n"),
            lenient=HI)


@script("Trailers of an answer arrive behind its body, or are dropped; muster passes them on.")
def answer_trailers_arrive(talk: Talk) -> None:
    client = talk.client()
    client.send(get(b"/", b"TE: trailers\r\n"))
    upstream = talk.upstream()
    upstream.request()
    upstream.send(chunked(b"2\r\nhi\r\n0\r\nX-Sum: 1\r\nContent-Length: 9\r\n\r\n", b"Trailer: X-Sum\r\n"))
    answer = client.answer()
    talk.equal(answer.body, b"hi", "body")
    talk.check(not answer.has("x-sum"), "a trailer became a header field")
    talk.promise([(name.lower(), value) for name, value in answer.trailers] == [(b"x-sum", b"1")], f"trailers: {answer.trailers}")


@script("Trailers do not reach a client that gets no chunks.")
def answer_trailers_to_1_0(talk: Talk) -> None:
    client = talk.client()
    client.send(get(minor=0))
    upstream = talk.upstream()
    upstream.request()
    upstream.send(chunked(b"2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n"))
    client.until_end()
    talk.check(b"Sum" not in client.all and b"sum" not in client.all, f"the client gets {client.all!r}")
    talk.check(client.all.endswith(b"\r\n\r\nhi"), f"the client gets {client.all!r}")


section("9112 8")
CUT = "A truncated answer must be seen as one."
for end in ("close", "reset"):
    cut_off(f"answer-cut-by-{end}-in-a-length", CUT, framed(b"Content-Length: 10\r\n", b"hi"), end=end)
    cut_off(f"answer-cut-by-{end}-before-the-body", CUT, framed(b"Content-Length: 10\r\n", b""), end=end)
    cut_off(f"answer-cut-by-{end}-in-a-chunk", CUT, chunked(b"a\r\nhi"), end=end)
    cut_off(f"answer-cut-by-{end}-between-chunks", CUT, chunked(b"2\r\nhi\r\n"), end=end)
    cut_off(f"answer-cut-by-{end}-in-a-chunk-size", CUT, chunked(b"2\r\nhi\r\n1"), end=end)
    cut_off(f"answer-cut-by-{end}-behind-the-last-chunk", CUT, chunked(b"2\r\nhi\r\n0\r\n"), end=end)
    cut_off(f"answer-cut-by-{end}-in-the-trailers", CUT, chunked(b"2\r\nhi\r\n0\r\nX: y\r\n"), end=end)
    cut_off(f"answer-cut-by-{end}-in-a-length-to-1-0", CUT, framed(b"Content-Length: 10\r\n", b"hi"), end=end, minor=0)
    cut_off(f"answer-cut-by-{end}-between-chunks-to-1-0", "A body that ends with the connection: a truncated one must end with a reset.",
            chunked(b"2\r\nhi\r\n"), end=end, minor=0)
cut_off("answer-until-close-cut-by-reset", CUT, framed(b"", b"hi"), end="reset")
cut_off("answer-until-close-cut-by-reset-to-1-0", "A body that ends with the connection: a truncated one must end with a reset.", framed(b"", b"hi"),
        end="reset", minor=0)
