#!/bin/sh
# Brings the model repository up to date, builds the engines that it lacks, and becomes the supervisor
# of tritonserver, which starts it again when it crashes or one of its step processes dies.
# Arguments are handed on to tritonserver.
#
#   CXR_DEVICE      gpu (default), or cpu
#   CXR_PRECISION   of the engines: fp16 (default), bf16, fp32; on the CPU: f32 (default), bf16, int8
#   CXR_REPOSITORY  what is served (/models/repository), with its plans; TensorRT's timings lie beside
#                   it, so that the folder it is in has to be writable, too
#   CXR_SEED        a repository that it is made equal to first, all but the plans: a folder, or the
#                   name of one that comes with cxr-triton; empty: none
#   CXR_FILMS       a manifest (CSV) of films that new engines are measured on, 20 or more; left out:
#                   one real film and drawn ones
#   CXR_BACKENDS    the backends of a server on the CPU (/opt/cxr/backends)
#   CXR_ADMIN_KEY   opens Triton's administration to who sends it in the header cxr-admin-key; the
#                   process's arguments show it. Left out: closed to everybody
set -eu
CXR_DEVICE="${CXR_DEVICE:-gpu}"
CXR_REPOSITORY="${CXR_REPOSITORY:-/models/repository}"
CXR_SEED="${CXR_SEED:-}"
CXR_BACKENDS="${CXR_BACKENDS:-/opt/cxr/backends}"

say() {
    echo "cxr-triton: $*" >&2
}

fail() {
    say "$*"
    exit 1
}

# Runs a command that ends when this script is told to end. Without it process 1 of a container
# would neither stop nor hand the signal on.
run() {
    # Before the command begins: it may be told to end at once, and `$!` is it from then on.
    trap '{ kill -TERM "${!:-}"; wait "${!:-}"; } 2>/dev/null || :; exit 143' TERM INT
    "$@" &
    status=0
    wait "$!" || status=$?
    trap - TERM INT
    return "$status"
}

# The files of a repository, but for what is built where it is served: plans and their passports.
files() {
    (cd "$1" && find . -type f ! -name 'model.plan*' ! -name 'engine.json*')
}

# Makes the repository what the seed is. A file is replaced whole or not at all; what was built here
# stays, and its passports say what of it is out of date. A seed's own plans are of elsewhere: taken
# along, they would be found stale and built anew at every start.
seed() {
    files "$CXR_SEED" | while read -r file; do
        if ! cmp -s "$CXR_SEED/$file" "$CXR_REPOSITORY/$file"; then
            # `set -e` has no power in here, where the caller asks for the outcome.
            mkdir -p "$(dirname "$CXR_REPOSITORY/$file")" &&
                cp "$CXR_SEED/$file" "$CXR_REPOSITORY/$file.new" &&
                mv -f "$CXR_REPOSITORY/$file.new" "$CXR_REPOSITORY/$file" || exit 1
        fi
    done || return 1
    files "$CXR_REPOSITORY" | while read -r file; do
        [ -f "$CXR_SEED/$file" ] || rm -f "${CXR_REPOSITORY:?}/$file" || exit 1
    done
}

case "$CXR_DEVICE" in
    gpu)
        precision="${CXR_PRECISION:-fp16}"
        devices=$(nvidia-smi --list-gpus 2>/dev/null) || devices=""
        [ -n "$devices" ] || fail "no NVIDIA GPU in this container: start it with one" \
            "(--gpus all, a reservation, nvidia.com/gpu), or serve on the CPU with CXR_DEVICE=cpu"
        ;;
    cpu)
        case "${CXR_PRECISION:-f32}" in
            f32) config=cpu ;;
            bf16 | int8) config="cpu-$CXR_PRECISION" ;;
            *) fail "CXR_PRECISION=$CXR_PRECISION is no precision of the CPU: f32, bf16 or int8" ;;
        esac
        ;;
    *) fail "CXR_DEVICE=$CXR_DEVICE is no device: gpu or cpu" ;;
esac

# Servers that share a repository take turns: the first builds, the others find the plans there.
{ mkdir -p "$CXR_REPOSITORY" && touch "$CXR_REPOSITORY.lock"; } 2>/dev/null ||
    fail "$CXR_REPOSITORY cannot be written by user $(id -u), and plans are kept there: run" \
        "\`chown -R $(id -u) FOLDER\` on the folder or volume that is mounted there"
exec 9>>"$CXR_REPOSITORY.lock"
run flock 9 || fail "$CXR_REPOSITORY.lock cannot be locked: the volume needs file locks (NFS 4 has)"
if [ -n "$CXR_SEED" ]; then
    case "$CXR_SEED" in
        */*) ;;
        *) CXR_SEED=$(python3 -P -c "import sys; from cxrclient.serving import find_repository
print(find_repository(sys.argv[1]))" "$CXR_SEED") || exit 1 ;;
    esac
    [ -f "$CXR_SEED/cxr/config.pbtxt" ] ||
        fail "CXR_SEED=$CXR_SEED is no model repository with the ensemble cxr"
    seed || fail "$CXR_REPOSITORY could not be brought up to date from $CXR_SEED: make room on its" \
        "disk, or run \`chown -R $(id -u) FOLDER\` on what is mounted there, and start again"
fi
[ -f "$CXR_REPOSITORY/cxr/config.pbtxt" ] ||
    fail "$CXR_REPOSITORY is no model repository with the ensemble cxr"
if [ "$CXR_DEVICE" = gpu ]; then
    say "engines for $devices; what is missing is built now, once per GPU model and TensorRT"
    run cxrexport engines --repository "$CXR_REPOSITORY" --flavour tensorrt \
        --precision "$precision" ${CXR_FILMS:+--manifest "$CXR_FILMS"} || fail "no server without its engines; the lines above say why"
    # Films and lung maps of four full batches (16 films of 1024 px) stay on the GPU between steps.
    pool=536870912
    set -- --pinned-memory-pool-byte-size="$pool" "$@"
    number=$(echo "$devices" | wc -l)
    while [ "$number" -gt 0 ]; do
        number=$((number - 1))
        set -- --cuda-memory-pool-byte-size="$number:$pool" "$@"
    done
else
    [ "$config" != cpu-int8 ] ||
        [ -n "$(find "$CXR_REPOSITORY" -path '*/configs/cpu-int8.pbtxt')" ] ||
        fail "$CXR_REPOSITORY has no int8 graphs: make them with \`cxrexport quantise\`"
    set -- --backend-directory="$CXR_BACKENDS" --model-config-name="$config" \
        --allow-gpu-metrics=false --pinned-memory-pool-byte-size=0 "$@"
fi
exec 9>&-

# Predictions, health, metadata and statistics are open; what changes the server is not. Any user of
# the host can read the arguments below. So, without a key of yours, Triton asks for a header that no
# request can carry: it has a line end in its name (cxrclient/serving/exposure.py says why in the name).
admin=shared-memory,model-repository,trace,logging
header=cxr-admin-key
key="${CXR_ADMIN_KEY:-}"
if [ -z "$key" ]; then
    header='no key
opens this'
    key=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
fi
# With AIP_MODE=PREDICTION Triton opens an endpoint for Vertex AI, which passes on what is closed.
unset AIP_MODE

# Of this server alone, so that what a dead one leaves in shared memory can be removed.
regions="triton_python_backend_shm_region_$(od -An -N8 -tx1 /dev/urandom | tr -d ' \n')_"

# Longer than --exit-timeout-secs, shorter than what compose and Kubernetes give before they kill.
exec python3 -P -m cxrclient.serving.supervise --init --regions="$regions" --stop-timeout-s=35 -- \
    tritonserver \
    --model-repository="$CXR_REPOSITORY" \
    --disable-auto-complete-config \
    --exit-timeout-secs=30 \
    --backend-config=python,shm-region-prefix-name="$regions" \
    --http-restricted-api="$admin:$header=$key" \
    --grpc-restricted-protocol="$admin:$header=$key" \
    --metrics-config=summary_latencies=true \
    --metrics-config=summary_quantiles=0.5:0.05,0.95:0.01,0.99:0.001 \
    "$@"
