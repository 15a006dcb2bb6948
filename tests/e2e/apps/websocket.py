"""A WebSocket server that echoes short text frames (RFC 6455); other requests get 426."""
import base64
import hashlib
import socketserver
import sys

MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Session(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        fields = {}
        while (line := self.rfile.readline().decode("latin-1").strip()):
            name, _, value = line.partition(":")
            fields[name.lower()] = value.strip()
        if fields.get("upgrade", "").lower() != "websocket":
            self.wfile.write(b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nContent-Length: 0\r\nConnection: close, upgrade\r\n\r\n")
            return
        accept = base64.b64encode(hashlib.sha1((fields["sec-websocket-key"] + MAGIC).encode()).digest()).decode()
        self.wfile.write(f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n".encode())
        while len(head := self.rfile.read(2)) == 2:
            mask = self.rfile.read(4)
            payload = self.rfile.read(head[1] & 0x7F)
            self.wfile.write(bytes([head[0], len(payload)]) + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload)))


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


Server(("127.0.0.1", int(sys.argv[1])), Session).serve_forever()
