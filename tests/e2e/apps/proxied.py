"""HTTP behind the PROXY protocol: each answer says in hexadecimal what its connection began with, and how many requests it had.

    proxied.py PORT v1|v2
"""
import socketserver
import sys


class Handler(socketserver.StreamRequestHandler):
    def header(self) -> bytes:
        if sys.argv[2] == "v1":
            return self.rfile.readline()
        fixed = self.rfile.read(16)
        return fixed + self.rfile.read(int.from_bytes(fixed[14:16], "big"))

    def handle(self) -> None:
        header = self.header()
        if not header.startswith((b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n")):
            return
        count = 0
        while self.rfile.readline().startswith(b"GET "):
            while self.rfile.readline() not in (b"\r\n", b""):
                pass
            count += 1
            body = f"{header.hex()} {count}".encode()
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


with Server(("127.0.0.1", int(sys.argv[1])), Handler) as server:
    server.serve_forever()
