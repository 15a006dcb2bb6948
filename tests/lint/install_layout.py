#!/usr/bin/env python3
"""`cmake --install` with --prefix and DESTDIR puts every file where the FHS wants it, with the right paths inside."""
import os
import pathlib
import subprocess
import sys
import tempfile

import tree

cmake, build = sys.argv[1], sys.argv[2]
WANTED = {
    "bin/muster", "libexec/muster/muster-shim", "lib/systemd/system/muster.service", "lib/systemd/system/muster.socket",
    "lib/systemd/user/muster.service", "lib/sysusers.d/muster.conf",
    *(f"share/doc/muster/{name}" for name in ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "LICENSE")),
    "share/doc/muster/examples/systemd/root.conf", "share/doc/muster/examples/standard-stack/muster.toml",
    "share/doc/muster/examples/python-http/muster.toml", "share/doc/muster/examples/node-http/muster.toml",
    "share/doc/muster/examples/redis-tcp/muster.toml",
}
PLACES = ("bin/", "libexec/muster/", "lib/systemd/system/", "lib/systemd/user/", "lib/sysusers.d/", "share/doc/muster/", "etc/muster/")


def install(prefix: str, destdir: str) -> set[str]:
    environment = {**os.environ, "DESTDIR": destdir}
    subprocess.run([cmake, "--install", build, "--prefix", prefix], check=True, env=environment, stdout=subprocess.DEVNULL)
    top = pathlib.Path(destdir or prefix)
    return {str(f.relative_to(top)) for f in top.rglob("*") if f.is_file()}


def check(prefix: str, config: str, destdir: str, found: set[str]) -> list[str]:
    inside = prefix.lstrip("/") + "/" if destdir else ""
    wanted = {inside + name for name in WANTED} | {config}
    problems = [f"{prefix}: missing {name}" for name in sorted(wanted - found)]
    allowed = tuple(inside + place for place in PLACES) + (config,)
    problems += [f"{prefix}: out of place: {name}" for name in sorted(found) if not name.startswith(allowed)]
    top = pathlib.Path(destdir or prefix)
    for unit in ("system", "user"):
        text = (top / f"{inside}lib/systemd/{unit}/muster.service").read_text(encoding="utf-8")
        if f"ExecStart={prefix}/bin/muster daemon" not in text or "@CMAKE" in text:
            problems.append(f"{prefix}: the {unit} unit does not start {prefix}/bin/muster")
    for program in ("bin/muster", "libexec/muster/muster-shim", "share/doc/muster/examples/standard-stack/db"):
        if not os.access(top / inside / program, os.X_OK):
            problems.append(f"{prefix}: {program} is not executable")
    return problems


with tempfile.TemporaryDirectory() as folder:
    staged, plain = f"{folder}/staged", f"{folder}/plain"
    problems = check("/usr", "etc/muster/muster.toml.example", staged, install("/usr", staged))
    problems += check(plain, "etc/muster/muster.toml.example", "", install(plain, ""))
tree.finish(problems)
