#!/bin/sh
# Checks what `make` needs from the system; prints what is missing and the one line that installs it.
set -u
PYTHON="${PYTHON:-python3.11}"

if [ "$(uname -s)-$(uname -m)" != "Linux-x86_64" ]; then
    echo "The Triton server of this quickstart runs on Linux x86-64 only, not on $(uname -s) $(uname -m)." >&2
    echo "The client works here: python3 -m pip install . and then cxrclient predict FILMS --server HOST:PORT." >&2
    exit 1
fi

if ! command -v "$PYTHON" >/dev/null 2>&1; then
    name=$(basename "$PYTHON")
    echo "Missing: $PYTHON. Install with:  sudo apt-get install -y $name $name-venv lib$name" >&2
    echo "(or name another Python 3.11 or 3.12:  make quickstart PYTHON=python3.12)" >&2
    exit 1
fi
version=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
case "$version" in
    3.11 | 3.12) ;;
    *)
        echo "$PYTHON is Python $version; 3.11 or 3.12 is needed:  make quickstart PYTHON=python3.11" >&2
        exit 1
        ;;
esac

missing=""
"$PYTHON" -c 'import venv, ensurepip' 2>/dev/null || missing="$missing python$version-venv"
# Triton's Python backend loads the shared library of the same Python.
"$PYTHON" - <<'EOF' 2>/dev/null || missing="$missing libpython$version"
import ctypes, os, sys, sysconfig
name = "libpython%d.%d.so.1.0" % sys.version_info[:2]
beside = os.path.join(sysconfig.get_config_var("LIBDIR") or "", name)
ctypes.CDLL(beside if os.path.exists(beside) else name)
EOF
if [ -n "$missing" ]; then
    echo "Missing:$missing. Install with:  sudo apt-get install -y$missing" >&2
    exit 1
fi
