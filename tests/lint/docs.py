#!/usr/bin/env python3
"""README.md and ARCHITECTURE.md tell the truth: commands exist, links and named files exist, no source is unnamed.

    docs.py ROOT           the files alone
    docs.py ROOT MUSTER    also every `muster …` command line of the README, against `muster CMD --help`
"""
import pathlib
import re
import shlex
import subprocess
import sys

import tree

root = pathlib.Path(sys.argv[1]).resolve()
readme = (root / "README.md").read_text(encoding="utf-8")
architecture = (root / "ARCHITECTURE.md").read_text(encoding="utf-8")


def broken_links(name: str, text: str) -> list[str]:
    targets = re.findall(r"\]\(([^)#]+)\)", text)
    return [f"{name}: link to {t}, which is not there" for t in targets if "://" not in t and not (root / t).exists()]


def setup_commands() -> list[str]:
    asked = set(re.findall(r"\./setup\.sh(?: ([a-z]+))?", readme))
    known = set(re.findall(r"^#   \./setup\.sh ([a-z]+)", (root / "setup.sh").read_text(encoding="utf-8"), re.M)) | {"", "tsan"}
    return [f"README.md: ./setup.sh {word} is not a way to call it" for word in sorted(asked - known)]


def named_in_architecture() -> list[str]:
    """Every path in backticks exists; every folder under src and tests and every source (by stem) is named."""
    problems = []
    named = set(re.findall(r"`([^`\s]+)`", architecture))
    for path in sorted(n for n in named if "/" in n and re.fullmatch(r"[\w./-]+", n) and not n.startswith(("/", "."))):
        if not list(root.glob(path)) and not list(root.glob(path + ".*")):
            problems.append(f"ARCHITECTURE.md names {path}, which is not there")
    wanted = set()
    for file in tree.tracked(root, "src/*", "tests/*"):
        relative = file.relative_to(root)
        if relative.parts[0] == "src" and file.suffix in {".h", ".cpp"}:
            wanted.add(str(relative.with_suffix("")))
        if len(relative.parts) > 2:
            wanted.add("/".join(relative.parts[:2]) + "/")
    stems = {name[: -len(s)] if s and name.endswith(s) else name for name in named for s in (".h", ".cpp", "")}
    return problems + [f"ARCHITECTURE.md does not name {name}" for name in sorted(wanted - stems)]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=20, cwd="/")


def command_lines() -> list[list[str]]:
    """Every `muster …` in a sh block or in the table of commands, comments and placeholders' brackets removed."""
    lines = []
    for block in re.findall(r"```sh\n(.*?)```", readme, re.DOTALL):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            if "muster" in words[:2] and "systemctl" not in words:
                lines.append(words[words.index("muster") + 1 :])
    lines += [shlex.split(text.replace("[", "").replace("]", "")) for text in re.findall(r"`muster ([^`]+)`", readme)]
    return lines


def commands_exist(muster: str) -> list[str]:
    problems = []
    for words in command_lines():
        if words[0] == "CMD":
            continue
        shown = run(muster, words[0], "--help")
        if shown.returncode != 0:
            problems.append(f"README.md: muster {words[0]} --help exits {shown.returncode}")
        helped = shown.stdout + run(muster, "--help").stdout
        problems += [f"README.md: muster {' '.join(words)}: {f} is not in its help" for f in words if f.startswith("-") and f not in helped]
    if len(command_lines()) < 10:
        problems.append("README.md: fewer than ten command lines found: the check is blind")
    if run(muster, "no-such-command", "--help").returncode == 0:
        problems.append("an unknown command has help: the check is blind")
    return problems


found = broken_links("README.md", readme) + broken_links("ARCHITECTURE.md", architecture) + setup_commands() + named_in_architecture()
if len(sys.argv) > 2:
    found += commands_exist(sys.argv[2])
tree.finish(found)
