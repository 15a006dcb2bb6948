"""The proxies under test, each started once: every lane is a plain and a tight listener with one replica of its own.

The tight listener takes bodies up to 100 KiB, waits 1500 ms for a head and as long for an answer. haproxy and nginx run
as their manuals set up a reverse proxy with keep-alive to the servers and WebSocket.
"""
import contextlib
import dataclasses
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import typing

from lib import procs
from lib.expect import DEADLINE, Skipped, check, wait_for
from lib.ports import PortBlock, is_open
from lib.stack import SYSTEM_PATH, Stack
from talk import Lane

LANES = 8
HERE = pathlib.Path(__file__).resolve().parent


def version_of(command: list[str]) -> str:
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+\.\d+", run.stdout + run.stderr)
    return found[0] if found else "?"


@contextlib.contextmanager
def muster(binary: str) -> typing.Iterator[list[Lane]]:
    Stack.muster = binary
    with Stack() as stack, socket.socket(socket.AF_UNIX) as door:
        door.bind(str(stack.folder / "door"))
        door.listen(LANES)
        door.settimeout(DEADLINE)
        spec = f'[daemon]\nthreads = 1\nport_range = "{stack.ports.auto_range()}"\n'
        for lane in range(LANES):
            spec += (f'[app.lane{lane}]\nrun = "python3 {HERE}/backend.py {{port}} <DIR>/door"\nhealth = "notify"\n'
                     f'[listen.plain{lane}]\nbind = "127.0.0.1:<L{lane}>"\nto = "lane{lane}"\n'
                     f'[listen.tight{lane}]\nbind = "127.0.0.1:<N{lane}>"\nto = "lane{lane}"\nbody_max = "100KiB"\n'
                     'timeout = { head = "1500ms", response = "1500ms" }\n')
        stack.write(spec)
        stack.daemon(wait=False)
        backends: dict[str, socket.socket] = {}
        with contextlib.ExitStack() as open_sockets:
            while len(backends) < LANES:
                with door.accept()[0] as replica:
                    name, descriptors, _, _ = socket.recv_fds(replica, 64, 1)
                backends[name.decode()] = open_sockets.enter_context(socket.socket(fileno=descriptors[0]))
            stack.ready()
            yield [Lane(backends[f"lane{lane}"], {"plain": stack.ports.listen(lane), "tight": stack.ports.numbered(lane)}) for lane in range(LANES)]
        stack.end(code=0)


def haproxy_config(lanes: list[Lane], _: pathlib.Path) -> str:
    text = """global
  nbthread 1
defaults
  mode http
  timeout connect 1s
  timeout client 60s
  timeout server 60s
  timeout http-keep-alive 60s
  option http-keep-alive
  option forwardfor
  http-reuse always
"""
    for number, lane in enumerate(lanes):
        port = lane.backend.getsockname()[1]
        text += f"""frontend plain{number}
  bind 127.0.0.1:{lane.ports["plain"]}
  default_backend plain{number}
backend plain{number}
  server s 127.0.0.1:{port}
frontend tight{number}
  bind 127.0.0.1:{lane.ports["tight"]}
  timeout http-request 1500ms
  http-request deny deny_status 413 if {{ req.body_size gt 102400 }}
  default_backend tight{number}
backend tight{number}
  timeout server 1500ms
  server s 127.0.0.1:{port}
"""
    return text


def nginx_config(lanes: list[Lane], folder: pathlib.Path) -> str:
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    text = f"""{"user root;" if os.getuid() == 0 else ""}
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log crit;
events {{ worker_connections 4096; }}
http {{ access_log off; {temporary}
map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
proxy_http_version 1.1; proxy_request_buffering off; proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;
"""
    for number, lane in enumerate(lanes):
        port = lane.backend.getsockname()[1]
        text += f"""upstream u{number} {{ server 127.0.0.1:{port} max_fails=0; keepalive 16; }}
server {{ listen 127.0.0.1:{lane.ports["plain"]}; client_max_body_size 0; location / {{ proxy_pass http://u{number}; }} }}
server {{ listen 127.0.0.1:{lane.ports["tight"]}; client_max_body_size 100k; client_header_timeout 1500ms; proxy_read_timeout 1500ms;
  location / {{ proxy_pass http://u{number}; }} }}
"""
    return text + "}\n"


@contextlib.contextmanager
def other(program: str, configure: typing.Callable[[list[Lane], pathlib.Path], str], flags: list[str]) -> typing.Iterator[list[Lane]]:
    binary = shutil.which(program, path=SYSTEM_PATH)
    if not binary:
        raise Skipped(f"{program} is not installed (Debian package {program})")
    with contextlib.ExitStack() as end:
        folder = pathlib.Path(tempfile.mkdtemp(prefix="conformance-"))
        end.callback(shutil.rmtree, folder, True)
        ports = PortBlock()
        end.callback(ports.close)
        lanes = []
        for number in range(LANES):
            backend = end.enter_context(socket.create_server(("127.0.0.1", 0), backlog=512))
            lanes.append(Lane(backend, {"plain": ports.listen(number), "tight": ports.numbered(number)}))
        (folder / "config").write_text(configure(lanes, folder), encoding="ascii")
        with open(folder / "output", "wb") as output:
            process = subprocess.Popen([binary, *flags, str(folder / "config")], cwd=folder, stdin=subprocess.DEVNULL, stdout=output,
                                       stderr=output, preexec_fn=procs.die_with_parent)
        end.callback(process.wait, DEADLINE)
        end.callback(process.terminate)

        def listens() -> bool:
            check(process.poll() is None, f"{program} ended: {(folder / 'output').read_text(encoding='utf-8', errors='replace')}")
            return all(is_open(port) for lane in lanes for port in lane.ports.values())

        wait_for(f"{program} listens", listens, every=0.05)
        yield lanes


@dataclasses.dataclass(frozen=True)
class Peer:
    name: str
    version: str
    start: typing.Callable[[], contextlib.AbstractContextManager[list[Lane]]]


def all_peers(binary: str) -> list[Peer]:
    return [
        Peer("muster", version_of([binary, "version"]), lambda: muster(binary)),
        Peer("haproxy", version_of(["haproxy", "-v"]), lambda: other("haproxy", haproxy_config, ["-db", "-f"])),
        Peer("nginx", version_of(["nginx", "-v"]), lambda: other("nginx", nginx_config, ["-e", "stderr", "-c"])),
    ]
