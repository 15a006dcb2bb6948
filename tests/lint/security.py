#!/usr/bin/env python3
"""docs/security.md proves its rules: each row names tests, and each of them is there.

    security.py ROOT
"""
import pathlib
import re
import sys

import tree

root = pathlib.Path(sys.argv[1]).resolve()
text = (root / "docs/security.md").read_text(encoding="utf-8")

known = set()
for file in tree.tracked(root, "tests/*"):
    source = file.read_text(encoding="utf-8", errors="replace") if file.suffix in {".cpp", ".py"} else ""
    known |= {f"{suite}.{name}" for suite, name in re.findall(r"\bTEST(?:_[FP])?\(\s*(\w+),\s*(\w+)\)", source)}
    known |= set(re.findall(r"^@scenario\ndef (\w+)\(", source, re.M))

problems = []
rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| rule")]
if len(rows) < 10:
    problems.append(f"docs/security.md has {len(rows)} rules")
for row in rows:
    rule, tests = (cell.strip() for cell in row.strip("|").rsplit("|", 1))
    named = re.findall(r"`([\w.]+)`", tests)
    if not named:
        problems.append(f"docs/security.md: no test proves: {rule}")
    problems += [f"docs/security.md names {name}, which is no test" for name in named if name not in known]

print("\n".join(problems) or f"{len(rows)} rules, each with its tests")
sys.exit(1 if problems else 0)
