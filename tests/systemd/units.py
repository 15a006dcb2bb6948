#!/usr/bin/env python3
"""The installed units as `systemd-analyze` sees them.

verify    must be silent: it exits 0 on unknown keys and only prints them
security  at most 6.0 exposure, and none of the options that would break an ordinary app: replicas inherit them
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

SKIPPED = 77
EXPOSURE_MAX = 6.0
# What each would break stands in the unit's head.
NEVER = ["MemoryDenyWriteExecute", "RestrictNamespaces", "RestrictSUIDSGID", "ProtectHome", "PrivateTmp", "PrivateDevices",
         "PrivateNetwork", "ProtectControlGroups", "ProtectProc", "ProcSubset", "DynamicUser", "SystemCallArchitectures"]

cmake, build, what = sys.argv[1:4]
if not shutil.which("systemd-analyze"):
    print("skipped: systemd-analyze is not installed")
    sys.exit(SKIPPED)


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "XDG_RUNTIME_DIR": prefix}  # `--user verify` wants one, whoever runs this
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False, env=environment)


def verify() -> list[str]:
    problems = []
    drop_in = system / "muster.service.d"
    for step in ("as installed", "with the drop-in for root"):
        if step != "as installed":
            drop_in.mkdir()
            shutil.copy(f"{prefix}/share/doc/muster/examples/systemd/root.conf", drop_in)
        for scope, unit in [("--system", system / "muster.service"), ("--system", system / "muster.socket"),
                            ("--user", user / "muster.service")]:
            run = analyze(scope, "verify", str(unit))
            if run.returncode != 0 or run.stdout or run.stderr:
                problems.append(f"verify {scope} {unit.name} {step}: exit {run.returncode}\n{run.stdout}{run.stderr}")
    broken = system / "broken.service"  # the gate itself must be able to fail
    broken.write_text((system / "muster.service").read_text(encoding="utf-8").replace("KillMode=", "KillMood="), encoding="utf-8")
    if not analyze("verify", str(broken)).stderr:
        problems.append("verify finds nothing wrong with an unknown key: it proves nothing")
    return problems


def security() -> list[str]:
    text = (system / "muster.service").read_text(encoding="utf-8")
    problems = [f"muster.service sets {option}, which breaks ordinary apps" for option in NEVER if re.search(rf"^{option}=", text, re.M)]
    run = analyze("security", "--offline=true", "--no-pager", str(system / "muster.service"))
    level = re.search(r"exposure level for muster\.service: ([0-9.]+)", run.stdout)
    if not level or float(level.group(1)) > EXPOSURE_MAX:
        problems.append(f"exposure over {EXPOSURE_MAX}: {run.stdout}{run.stderr}")
    else:
        print(level.group(0))
    return problems


with tempfile.TemporaryDirectory() as prefix:
    subprocess.run([cmake, "--install", build, "--prefix", prefix], check=True, stdout=subprocess.DEVNULL)
    system, user = pathlib.Path(prefix, "lib/systemd/system"), pathlib.Path(prefix, "lib/systemd/user")
    found = verify() if what == "verify" else security()
print("\n".join(found) if found else "ok")
sys.exit(1 if found else 0)
