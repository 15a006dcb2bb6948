#include "cli/demo_stack.h"

#include "fmt/core.h"

namespace muster::cli {

namespace {

constexpr const char* api_program = R"py("""A small web API: says who answers."""
import argparse
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAME = f"{os.environ['MUSTER_APP']}/{os.environ['MUSTER_ORDINAL']}"


class Api(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = f"{os.environ['GREETING']} {NAME}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *values):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 512


arguments = argparse.ArgumentParser()
arguments.add_argument("--port", type=int, required=True)
Server(("127.0.0.1", arguments.parse_args().port), Api).serve_forever()
)py";

constexpr const char* storage_program =
    R"py("""Keeps one value in its own folder: "SET text" and "GET", one line each."""
import argparse
import pathlib
import socketserver

arguments = argparse.ArgumentParser()
arguments.add_argument("--data", type=pathlib.Path, required=True)
arguments.add_argument("--port", type=int, required=True)
ours = arguments.parse_args()
FILE = ours.data / "value"


class Storage(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            word, _, text = line.decode().rstrip("\n").partition(" ")
            if word == "SET":
                FILE.write_text(text)
            answer = FILE.read_text() if FILE.exists() else ""
            self.wfile.write(answer.encode() + b"\n")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


Server(("127.0.0.1", ours.port), Storage).serve_forever()
)py";

constexpr const char* worker_program = R"py("""Reads every storage replica again and again."""
import os
import socket
import threading

stop = threading.Event()
for round in range(1, 1_000_000_000):
    for address in os.environ["MUSTER_ADDR_STORAGE"].split(","):
        host, _, port = address.rpartition(":")
        try:
            with socket.create_connection((host, int(port)), timeout=2) as connection:
                connection.sendall(b"GET\n")
                connection.makefile().readline()
        except OSError as problem:
            print(f"{address} does not answer: {problem}", flush=True)
    if round % 10 == 1:
        print(f"round {round} over the storage is done", flush=True)
    stop.wait(0.2)
)py";

}  // namespace

std::string demo_spec(const DemoPorts& ports, const std::string& greeting) {
  return fmt::format(R"toml([app.api]
run      = "python3 api.py --port {{port}}"
replicas = {api}
listen   = "127.0.0.1:{listener}"
health   = {{ http = "/healthz", timeout = "10s" }}  # also on a machine that is busy with something else
after    = ["storage"]
stop     = {{ drain = "10s" }}
env      = {{ GREETING = "{greeting}" }}

[app.worker]
run   = "python3 worker.py"
after = ["storage"]

[app.storage]
run      = "python3 storage.py --data {{volume}} --port {{port}}"
replicas = {storage}
port     = {storage_port}
volume   = "data"

[daemon]
port_range = "{range_first}-{range_last}"
)toml",
                     fmt::arg("api", demo_api_replicas), fmt::arg("listener", ports.listener()),
                     fmt::arg("greeting", greeting), fmt::arg("storage", demo_storage_replicas),
                     fmt::arg("storage_port", ports.storage(0)), fmt::arg("range_first", ports.range_first()),
                     fmt::arg("range_last", ports.range_last()));
}

std::vector<std::pair<std::string, std::string>> demo_programs() {
  return {{"api.py", api_program}, {"storage.py", storage_program}, {"worker.py", worker_program}};
}

}  // namespace muster::cli
