"""Certificates that are made for each run."""
import os
import subprocess

from lib.stack import Stack


def make_certificate(stack: Stack, file: str, common_name: str, names: str) -> None:
    """FILE.pem and FILE.key beside the spec."""
    base = stack.folder / file
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3650", "-subj",
         f"/CN={common_name}", "-addext", f"subjectAltName={names}", "-keyout", f"{base}.key", "-out", f"{base}.pem"],
        check=True, capture_output=True, timeout=60)
    os.chmod(f"{base}.key", 0o600)
