#!/usr/bin/env python3
"""Nothing in the tree depends on the machine it was written on, and no promise is left in the code."""
import pathlib
import re
import sys

import tree

root = pathlib.Path(sys.argv[1]).resolve()
HERE = pathlib.Path(__file__).resolve()
EVERYWHERE = [
    (re.compile(r"(?<![\w.])/(?:work|farm|scratch)/\w"), "a path of a build machine"),
    (re.compile(r"(?<![\w.])/home/(?!x/|user/|NAME/|dev\b)\w"), "a path of somebody's home"),
    (re.compile(r"\b(?:deb|snapshot|security)\.debian\.org\b|\bregistry\.npmjs\b|\bpypi\.org\b|\bnodesource\b"), "a package host"),
]
IN_CODE = [(re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b"), "a promise left in the code")]
CODE = {".cpp", ".h", ".py", ".sh", ".cmake", ".js"}

problems = []
for file in tree.tracked(root):
    if file.resolve() == HERE:
        continue
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        continue  # a broken spec or another binary input of a test
    rules = EVERYWHERE + (IN_CODE if file.suffix in CODE else [])
    for number, line in enumerate(text.splitlines(), 1):
        problems += [f"{file.relative_to(root)}:{number}: {what}: {line.strip()[:80]}" for rule, what in rules if rule.search(line)]
tree.finish(problems)
