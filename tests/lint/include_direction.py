#!/usr/bin/env python3
"""Checks who may include whom: base < spec < {health, lb} < supervisor < simulator < cli, main; and what pure files may touch.

A pure file decides and nothing else: it includes no event loop and no logger and reads no clock, not even by way of
another header of ours. Every file is pure unless its source stands in a set(…SHELLS …) of its module's CMakeLists.txt.

    include_direction.py ROOT                the check
    include_direction.py ROOT --self-test    plants forbidden includes in a copy; each must be found
"""
import pathlib
import re
import shutil
import sys
import tempfile

MAY_INCLUDE = {
    "base": {"base"},
    "spec": {"base", "spec"},
    "health": {"base", "spec", "health"},
    "lb": {"base", "spec", "lb"},
    "supervisor": {"base", "spec", "health", "lb", "supervisor"},
    "simulator": {"base", "spec", "health", "lb", "supervisor", "simulator"},
    "cli": {"base", "spec", "health", "lb", "supervisor", "simulator", "cli"},
    "main": {"base", "spec", "health", "lb", "supervisor", "simulator", "cli"},
}

# base is the vocabulary of both sides, cli and main are all shell; there only the direction is checked.
ALL_SHELL = {"base", "cli", "main"}
SHELL_SET = re.compile(r"\bset\(\w*SHELLS\b([^)]*)\)")

INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]')
LOOP_OR_LOGGER = re.compile(r"^(uv\.h|uv/|boost/asio|spdlog/)")
CLOCK = re.compile(
    r"\b(?:steady_clock|system_clock|high_resolution_clock)::now\b|\bclock_gettime\b|\bgettimeofday\b"
    r"|\bstd::time\s*\(|\btime\s*\(\s*(?:nullptr|NULL|0)\s*\)|\buv_(?:hrtime|now)\b"
)


def module_of(root: pathlib.Path, file: pathlib.Path) -> str:
    parts = file.relative_to(root / "src").parts
    return parts[0] if len(parts) > 1 else "main"


def shells_of(root: pathlib.Path) -> dict[str, set[str]]:
    """Module -> stems of its shells, read from the lists that the build uses."""
    shells = {}
    for module in MAY_INCLUDE:
        lists = root / "src" / module / "CMakeLists.txt"
        text = re.sub(r"#.*", "", lists.read_text(encoding="utf-8")) if lists.exists() else ""
        names = [name for block in SHELL_SET.findall(text) for name in block.split()]
        shells[module] = {pathlib.Path(name).stem for name in names}
    return shells


def touches_the_world(line: str) -> str | None:
    include = INCLUDE.match(line)
    if include:
        return f"include {include.group(1)}" if LOOP_OR_LOGGER.match(include.group(1)) else None
    return "read a clock" if CLOCK.search(line.split("//", 1)[0]) else None


def ours_included(root: pathlib.Path, line: str) -> str | None:
    include = INCLUDE.match(line)
    ours = include and include.group(1).partition("/")[0] in MAY_INCLUDE and (root / "src" / include.group(1)).exists()
    return include.group(1) if ours else None


def worldly_headers(root: pathlib.Path, lines: dict[pathlib.Path, list[str]]) -> set[str]:
    """Headers that touch the world themselves or by what they include."""
    headers = {str(f.relative_to(root / "src")): text for f, text in lines.items() if f.suffix == ".h"}
    worldly = {name for name, text in headers.items() if not name.startswith("base/") and any(map(touches_the_world, text))}
    grown = True
    while grown:
        more = {n for n, text in headers.items() if any(ours_included(root, line) in worldly for line in text)}
        grown = not more <= worldly
        worldly |= more
    return worldly


def check(root: pathlib.Path) -> list[str]:
    found = []
    files = sorted(f for f in (root / "src").rglob("*") if f.suffix in {".h", ".cpp"})
    if not files:
        return ["no sources found"]
    lines = {f: f.read_text(encoding="utf-8").splitlines() for f in files}
    shells, worldly = shells_of(root), worldly_headers(root, lines)
    for file in files:
        module = module_of(root, file)
        if module not in MAY_INCLUDE:
            found.append(f"{file.relative_to(root)}: {module} has no place in the order of modules")
            continue
        pure = module not in ALL_SHELL and file.stem not in shells[module]
        for number, line in enumerate(lines[file], 1):
            place, included = f"{file.relative_to(root)}:{number}", ours_included(root, line)
            if included and included.partition("/")[0] not in MAY_INCLUDE[module]:
                found.append(f"{place}: {module} may not include {included}")
            if pure and touches_the_world(line):
                found.append(f"{place}: a pure file may not {touches_the_world(line)}")
            if pure and included in worldly:
                found.append(f"{place}: a pure file may not include {included}, which is a shell")
    return found


# Where a planted line goes, what it is, and the words that the report must hold.
PLANTS = [
    ("src/base/fd.h", '#include "spec/spec.h"', "base may not include spec/spec.h"),
    ("src/spec/spec.h", '#include "health/verdict.h"', "spec may not include health/verdict.h"),
    ("src/health/verdict.h", '#include "supervisor/event.h"', "health may not include supervisor/event.h"),
    ("src/health/verdict.h", "#include <uv.h>", "may not include uv.h"),
    ("src/health/outcome.h", "#include <uv.h>  // reaches verdict.h", "may not include uv.h"),
    ("src/spec/spec.h", "#include <boost/asio/io_context.hpp>", "may not include boost/asio/io_context.hpp"),
    ("src/supervisor/world.h", "#include <spdlog/spdlog.h>", "may not include spdlog/spdlog.h"),
    ("src/supervisor/world.h", "inline auto bad_now() { return std::chrono::steady_clock::now(); }", "read a clock"),
]


def self_test(root: pathlib.Path) -> list[str]:
    missed = []
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder)
        shutil.copytree(root / "src", copy / "src")
        for name, line, words in PLANTS:
            victim = copy / name
            before = victim.read_text(encoding="utf-8")
            victim.write_text(before + line + "\n", encoding="utf-8")
            if not any(report.startswith(name) and words in report for report in check(copy)):
                missed.append(f"planted in {name} and not found: {line}")
            victim.write_text(before, encoding="utf-8")
    return missed


def main() -> int:
    root = pathlib.Path(sys.argv[1]).resolve()
    found = self_test(root) if "--self-test" in sys.argv[2:] else check(root)
    print("\n".join(found) if found else "ok")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
