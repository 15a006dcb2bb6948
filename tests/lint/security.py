#!/usr/bin/env python3
"""docs/security.md proves its rules: each row names tests, and each of them is there and is built.

    security.py ROOT
"""
import pathlib
import re
import sys

import tree

root = pathlib.Path(sys.argv[1]).resolve()
text = (root / "docs/security.md").read_text(encoding="utf-8")



def is_built(source: pathlib.Path) -> bool:
    lists = source.parent / "CMakeLists.txt"
    return lists.is_file() and re.search(rf"(?<![\w/]){re.escape(source.name)}\b", lists.read_text(encoding="utf-8")) is not None


known = set()
for file in tree.tracked(root, "tests/*"):
    source = file.read_text(encoding="utf-8", errors="replace") if file.suffix in {".cpp", ".py"} else ""
    found = {f"{suite}.{name}" for suite, name in re.findall(r"^TEST(?:_[FP])?\(\s*(\w+),\s*(\w+)\)", source, re.M)}
    known |= found if found and is_built(file) else set()
    known |= set(re.findall(r"^@scenario\ndef (\w+)\(", source, re.M))  # that each is run, all_listed.py sees to

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
