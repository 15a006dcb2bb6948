#!/usr/bin/env python3
"""Every C++ file is as clang-format would write it."""
import pathlib
import shutil
import subprocess
import sys

import tree

root = pathlib.Path(sys.argv[1]).resolve()
if not shutil.which("clang-format"):
    tree.skip("clang-format is not installed")
files = [str(f) for f in tree.tracked(root, "*.cpp", "*.h")]
run = subprocess.run(["clang-format", "--dry-run", "--Werror", *files], capture_output=True, text=True, check=False)
wrong = sorted({line.split(":", 1)[0] for line in run.stderr.splitlines() if ": error:" in line})
tree.finish([f"not formatted (clang-format -i mends it): {pathlib.Path(f).relative_to(root)}" for f in wrong])
