#!/usr/bin/env python3
"""TLS as an operator's programs see it: openssl and curl against the daemon, certificates made for each run."""
import pathlib
import re
import shutil
import signal
import subprocess
import sys

from lib.certificates import make_certificate
from lib.expect import DEADLINE, Skipped, check, contains, equal, wait_for
from lib.http import get
from lib.scenario import main, scenario
from lib.stack import Stack


def served_name(port: int, name: str | None) -> str:
    """The common name of the certificate that a client gets which asks for this name."""
    asked = ["-servername", name] if name else ["-noservername"]
    shown = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *asked], input=b"", capture_output=True, timeout=60)
    found = re.search(rb"subject=CN = (\S+)", shown.stdout)
    check(found, f"s_client shows no certificate: {shown.stdout[-500:]!r} {shown.stderr[-500:]!r}")
    return found.group(1).decode()


def curl(port: int, name: str, ca: pathlib.Path, *arguments: str) -> str:
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--fail", "--max-time", "60", "--cacert", str(ca), "--resolve", f"{name}:{port}:127.0.0.1",
         *arguments, f"https://{name}:{port}/"], capture_output=True, text=True, timeout=90)
    equal(done.returncode, 0, f"curl: {done.stderr}")
    return done.stdout


SPEC = """
[app.web]
run      = "<REPLICA> {port}"
replicas = 2
health   = "/healthz"

[listen.front]
bind = "127.0.0.1:<L0>"
to   = "web"
tls  = { cert = ["one.pem", "two.pem"], key = ["one.key", "two.key"] }

[[listen.plain.route]]
redirect = "https://{host}{uri}"

[listen.plain]
bind = "127.0.0.1:<L1>"
"""


@scenario
def https_by_name_and_reload() -> None:
    """Two certificates by name; a bad new one keeps the old one and is shown; a good one serves new connections."""
    with Stack() as stack:
        make_certificate(stack, "one", "one", "DNS:one.test")
        make_certificate(stack, "two", "two", "DNS:*.two.test")
        stack.write(SPEC)
        stack.run("check")
        stack.daemon()
        stack.ready()
        port = stack.ports.listen(0)
        equal([served_name(port, name) for name in ("one.test", "a.two.test", "other.test", None)], ["one", "two", "one", "one"], "by name")
        replicas = {curl(port, "one.test", stack.folder / "one.pem").split()[0] for _ in range(2)}
        replicas |= {curl(port, "a.two.test", stack.folder / "two.pem", "--tls-max", "1.2").split()[0]}
        equal(len(replicas), 2, f"round robin over {replicas}")
        moved = get(stack.ports.listen(1), "/x", fields={"Host": "one.test"})
        equal((moved.status, moved.fields["location"]), (308, "https://one.test/x"), "the way to https")
        pids = stack.pids()

        (stack.folder / "two.key").write_text((stack.folder / "one.key").read_text())
        refused = stack.run("reload", code=65)
        contains(refused.stderr + refused.stdout, ["two.key", "does not belong to the certificate"], "the refusal")
        equal(served_name(port, "a.two.test"), "two", "the old certificate goes on")
        row = next(row for row in stack.ps()["listeners"] if row["name"] == "front")
        contains(row["reason"], "does not belong to the certificate", "the listener's reason")
        contains(stack.run("ps").stdout, "does not belong to the certificate", "ps")
        contains(stack.run("ps", "-o", "wide").stdout, "TLS UNTIL", "ps -o wide")
        check(any("does not belong" in event["text"] for event in stack.events()), "no event")

        held = subprocess.Popen(["openssl", "s_client", "-quiet", "-connect", f"127.0.0.1:{port}", "-servername", "a.two.test"],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        ask = b"GET / HTTP/1.1\r\nHost: a.two.test\r\n\r\n"
        held.stdin.write(ask)
        held.stdin.flush()
        contains(held.stdout.readline().decode(), "200 OK", "before the reload")
        make_certificate(stack, "two", "renewed", "DNS:*.two.test")
        stack.daemon_process.send_signal(signal.SIGHUP)
        wait_for("the new certificate", lambda: served_name(port, "a.two.test") == "renewed")
        row = next(row for row in stack.ps()["listeners"] if row["name"] == "front")
        equal((row["reason"], row["tls"]["certificates"][1]["names"]), (None, ["*.two.test"]), "the listener again")
        held.stdin.write(ask)
        held.stdin.flush()
        wait_for("an answer on the old connection", lambda: "200 OK" in held.stdout.readline().decode())
        held.kill()
        held.wait()
        equal(stack.pids(), pids, "pids over all reloads")


@scenario
def h2load_over_tls_by_both_names() -> None:
    """New and kept connections under both names, while the certificates are renewed again and again: nothing fails."""
    if not shutil.which("h2load"):
        raise Skipped("h2load is not installed")
    with Stack() as stack:
        make_certificate(stack, "one", "one", "DNS:one.test")
        make_certificate(stack, "two", "two", "DNS:*.two.test")
        stack.write(SPEC)
        stack.daemon()
        stack.ready()
        port = stack.ports.listen(0)
        loads = [subprocess.Popen(["h2load", "--h1", "-n4000", f"-c{clients}", f"--connect-to=127.0.0.1:{port}", f"https://{name}/"],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                 for name in ("one.test", "a.two.test") for clients in (10, 400)]
        try:
            renewed = 0
            while any(load.poll() is None for load in loads):
                renewed += 1
                make_certificate(stack, "two", f"renewal-{renewed}", "DNS:*.two.test")
                stack.run("reload")
            for load in loads:
                output = load.communicate(timeout=DEADLINE)[0]
                contains(output, ["4000 succeeded, 0 failed, 0 errored, 0 timeout", "4000 2xx"], "h2load")
        finally:
            for load in loads:
                load.kill()
        equal(served_name(port, "a.two.test"), f"renewal-{renewed}", "the last certificate")


@scenario
def https_to_tcp_apps() -> None:
    """mode = "tcp" with client certificates."""
    with Stack() as stack:
        make_certificate(stack, "server", "server", "DNS:db.test")
        make_certificate(stack, "client", "client", "DNS:client.test")
        stack.write('[app.web]\nrun = "<REPLICA> {port}"\n[listen.front]\nbind = "127.0.0.1:<L0>"\nmode = "tcp"\nto = "web"\n'
                    'tls = { cert = "server.pem", key = "server.key", min = "1.3", client_ca = "client.pem" }\n')
        stack.daemon()
        stack.ready()
        port, ca = stack.ports.listen(0), stack.folder / "server.pem"
        pair = ["--cert", str(stack.folder / "client.pem"), "--key", str(stack.folder / "client.key")]
        contains(curl(port, "db.test", ca, *pair), "web/0", "with a certificate")
        bare = subprocess.run(["curl", "--silent", "--insecure", "--max-time", "60", f"https://127.0.0.1:{port}/"], capture_output=True, timeout=90)
        check(bare.returncode not in (0, 28), f"without a certificate: curl exits {bare.returncode}")
        old = subprocess.run(["curl", "--silent", "--insecure", "--tls-max", "1.2", *pair, f"https://127.0.0.1:{port}/"], capture_output=True, timeout=90)
        check(old.returncode not in (0, 28), f"TLS 1.2: curl exits {old.returncode}")


@scenario
def up_watches_its_certificates() -> None:
    """`up` takes a renewed pair by itself, and does not start without a good one."""
    with Stack() as stack:
        make_certificate(stack, "one", "one", "DNS:one.test")
        make_certificate(stack, "two", "two", "DNS:two.test")
        stack.write(SPEC)
        key = stack.folder / "one.key"
        good = key.read_text()
        key.write_text("no key\n")
        refused = stack.run("check", code=65)
        contains(refused.stdout + refused.stderr, ["one.key", "no private key"], "check")
        equal(stack.up(wait=False).wait(timeout=60), 65, "up with a bad key")
        key.write_text(good)
        stack.up()
        stack.ready()
        port = stack.ports.listen(0)
        make_certificate(stack, "one", "renewed", "DNS:one.test")
        wait_for("the new certificate", lambda: served_name(port, "one.test") == "renewed")


if __name__ == "__main__":
    sys.exit(main())
