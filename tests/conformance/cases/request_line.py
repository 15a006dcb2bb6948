"""The lines of a request up to its fields: RFC 9112 sections 2 and 3."""
from case import Rep, Req, refused, script, section, served
from talk import Talk, get, ok, post

ROOT = (Req(),)


def line(text: bytes) -> bytes:
    return text + b"\r\nHost: h\r\n\r\n"


section("9112 2.2")
served("empty-line-before-the-request", "A server should skip an empty line that an old client left behind.", b"\r\n" + get(b"/a"),
       seen=(Req(b"/a"),))
refused("two-empty-lines-before-the-request", "At least one empty line should be skipped; more need not be.", b"\r\n\r\n" + get(), lenient=ROOT)
served("crlf-behind-a-body", "Old clients send CRLF behind a POST body; it is no part of the next request.",
       post(b"abc", b"/a") + b"\r\n" + get(b"/b"),
       seen=(Req(b"/a", body=b"abc"), Req(b"/b")))
served("head-byte-by-byte", "A head is the same however TCP cuts it.", *[bytes([byte]) for byte in get(b"/a", b"X: y\r\n")],
       seen=(Req(b"/a", has={"x": b"y"}),))
served("head-split-within-crlf", "CR and LF may come in two packets.", b"GET / HTTP/1.1\r", b"\nHost: h\r", b"\n\r", b"\n")
served("head-split-at-lines", "Lines may come in packets of their own.", b"GET / HTTP/1.1\r\n", b"Host: h\r\n", b"\r\n")
served("head-split-before-the-empty-line", "Bytes behind the head's last CRLF belong to the next message.", b"GET /a HTTP/1.1\r\nHost: h\r\n",
       b"\r\nGET /b HTTP/1.1\r\n", b"Host: h\r\n\r\n", seen=(Req(b"/a"), Req(b"/b")))
LF = "A lone LF may be taken as the end of a line, or refused; two hops must not differ."
refused("bare-lf-everywhere", LF, b"GET / HTTP/1.1\nHost: h\n\n", lenient=ROOT)
refused("bare-lf-behind-the-request-line", LF, b"GET / HTTP/1.1\nHost: h\r\n\r\n", lenient=ROOT)
refused("bare-lf-between-fields", LF, b"GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n", lenient=ROOT)
refused("bare-lf-as-the-empty-line", LF, b"GET / HTTP/1.1\r\nHost: h\r\n\n", lenient=ROOT)
refused("bare-lf-before-the-request", LF, b"\n" + get(), lenient=ROOT)
CR = "A lone CR makes an element invalid, or is replaced by a space."
refused("bare-cr-in-the-target", CR, line(b"GET /a\rb HTTP/1.1"))
refused("bare-cr-behind-the-method", CR, line(b"GET\r/ HTTP/1.1"), lenient=ROOT)
refused("bare-cr-in-the-version", CR, line(b"GET / HTTP/1.1\r "), lenient=ROOT)
refused("bare-cr-as-line-ends", CR, b"GET / HTTP/1.1\rHost: h\r\r")
refused("cr-cr-lf", CR, b"GET / HTTP/1.1\r\r\nHost: h\r\n\r\n", lenient=ROOT)
refused("bare-cr-before-the-request", CR, b"\r" + get(), lenient=ROOT)
refused("lf-cr", "LF CR is no line end.", b"GET / HTTP/1.1\n\rHost: h\n\r\n\r", lenient=ROOT)
FIRST = "White space between start line and first field: refused, or every line that begins so is dropped."
refused("space-before-the-first-field", FIRST, b"GET / HTTP/1.1\r\n Host: h\r\n\r\n")
refused("space-before-the-first-field-of-two", FIRST, b"GET / HTTP/1.1\r\n X: y\r\nHost: h\r\n\r\n", lenient=(Req(lacks=("x",)),))
refused("tab-before-the-first-field", FIRST, b"GET / HTTP/1.1\r\n\tTransfer-Encoding: chunked\r\nHost: h\r\n\r\n",
        lenient=(Req(lacks=("transfer-encoding",)),))
refused("not-http", "What is no request line is answered with 400.", b"hello world\r\n\r\n")
refused("binary-garbage", "What is no request line is answered with 400, or the connection ends.", bytes(range(256)) * 4)
refused("tls-client-hello", "A TLS hello on a plain port is no request.", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"r" * 506)
refused("a-head-that-is-not-over", "A head that breaks off is no request.", b"GET /a HTTP/1.1\r\nHost: h\r\nX: y", b" HTTP\r \r\n", status=400)

section("9112 2.3")
VERSION = "The version is exactly \"HTTP/\" DIGIT \".\" DIGIT."
served("version-1-0-without-host", "HTTP/1.0 knows no Host; its connection ends after the answer.", b"GET /a HTTP/1.0\r\n\r\n",
       seen=(Req(b"/a"),), stays=False)
served("version-1-0-goes-on-as-1-1", "A proxy sends its own version, not the client's.", b"GET /a HTTP/1.0\r\nHost: h\r\n\r\n",
       seen=(Req(b"/a", minor=1),),
       answers=(ok(),), got=(Rep(lacks=("transfer-encoding",)),), stays=False)
served("version-1-2", "A higher minor version is processed as the highest one that is known (RFC 9110 2.5).", line(b"GET /a HTTP/1.2"),
       seen=(Req(b"/a"),), may_refuse=True)
refused("version-2-0", "Another major version: 505.", line(b"GET / HTTP/2.0"), status=505)
refused("version-3-0", "Another major version: 505.", line(b"GET / HTTP/3.0"), status=505)
refused("version-0-9-written-out", "There is no HTTP/0.9 on the wire.", line(b"GET / HTTP/0.9"), status=505)
refused("request-of-http-0-9", "A simple request of HTTP/0.9 has no place in a keep-alive stream.", b"GET /\r\n\r\n")


@script("The preface of HTTP/2 is no request of HTTP/1.1; who speaks HTTP/2 may go on with it.")
def preface_of_http_2(talk: Talk) -> None:
    client = talk.client()
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    if client.take(5) == b"HTTP/":
        talk.equal(client.until_end(), "closed", "the end")
        talk.promise(client.all.startswith(b"HTTP/1.1 505 "), "505")
    talk.finish()
    talk.equal(talk.requests, [], "requests at the replica")


for name, text in (("lower-case", b"http/1.1"), ("without-minor", b"HTTP/1"), ("without-minor-digit", b"HTTP/1."), ("two-minor-digits", b"HTTP/1.10"),
                   ("two-major-digits", b"HTTP/01.1"), ("comma", b"HTTP/1,1"), ("typo", b"HTP/1.1"), ("sign", b"HTTP/+1.1"), ("spaced", b"HTTP/ 1.1"),
                   ("of-another-protocol", b"ICY/1.1")):
    refused(f"version-{name}", VERSION, line(b"GET / " + text), status=(400, 505))

section("9112 3")
SPACES = "Elements are separated by one space; a lenient parser splits at any white space, which is a risk of its own."
refused("two-spaces-before-the-target", SPACES, line(b"GET  / HTTP/1.1"), lenient=ROOT)
refused("two-spaces-before-the-version", SPACES, line(b"GET /  HTTP/1.1"), lenient=ROOT)
refused("tab-as-separator", SPACES, line(b"GET\t/\tHTTP/1.1"), lenient=ROOT)
refused("space-behind-the-version", SPACES, line(b"GET / HTTP/1.1 "), lenient=ROOT)
refused("space-before-the-method", SPACES, line(b" GET / HTTP/1.1"), lenient=ROOT)
refused("form-feed-as-separator", SPACES, line(b"GET\x0c/ HTTP/1.1"), lenient=ROOT)
refused("without-a-target", "A request line has three elements.", line(b"GET HTTP/1.1"))
refused("without-a-method", "A request line has three elements.", line(b"/ HTTP/1.1"))
refused("an-empty-target", "A target is not empty.", line(b"GET  HTTP/1.1"))

section("9112 3.1")
served("method-lower-case", "Methods are case-sensitive: get is not GET and goes on as it is.", line(b"get /a HTTP/1.1"), seen=(Req(b"/a", b"get"),),
       may_refuse=True)
for method in (b"PURGE", b"M-SEARCH", b"QUERY", b"PROPFIND", b"A1!#$%&'*+-.^_`|~"):
    served(f"method-{method.decode('ascii').partition('!')[0].lower()}", "A method that the proxy does not know goes on.",
           line(method + b" /a HTTP/1.1"),
           seen=(Req(b"/a", method),), may_refuse=not method.isalpha())
refused("method-with-a-separator", "A method is a token.", line(b"GE(T / HTTP/1.1"))
refused("method-with-nul", "A method is a token.", line(b"GE\0T / HTTP/1.1"))
refused("method-beyond-ascii", "A method is a token.", line(b"G\xc9T / HTTP/1.1"))
refused("method-too-long", "A method longer than any that is implemented: 501.", line(b"G" * 9000 + b" / HTTP/1.1"), status=501,
        lenient=(Req(method=b"G" * 9000),))

section("9112 3.2")
refused("host-missing", "HTTP/1.1 without Host: 400.", b"GET / HTTP/1.1\r\n\r\n")
refused("host-twice", "More than one Host line: 400.", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
refused("host-twice-the-same", "More than one Host line: 400, also when they agree.", b"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n")
refused("host-twice-in-1-0", "Two Host lines are two targets in HTTP/1.0 as well.", b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", lenient=ROOT)
for name, value in (("with-a-space", b"a b"), ("with-a-path", b"a/b"), ("with-user-information", b"u@h"), ("with-two-ports", b"h:1:2"),
                    ("with-a-word-as-port", b"h:http"),
                    ("with-an-open-bracket", b"[::1"), ("that-is-a-list", b"a, b"), ("with-a-query", b"h?x"), ("with-quotes", b"\"h\""),
                    ("with-a-backslash", b"a\\b"), ("with-a-fragment", b"h#x"), ("with-words-in-brackets", b"[hello]"),
                    ("with-a-control-byte", b"a\x01b")):
    refused(f"host-{name}", "An invalid Host: 400.", b"GET / HTTP/1.1\r\nHost: " + value + b"\r\n\r\n")
refused("host-with-a-port-too-large", "A port is at most 65535; the grammar has digits only.", b"GET / HTTP/1.1\r\nHost: h:65536\r\n\r\n",
        lenient=ROOT)
refused("host-empty", "An http URI names a host; an empty Host may be taken for a default.", b"GET / HTTP/1.1\r\nHost:\r\n\r\n", lenient=ROOT)
for name, value in (("with-a-port", b"example.org:8080"), ("with-an-address", b"[2001:db8::1]:80"), ("with-an-underscore", b"a_b.example"),
                    ("in-upper-case", b"EXAMPLE.org"), ("with-an-empty-port", b"h:"), ("with-percent-encoding", b"a%41b"),
                    ("with-a-last-dot", b"h.")):
    served(f"host-{name}", "A valid Host goes on.", b"GET / HTTP/1.1\r\nHost: " + value + b"\r\n\r\n", may_refuse=name == "with-percent-encoding")
served("host-in-any-case-and-place", "Field names have no case, Host no fixed place.", b"GET / HTTP/1.1\r\nX: y\r\nhOsT:h\r\n\r\n",
       seen=(Req(has={"x": b"y", "host": b"h"}),))

section("9112 3.2.1")
served("target-of-8000-bytes", "At least 8000 bytes of request line should be supported.", line(b"GET /" + b"a" * 7984 + b" HTTP/1.1"),
       seen=(Req(b"/" + b"a" * 7984),))
for name, target in (("with-a-query", b"/a?b=c&d"), ("with-two-slashes", b"//a//b"), ("percent-encoded", b"/%2e%2E/%41%2fb?%00"),
                     ("with-every-allowed-byte", b"/-._~!$&'()*+,;=:@?/?"),
                     ("with-an-empty-query", b"/?"), ("with-dots", b"/a/../b/./c")):
    served(f"target-{name}", "A proxy does not rewrite path and query when it forwards.", line(b"GET " + target + b" HTTP/1.1"), seen=(Req(target),),
           may_refuse=name in ("with-dots", "percent-encoded"))
TARGET = "An invalid target is answered with 400 and never mended."
for name, target in (("with-a-fragment", b"/a#b"), ("with-a-control-byte", b"/a\x01b"), ("with-nul", b"/a\0b"), ("with-del", b"/a\x7fb"),
                     ("beyond-ascii", b"/\xc3\xa9"),
                     ("with-a-space", b"/a b"), ("without-a-slash", b"a/b")):
    refused(f"target-{name}", TARGET, line(b"GET " + target + b" HTTP/1.1"))

section("9112 3.2.2")
HOST_OF_TARGET = "The authority of an absolute-form target replaces Host."
served("absolute-form", HOST_OF_TARGET, b"GET http://b.example/x?y HTTP/1.1\r\nHost: a\r\n\r\n", seen=(Req(b"/x?y", has={"host": b"b.example"}),),
       may_refuse=True)
served("absolute-form-with-a-port", HOST_OF_TARGET, b"GET http://b.example:81/x HTTP/1.1\r\nHost: b.example:81\r\n\r\n",
       seen=(Req(b"/x", has={"host": b"b.example:81"}),))
served("absolute-form-without-a-path", "An empty path is sent on as /.", b"GET http://b.example HTTP/1.1\r\nHost: b.example\r\n\r\n",
       seen=(Req(b"/", has={"host": b"b.example"}),))
served("absolute-form-with-a-query-alone", "An empty path before a query is sent on as /.",
       b"GET http://b.example?x=1 HTTP/1.1\r\nHost: b.example\r\n\r\n",
       seen=(Req(b"/?x=1", has={"host": b"b.example"}),))
served("absolute-form-in-upper-case", "Schemes have no case.", b"GET HTTP://b.example/x HTTP/1.1\r\nHost: b.example\r\n\r\n",
       seen=(Req(b"/x", has={"host": b"b.example"}),))
refused("absolute-form-without-host", "Host must be there in HTTP/1.1 also beside an absolute-form target.", b"GET http://h/ HTTP/1.1\r\n\r\n")
refused("absolute-form-with-user-information", "User information in an http target is an error (RFC 9110 4.2.4).",
        b"GET http://u:p@h/ HTTP/1.1\r\nHost: h\r\n\r\n",
        lenient=(Req(has={"host": b"h"}),))
refused("absolute-form-without-authority", "An http URI without a host is invalid (RFC 9110 4.2.1).", b"GET http:///x HTTP/1.1\r\nHost: h\r\n\r\n")
refused("absolute-form-of-another-scheme", "A gateway for http serves no other scheme.", b"GET ftp://h/x HTTP/1.1\r\nHost: h\r\n\r\n",
        lenient=(Req(b"/x"),))
refused("absolute-form-with-a-bad-host", "An invalid authority: 400.", b"GET http://a_b]/x HTTP/1.1\r\nHost: h\r\n\r\n")

section("9112 3.2.3")
refused("authority-form-of-get", "Authority-form is for CONNECT alone.", b"GET h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n")
refused("connect", "A reverse proxy opens no tunnel to where the client wants.", b"CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n", status=405)
refused("connect-with-a-path", "CONNECT has an authority as its target.", b"CONNECT / HTTP/1.1\r\nHost: h\r\n\r\n", status=(400, 405))

section("9112 3.2.4")
served("asterisk-of-options", "OPTIONS * asks about the server.", line(b"OPTIONS * HTTP/1.1"), seen=(Req(b"*", b"OPTIONS"),))
served("absolute-form-options-without-a-path", "The last proxy turns it into OPTIONS *.", b"OPTIONS http://h HTTP/1.1\r\nHost: h\r\n\r\n",
       seen=(Req(b"*", b"OPTIONS"),))
refused("asterisk-of-get", "Asterisk-form is for OPTIONS alone.", line(b"GET * HTTP/1.1"))
refused("asterisk-with-more", "Asterisk-form is one byte.", line(b"OPTIONS *a HTTP/1.1"))
