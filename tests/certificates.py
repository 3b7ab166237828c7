"""Certificates for tests of TLS, made by openssl: two authorities, and what they have signed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

_NEW_KEY = ("-newkey", "rsa:2048", "-nodes")


def make(folder: Path) -> Path:
    """Make them, and return the folder.

    `ca` has signed `server` and `client` (for localhost and 127.0.0.1), `elsewhere` (another
    name) and `expired`; `unknown` has signed `stranger`. Each is a .pem with its .key.
    """
    if shutil.which("openssl") is None:
        pytest.skip("openssl is missing: apt-get install openssl")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    for name in ("ca", "unknown"):
        openssl("req", "-x509", *_NEW_KEY, "-days", "2", "-keyout", f"{name}.key", "-out",
                f"{name}.pem", "-subj", f"/CN={name}")  # fmt: skip
    here = "DNS:localhost,IP:127.0.0.1"
    signed = [
        ("server", "ca", here, "2"),
        ("client", "ca", here, "2"),
        ("elsewhere", "ca", "DNS:elsewhere.invalid", "2"),
        ("expired", "ca", here, "-1"),
        ("stranger", "unknown", here, "2"),
    ]
    for name, authority, names, days in signed:
        (folder / "names").write_text(f"subjectAltName={names}")
        openssl("req", *_NEW_KEY, "-keyout", f"{name}.key", "-out", f"{name}.csr",
                "-subj", f"/CN={name}")  # fmt: skip
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.pem", "-CAkey",
                f"{authority}.key", "-days", days, "-CAcreateserial", "-extfile", "names", "-out",
                f"{name}.pem")  # fmt: skip
    return folder
