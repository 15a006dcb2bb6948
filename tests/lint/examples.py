#!/usr/bin/env python3
"""`muster check` accepts every spec in config/, and the standard stack of the README is the one in config/examples."""
import pathlib
import re
import subprocess
import sys

import tree

root, muster = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2]
specs = sorted([*root.glob("config/*.example"), *root.glob("config/**/muster.toml")])
problems = [] if len(specs) >= 5 else [f"only {len(specs)} specs found in config/"]
for spec in specs:
    run = subprocess.run([muster, "check", "-f", str(spec)], capture_output=True, text=True, check=False, timeout=20)
    if run.returncode != 0:
        problems.append(f"muster check -f {spec.relative_to(root)} exits {run.returncode}:\n{run.stdout}{run.stderr}")

bad = subprocess.run([muster, "check", "-f", "/dev/null/none"], capture_output=True, text=True, check=False, timeout=20)
if bad.returncode != 66:
    problems.append(f"check of a spec that is not there exits {bad.returncode}, not 66: the checks above prove nothing")

stack = (root / "config/examples/standard-stack/muster.toml").read_text(encoding="utf-8").strip()
shown = re.findall(r"```toml\n(.*?)```", (root / "README.md").read_text(encoding="utf-8"), re.DOTALL)
if stack not in [block.strip() for block in shown]:
    problems.append("README.md does not show the standard stack as config/examples/standard-stack/muster.toml has it")
tree.finish(problems)
