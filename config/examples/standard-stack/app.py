"""A small web API: GET /healthz, GET /KEY, PUT /KEY. Stores in the db replicas."""
import argparse
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from database import ask

NAME = f"{os.environ.get('MUSTER_APP', 'web')}/{os.environ.get('MUSTER_ORDINAL', '0')}"


class Api(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status: int, text: str) -> None:
        body = (text + "\n").encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Replica", NAME)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        key = self.path.strip("/")
        if key == "healthz":
            self.answer(200, "ok")
        elif key == "":
            self.answer(200, NAME)
        else:
            value = ask(f"GET {key}", key)
            self.answer(200 if value else 404, value or "no such key")

    def do_PUT(self) -> None:
        key = self.path.strip("/")
        value = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode("utf-8", "replace")
        self.answer(200, ask(f"SET {key} {value.splitlines()[0] if value else '-'}", key))

    def log_message(self, format: str, *values: object) -> None:
        if self.path != "/healthz":
            print(format % values, flush=True)


class Server(ThreadingHTTPServer):
    request_queue_size = 512


arguments = argparse.ArgumentParser()
arguments.add_argument("--port", type=int, required=True)
Server(("127.0.0.1", arguments.parse_args().port), Api).serve_forever()
