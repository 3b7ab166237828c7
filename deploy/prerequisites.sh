#!/bin/sh
# Checks what `make` needs from the system; prints what is missing and the one line that installs it.
set -u
PYTHON="${PYTHON:-python3.11}"
missing=""

if [ "$(uname -s)-$(uname -m)" != "Linux-x86_64" ]; then
    echo "The Triton server of this quickstart runs on Linux x86-64 only, not on $(uname -s) $(uname -m)." >&2
    echo "The client works here: pip install cxr-triton, then point cxrclient --server at a server elsewhere." >&2
    exit 1
fi
if command -v "$PYTHON" >/dev/null 2>&1; then
    "$PYTHON" -c 'import venv, ensurepip' 2>/dev/null || missing="$missing python3.11-venv"
    # Triton's Python backend loads the shared library of the same Python.
    "$PYTHON" -c '
import ctypes, sys
ctypes.CDLL("libpython%d.%d.so.1.0" % sys.version_info[:2])' 2>/dev/null || missing="$missing libpython3.11"
else
    missing="$missing python3.11 python3.11-venv libpython3.11"
fi
if [ -n "$missing" ]; then
    echo "Missing:$missing. Install with:  sudo apt-get install -y$missing" >&2
    exit 1
fi
