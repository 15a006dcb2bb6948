"""Field lines: RFC 9112 section 5, RFC 9110 section 5."""
from case import Rep, Req, add, refused, section, served
from talk import Talk, get, ok

ROOT = (Req(),)


def with_line(line: bytes) -> bytes:
    return b"GET / HTTP/1.1\r\nHost: h\r\n" + line + b"\r\n\r\n"


section("9112 5.1")
COLON = "White space between name and colon: 400."
refused("space-before-the-colon", COLON, with_line(b"X : y"))
refused("tab-before-the-colon", COLON, with_line(b"X\t: y"))
refused("space-before-the-colon-of-host", COLON, b"GET / HTTP/1.1\r\nHost : h\r\n\r\n")
refused("space-before-the-colon-of-a-length", COLON, b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length : 3\r\n\r\nabc")
refused("space-before-the-colon-of-a-coding", COLON, b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n")
NAME = "A field name is a token: refused, or at least the line is dropped."
for name, line in (("empty", b": y"), ("with-a-space", b"X Y: z"), ("with-parentheses", b"X(y): z"), ("with-a-slash", b"X/Y: z"),
                   ("with-an-at", b"X@Y: z"),
                   ("with-quotes", b"\"X\": z"), ("beyond-ascii", b"X\xe9: z"), ("with-nul", b"X\0Y: z"), ("with-del", b"X\x7f: z"),
                   ("with-braces", b"{X}: z")):
    refused(f"name-{name}", NAME, with_line(line), lenient=ROOT)
NO_COLON = "A field line has a colon: refused, or at least the line is dropped."
refused("line-without-a-colon", NO_COLON, with_line(b"X y"), lenient=ROOT)
refused("line-without-a-colon-first", NO_COLON, b"GET / HTTP/1.1\r\nX\r\nHost: h\r\n\r\n", lenient=ROOT)
WHITE = "White space around a value is no part of it."
for name, line in (("none", b"X:y"), ("spaces", b"X:   y   "), ("tabs", b"X:\t\ty\t"), ("mixed", b"X: \t y \t ")):
    served(f"value-with-white-space-{name}", WHITE, with_line(line), seen=(Req(has={"x": b"y"}),))
served("value-with-inner-white-space", "Within a value white space stays.", with_line(b"X: a  b\tc"), seen=(Req(has={"x": b"a  b\tc"}),))
served("value-empty", "A value may be empty.", with_line(b"X:"), seen=(Req(has={"x": b""}),))
served("value-of-white-space-alone", "A value of white space is empty.", with_line(b"X: \t "), seen=(Req(has={"x": b""}),))

section("9112 5.2")
FOLD = "A folded line is refused, or joined with spaces; it never goes on folded."
refused("folded-by-a-space", FOLD, with_line(b"X: a\r\n b"), lenient=ROOT)
refused("folded-by-a-tab", FOLD, with_line(b"X: a\r\n\tb"), lenient=ROOT)
refused("folded-and-empty", FOLD, with_line(b"X: a\r\n "), lenient=ROOT)
refused("folded-host", FOLD, b"GET / HTTP/1.1\r\nHost:\r\n h\r\n\r\n", lenient=ROOT)
refused("folded-length", FOLD, b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n 3\r\n\r\nabc", lenient=(Req(body=b"abc"),))
refused("folded-coding", FOLD, b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", lenient=ROOT)
refused("folded-like-a-field", FOLD, b"POST / HTTP/1.1\r\nHost: h\r\nX: y\r\n Content-Length: 3\r\n\r\n", lenient=(Req(lacks=("content-length",)),))

section("9110 5.5")
for name, byte in (("nul", b"\0"), ("cr", b"\r"), ("lf", b"\n")):
    refused(f"value-with-{name}", "CR, LF and NUL in a value: refused, or replaced by a space.", with_line(b"X: a" + byte + b": b"),
            lenient=ROOT if name == "lf" else (Req(has={"x": b"a : b"}),))
for name, byte in (("soh", b"\1"), ("backspace", b"\b"), ("vertical-tab", b"\v"), ("form-feed", b"\f"), ("escape", b"\x1b"), ("del", b"\x7f")):
    refused(f"value-with-{name}", "Other control bytes in a value are invalid and may be kept where that is safe.", with_line(b"X: a" + byte + b"b"),
            lenient=(Req(has={"x": b"a" + byte + b"b"}),))
served("value-beyond-ascii", "Bytes above 0x7f go on as they are.", with_line(b"X: \xe4\xff\x80"), seen=(Req(has={"x": b"\xe4\xff\x80"}),))
served("value-with-every-visible-byte", "Every visible byte may occur in a value.", with_line(b"X: " + bytes(range(0x21, 0x7f))),
       seen=(Req(has={"x": bytes(range(0x21, 0x7f))}),))
served("value-with-quotes-and-commas", "A proxy does not look into values that it does not know.", with_line(b"X: \"a, b\\\"\", ;;(c"),
       seen=(Req(has={"x": b"\"a, b\\\"\", ;;(c"}),))

section("9110 5.1")
served("unknown-fields", "A proxy forwards fields that it does not know.", with_line(b"A-B: 1\r\nSec-Fetch-Mode: x\r\nPriority: u=1"),
       seen=(Req(has={"a-b": b"1", "sec-fetch-mode": b"x", "priority": b"u=1"}),))
served("fields-for-the-origin", "Conditions, ranges, negotiation and credentials are for the replica.",
       with_line(b"If-None-Match: \"x\"\r\nRange: bytes=0-1\r\nAccept-Encoding: br\r\nAuthorization: Basic eDp5\r\nCookie: a=b; c"),
       seen=(Req(has={"if-none-match": b"\"x\"", "range": b"bytes=0-1", "accept-encoding": b"br", "authorization": b"Basic eDp5",
                      "cookie": b"a=b; c"}),))
served("name-with-an-underscore", "An underscore is a token's character.", with_line(b"X_Y: z"), seen=(Req(has={"x_y": b"z"}),))
served("name-with-every-token-byte", "Every token is a field name.", with_line(b"!#$%&'*+-.^_`|~09az: z"),
       seen=(Req(has={"!#$%&'*+-.^_`|~09az": b"z"}),))
served("name-in-any-case", "Field names have no case.", b"POST / HTTP/1.1\r\nhOST: h\r\ncONTENT-lENGTH: 3\r\n\r\nabc", seen=(Req(body=b"abc"),))
served("unknown-fields-of-an-answer", "A proxy forwards fields of answers that it does not know.", get(),
       answers=(ok(b"", b"X_Y: z\r\nStrict-Transport-Security: max-age=1\r\n"),),
       got=(Rep(has={"x_y": b"z", "strict-transport-security": b"max-age=1"}),))


def _order(talk: Talk) -> None:
    client = talk.client()
    client.send(with_line(b"X: 1\r\nY: a\r\nX: 2\r\nx: 3"))
    upstream = talk.upstream()
    request = upstream.request()
    talk.equal(b", ".join(request.all("x")), b"1, 2, 3", "X at the replica")
    upstream.send(ok(b"", b"Set-Cookie: a=1\r\nVary: a\r\nSet-Cookie: b=2, c\r\nVary: b\r\n"))
    answer = client.answer()
    talk.equal(answer.all("set-cookie"), [b"a=1", b"b=2, c"], "Set-Cookie at the client: lines that cannot be joined")
    talk.equal(answer.list("vary"), [b"a", b"b"], "Vary at the client")


section("9110 5.3")

add("lines-of-one-name-keep-their-order", "A proxy must not change the order of lines of one name, nor join Set-Cookie.", _order)

section("9110 5.4")
served("a-hundred-fields", "100 fields are taken.", with_line(b"\r\n".join(b"X%d: y" % n for n in range(99))), seen=(Req(has={"x98": b"y"}),),
       may_refuse=True)
refused("more-than-a-hundred-fields", "Too many fields: 431, not a part of them.", with_line(b"\r\n".join(b"X%d: y" % n for n in range(100))),
        status=431,
        lenient=(Req(has={"x99": b"y"}),))
served("a-field-of-4-kib", "A field of 4 KiB is taken.", with_line(b"X: " + b"y" * 4096), seen=(Req(has={"x": b"y" * 4096}),))
served("a-head-just-below-the-limit", "A head of nearly 32 KiB is taken.", with_line(b"X: " + b"y" * 32000), seen=(Req(has={"x": b"y" * 32000}),),
       may_refuse=True)
refused("a-field-too-long", "A field that is too large: 431.", with_line(b"X: " + b"y" * 40000), status=431)
refused("a-name-too-long", "A name that is too large: 431.", with_line(b"X" * 40000 + b": y"), status=431)
refused("a-head-without-an-end", "A head that grows without an end: 431.",
        b"GET / HTTP/1.1\r\nHost: h\r\n" + b"".join(b"X%d: %s\r\n" % (n, b"y" * 1000) for n in range(40)), status=431)
