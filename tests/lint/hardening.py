#!/usr/bin/env python3
"""The shipped binary is hardened and starts without shared libraries beyond libc and libm."""
import re
import subprocess
import sys

import tree

binary = sys.argv[1]


def readelf(*options: str) -> str:
    return subprocess.run(["readelf", "-W", *options, binary], capture_output=True, text=True, check=True).stdout


dynamic, headers, symbols = readelf("-d"), readelf("-h", "-l"), readelf("--dyn-syms")
needed = set(re.findall(r"\(NEEDED\).*\[(.+)\]", dynamic))
extra = needed - {"libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}
problems = [f"needs the shared library {name}: each start of a replica pays for it" for name in sorted(extra)]
for holds, what in [
    ("DYN (" in headers and "PIE" in dynamic, "not position independent (PIE)"),
    ("GNU_RELRO" in headers and "BIND_NOW" in dynamic, "not fully read-only after relocation (RELRO, now)"),
    (re.search(r"GNU_STACK.*RWE", headers) is None, "executable stack"),
    ("__stack_chk_fail" in symbols, "no stack protector"),
    (re.search(r"__\w+_chk\b(?<!__stack_chk)", symbols) is not None, "no _FORTIFY_SOURCE"),
]:
    if not holds:
        problems.append(what)

if len(sys.argv) > 2:  # the small shim: no C library, so nothing else may load, relocate or interpret it either
    binary = sys.argv[2]
    dynamic, headers, relocations = readelf("-d"), readelf("-h", "-l"), readelf("-r")
    for holds, what in [
        ("DYN (" in headers and "PIE" in dynamic, "not position independent (PIE)"),
        ("GNU_RELRO" in headers and "BIND_NOW" in dynamic, "not fully read-only after relocation (RELRO, now)"),
        (re.search(r"GNU_STACK.*RWE", headers) is None, "executable stack"),
        ("(NEEDED)" not in dynamic and "INTERP" not in headers, "needs a library or an interpreter"),
        ("no relocations" in relocations, "has relocations, which nobody would apply"),
    ]:
        if not holds:
            problems.append(f"muster-shim: {what}")
tree.finish(problems)
