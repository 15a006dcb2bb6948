#!/usr/bin/env python3
"""Checks who may include whom: base < spec < {health, lb} < supervisor < cli, main; and what pure files may touch.

A pure file decides and nothing else: it includes no event loop and no logger, reads no clock, and includes no shell.
Every file is pure unless it stands in SHELLS: a new shell is named there by whoever adds it.

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
    "cli": {"base", "spec", "health", "lb", "supervisor", "cli"},
    "main": {"base", "spec", "health", "lb", "supervisor", "cli"},
}

# Stems (header and source together) of the files that touch the world. base is the vocabulary of both sides and
# cli and main are all shell; there only the direction is checked.
ALL_SHELL = {"base", "cli", "main"}
SHELLS: dict[str, set[str]] = {
    "spec": set(),
    "health": set(),
    "lb": set(),
    "supervisor": set(),
}

INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]')
LOOP_OR_LOGGER = re.compile(r"^(uv\.h|uv/|boost/asio|spdlog/)")
CLOCK = re.compile(
    r"\b(?:steady_clock|system_clock|high_resolution_clock)::now\b|\bclock_gettime\b|\bgettimeofday\b"
    r"|\bstd::time\s*\(|\btime\s*\(\s*(?:nullptr|NULL|0)\s*\)|\buv_(?:hrtime|now)\b"
)


def module_of(root: pathlib.Path, file: pathlib.Path) -> str:
    parts = file.relative_to(root / "src").parts
    return parts[0] if len(parts) > 1 else "main"


def is_shell(module: str, stem: str) -> bool:
    return module in ALL_SHELL or stem in SHELLS.get(module, set())


def problems_of_line(root: pathlib.Path, module: str, pure: bool, line: str) -> list[str]:
    found = []
    include = INCLUDE.match(line)
    if include:
        name = include.group(1)
        target, _, rest = name.partition("/")
        ours = rest and target in MAY_INCLUDE and (root / "src" / name).exists()
        if ours and target not in MAY_INCLUDE[module]:
            found.append(f"{module} may not include {name}")
        if pure and LOOP_OR_LOGGER.match(name):
            found.append(f"a pure file may not include {name}")
        if pure and ours and target in SHELLS and is_shell(target, pathlib.Path(name).stem):
            found.append(f"a pure file may not include the shell {name}")
    code = line.split("//", 1)[0]
    if pure and not include and CLOCK.search(code):
        found.append("a pure file may not read a clock")
    return found


def check(root: pathlib.Path) -> list[str]:
    found = []
    files = sorted(f for f in (root / "src").rglob("*") if f.suffix in {".h", ".cpp"})
    if not files:
        return ["no sources found"]
    stems = {(module_of(root, f), f.stem) for f in files}
    for module, names in SHELLS.items():
        found += [f"SHELLS names {module}/{name}, which is not there" for name in sorted(names) if (module, name) not in stems]
    for file in files:
        module = module_of(root, file)
        if module not in MAY_INCLUDE:
            found.append(f"{file.relative_to(root)}: {module} has no place in the order of modules")
            continue
        pure = not is_shell(module, file.stem)
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            found += [f"{file.relative_to(root)}:{number}: {what}" for what in problems_of_line(root, module, pure, line)]
    return found


# Where a planted line goes, what it is, and the words that the report must hold.
PLANTS = [
    ("src/base/fd.h", '#include "spec/spec.h"', "base may not include spec/spec.h"),
    ("src/spec/spec.h", '#include "health/verdict.h"', "spec may not include health/verdict.h"),
    ("src/health/verdict.h", '#include "supervisor/event.h"', "health may not include supervisor/event.h"),
    ("src/health/verdict.h", "#include <uv.h>", "may not include uv.h"),
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
