"""PostgreSQL as a stack of three with a volume each, and its client."""
import glob
import os
import pathlib
import subprocess

from lib.expect import DEADLINE, Failed, Skipped, equal
from lib.stack import Stack
from lib.store import Store

# What a user writes: a volume that is new gets a database first.
WRAPPER = """#!/bin/sh
set -e
[ -s "$2/PG_VERSION" ] || {bin}/initdb --pgdata="$2" --username=muster --auth=trust --no-sync >/dev/null
exec {bin}/postgres -D "$2" -p "$1" -h 127.0.0.1 -k "" -c max_connections=10
"""

SPEC = """
[app.pg]
run      = "<DIR>/pg.sh {{port}} {{volume}}"
replicas = 3
port     = <N0>
health   = {{ cmd = "{bin}/pg_isready -q -h 127.0.0.1 -p {{port}}", start = "3m" }}
volume   = "data"
stop     = {{ signal = "INT", timeout = "30s" }}
restart  = {{ backoff = "1ms" }}
{user}
"""


def newest() -> pathlib.Path:
    """Where Debian has the programs."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"))
    if not found:
        raise Skipped("PostgreSQL is not installed")
    return pathlib.Path(found[-1]).parent


def postgres(stack: Stack) -> Store:
    programs = newest()

    def ask(ordinal: int, statement: str) -> str:
        port = str(stack.ports.numbered(ordinal))
        run = subprocess.run([programs / "psql", "-X", "-At", "-h", "127.0.0.1", "-p", port, "-U", "muster", "-d", "postgres", "-c", statement],
                             capture_output=True, text=True, check=False, timeout=DEADLINE)
        if run.returncode != 0:
            raise Failed(f"psql on pg/{ordinal}, {statement}: {run.stderr}")
        return run.stdout.strip()

    def fill(_: Stack) -> None:
        for ordinal in range(3):
            ask(ordinal, f"CREATE TABLE who AS SELECT 'pg/{ordinal}' AS name; CREATE TABLE numbers AS SELECT generate_series(1, 1000)")

    def holds(_: Stack, ordinals: range, when: str) -> None:
        for ordinal in ordinals:
            equal(ask(ordinal, "SELECT name, (SELECT count(*) FROM numbers) FROM who"), f"pg/{ordinal}|1000", f"data of pg/{ordinal} {when}")

    def is_empty(_: Stack, ordinal: int) -> None:
        equal(ask(ordinal, "SELECT count(*) FROM pg_tables WHERE tablename = 'who'"), "0", "tables of an app with another name")

    wrapper = stack.folder / "pg.sh"
    wrapper.write_text(WRAPPER.format(bin=programs), encoding="utf-8")
    wrapper.chmod(0o755)
    stack.folder.chmod(0o755)
    user = 'user = "nobody"' if os.geteuid() == 0 else ""  # it refuses to run as root
    return Store("pg", SPEC.format(bin=programs, user=user), fill, holds, is_empty)
