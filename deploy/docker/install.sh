#!/bin/sh
# Installs this project into an NGC Triton container, for Triton's Python backend and for
# `cxrexport engines`. The Dockerfile runs it, and so does who has the bare image:
#
#   sh deploy/docker/install.sh          # from a checkout
#   sh install.sh WHEEL                  # with the wheel, its requirements.txt and constraints.txt
#
# TENSORRT is the image's version (docs/gpu-node.md); its Python bindings are installed without
# TensorRT's libraries (4 GB): engines have to be built with those that the server will load.
set -eu
TENSORRT="${TENSORRT:-10.14.1.48}"
here=$(cd "$(dirname "$0")" && pwd)
project="${1:-$here/../..}"
constraints="$here/constraints.txt"
[ -f "$constraints" ] || constraints="$here/../../constraints.txt"

# The library that Triton's TensorRT backend loads; its file's name ends in the version.
libraries() {
    ldconfig -p 2>/dev/null | awk '/libnvinfer\.so\.[0-9]+ / { print $NF }'
    echo "${LD_LIBRARY_PATH:-}" | tr : '\n' | while read -r folder; do
        find "$folder/" -maxdepth 1 -name 'libnvinfer.so.*' 2>/dev/null || :
    done
}
library=$(libraries | head -n 1)
if [ -z "$library" ]; then
    echo "This system has no TensorRT (libnvinfer): run this in NVIDIA's Triton container." >&2
    exit 1
fi
found=$(readlink -f "$library")
case "$found" in
    *."${TENSORRT%.*}") ;;
    *)
        echo "TensorRT here is ${found##*/libnvinfer.so.}, not $TENSORRT. Name this image's:" \
            "TENSORRT=X.Y.Z.B (docs/gpu-node.md)." >&2
        exit 1
        ;;
esac

# Prints what pip would have to take away and cannot, with the version that is wanted: packages of
# Debian's own, which have no RECORD of their files.
debians() {
    python3 -m pip install --dry-run --quiet --report - "$@" | python3 -c '
import json, sys
from importlib.metadata import PackageNotFoundError, distribution

for wanted in json.load(sys.stdin)["install"]:
    name, version = wanted["metadata"]["name"], wanted["metadata"]["version"]
    try:
        if distribution(name).read_text("RECORD") is None:
            print(f"{name}=={version}")
    except PackageNotFoundError:
        pass
'
}

# Triton's Python backend runs the system's Python, so there the packages go.
export PIP_BREAK_SYSTEM_PACKAGES=1
set -- --constraint "$constraints" --requirement "$here/requirements.txt" "${project}[films]"
# They are installed beside: /usr/local comes first on Debian's path. The others are not, for
# --ignore-installed would mix the files of two versions of what pip has installed in the image.
beside=$(debians "$@")
for package in $beside; do
    python3 -m pip install --no-cache-dir --no-deps --ignore-installed "$package"
done
python3 -m pip install --no-cache-dir "$@"
# `.*` takes a repackaging of the same version too, such as 10.14.1.48.post1.
python3 -m pip install --no-cache-dir --no-deps \
    "tensorrt-cu13==$TENSORRT.*" "tensorrt-cu13-bindings==$TENSORRT.*"
