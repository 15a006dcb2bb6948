"""What the checks of this folder share."""
import fnmatch
import pathlib
import subprocess
import sys

SKIPPED = 77


def skip(reason: str) -> None:
    print(f"skipped: {reason}")
    sys.exit(SKIPPED)


NOT_OURS = {"build", ".git", ".muster", "__pycache__", "node_modules"}


def tracked(root: pathlib.Path, *patterns: str) -> list[pathlib.Path]:
    """The files under version control; without git (an unpacked archive) every file that is not made by a build."""
    try:
        listing = subprocess.run(["git", "-C", str(root), "ls-files", "-z", "--", *patterns], capture_output=True, check=True)
        return [root / name for name in listing.stdout.decode().split("\0") if name and (root / name).is_file()]
    except (OSError, subprocess.CalledProcessError):
        everything = [f for f in root.rglob("*") if f.is_file() and not NOT_OURS & set(f.relative_to(root).parts)]
        return [f for f in everything if not patterns or any(fnmatch.fnmatch(str(f.relative_to(root)), p) for p in patterns)]


def finish(problems: list[str]) -> None:
    print("\n".join(problems) if problems else "ok")
    sys.exit(1 if problems else 0)
