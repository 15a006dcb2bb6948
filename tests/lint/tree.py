"""What the checks of this folder share."""
import pathlib
import subprocess
import sys

SKIPPED = 77


def skip(reason: str) -> None:
    print(f"skipped: {reason}")
    sys.exit(SKIPPED)


def tracked(root: pathlib.Path, *patterns: str) -> list[pathlib.Path]:
    """The files under version control; in an unpacked archive without .git every file outside build/."""
    listing = subprocess.run(["git", "-C", str(root), "ls-files", "-z", "--", *patterns], capture_output=True, check=False)
    if listing.returncode == 0:
        names = [name for name in listing.stdout.decode().split("\0") if name]
        return [root / name for name in names if (root / name).is_file()]
    wanted = patterns or ("*",)
    return [f for p in wanted for f in root.rglob(p.split("/")[-1]) if f.is_file() and "build" not in f.relative_to(root).parts]


def finish(problems: list[str]) -> None:
    print("\n".join(problems) if problems else "ok")
    sys.exit(1 if problems else 0)
