#!/usr/bin/env python3
"""Every scenario of every file is an entry of CMakeLists.txt: all_listed.py FILE.SCENARIO…"""
import pathlib
import subprocess
import sys

found = set()
for file in sorted(pathlib.Path(__file__).resolve().parent.glob("*.py")):
    if "@scenario" in file.read_text(encoding="utf-8") and file.name != "all_listed.py":
        names = subprocess.run([sys.executable, "-B", str(file), "--list"], capture_output=True, text=True, check=True).stdout.split()
        found |= {f"{file.stem}.{name}" for name in names}
missing, unknown = found - set(sys.argv[1:]), set(sys.argv[1:]) - found
for name in sorted(missing):
    print(f"{name} is run by nothing")
for name in sorted(unknown):
    print(f"{name} is listed and not there")
sys.exit(1 if missing or unknown or len(found) < 40 else 0)
