#!/usr/bin/env bash
# Whether an NVIDIA GPU measures as it should, and the table for docs/measurements.md.
#
#   scripts/gpu-acceptance.sh run              build, fetch ONNX Runtime with CUDA (1.5 GB), check cuda:0, print the table
#   scripts/gpu-acceptance.sh pack DIR         on a connected machine: the program and runtime/ in parts below 60 MB, with sums
#   scripts/gpu-acceptance.sh run --from DIR   on a machine that can download nothing: put the parts together, then as above
#
# Option of pack:
#   --without-cuda         leave out the CUDA 13 and cuDNN 9 libraries; there, `run --cuda` says where they are
#
# DIR is all that must travel: `pack` puts this script there too, so `DIR/gpu-acceptance.sh run --from DIR` is enough.
#
# Options of run:
#   --device cuda:N|cpu    what to check; cpu tries this script itself out on a machine without a GPU
#   --evaluations N        separate evaluations for the spread of the ratio (5)
#   --binary FILE          a program that is built already
#   --cuda DIR             take CUDA's and cuDNN's libraries from below DIR, as a Python's site-packages/nvidia
#   --keep DIR             leave what the program printed there, as JSON
#   --allow-weak-sandbox   go on where the kernel lacks a protection
#
# The timed session is the plain one, as the field times: no CUDA graph is captured. Not tried: a machine with several GPUs.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/.." && pwd)
part_bytes=56M
keep=''

fail() {
    echo "FAILED: $*" >&2
    exit 1
}
say() { printf '%s\n' "$*" >&2; }
usage() {
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" >&2
    exit 2
}

# The release program, built with the commit stored in it.
build() {
    command -v cargo >/dev/null || fail "no cargo: give --binary FILE, or pack on a machine with Rust and use --from DIR"
    say "building"
    (cd "$root" && cargo build --release --locked >&2)
    echo "${CARGO_TARGET_DIR:-$root/target}/release/upscore"
}

# The library's folder, fetched if it is not there. $1: gpu or cpu.
runtime() {
    if [ -n "${ORT_DYLIB_PATH:-}" ]; then
        dirname "$ORT_DYLIB_PATH"
        return
    fi
    (cd "$root" && UPSCORE_SETUP=onnxruntime UPSCORE_ORT=$1 scripts/setup.sh >&2)
    echo "$root/runtime/onnxruntime"
}

pack() {
    [ $# -ge 1 ] || usage
    local target=$1 kind=gpu binary='' but=()
    shift
    while [ $# -gt 0 ]; do
        case $1 in
            --device) [ "${2:?}" != cpu ] || kind=cpu; shift 2 ;;
            --binary) binary=${2:?}; shift 2 ;;
            --without-cuda) but=(--exclude='libcu[dbrfs]*' --exclude='libnv*'); shift ;;
            *) usage ;;
        esac
    done
    [ -n "$binary" ] || binary=$(build)
    local library
    library=$(runtime "$kind")
    mkdir -p "$target"
    rm -f "$target"/part.* "$target"/SHA256SUMS
    say "packing $binary and $library"
    tar -cz --transform 's,^,upscore/bin/,' -f - -C "$(dirname "$binary")" "$(basename "$binary")" >"$target/part.program"
    tar -cz --transform 's,^\.,upscore/runtime/onnxruntime,' "${but[@]}" -f - -C "$library" . |
        split -b "$part_bytes" -d -a 3 - "$target/part.runtime."
    split -b "$part_bytes" -d -a 3 "$target/part.program" "$target/part.program."
    rm "$target/part.program"
    cp "${BASH_SOURCE[0]}" "$target/gpu-acceptance.sh"
    (cd "$target" && sha256sum part.* gpu-acceptance.sh >SHA256SUMS)
    say "$(find "$target" -name 'part.*' | wc -l) parts in $target; there: $target/gpu-acceptance.sh run --from $target"
}

unpack() {
    local from=$1 to=$2
    [ -f "$from/SHA256SUMS" ] || fail "$from holds no SHA256SUMS: was it packed?"
    (cd "$from" && sha256sum --quiet --check SHA256SUMS) || fail "parts in $from are missing or damaged: copy them again"
    cat "$from"/part.program.* | tar -xz -C "$to"
    cat "$from"/part.runtime.* | tar -xz -C "$to"
}

run() {
    local device=cuda:0 evaluations=5 binary='' from='' cuda='' weak=()
    while [ $# -gt 0 ]; do
        case $1 in
            --device) device=${2:?}; shift 2 ;;
            --evaluations) evaluations=${2:?}; shift 2 ;;
            --binary) binary=${2:?}; shift 2 ;;
            --from) from=$(cd "${2:?}" && pwd); shift 2 ;;
            --cuda) cuda=$(cd "${2:?}" && pwd); shift 2 ;;
            --keep) mkdir -p "${2:?}" && keep=$(cd "$2" && pwd); shift 2 ;;
            --allow-weak-sandbox) weak=(--allow-weak-sandbox); shift ;;
            *) usage ;;
        esac
    done
    [[ $evaluations =~ ^[1-9][0-9]*$ ]] || usage
    command -v python3 >/dev/null || fail "no python3"
    local kind=gpu
    [ "$device" != cpu ] || kind=cpu
    if [ "$kind" = gpu ] && ! command -v nvidia-smi >/dev/null; then
        fail "no nvidia-smi: there is no NVIDIA driver here (--device cpu tries the script out)"
    fi

    work=$(mktemp -d)
    trap '[ -z "$keep" ] || cp "$work"/*.json "$work"/smi.csv "$keep" 2>/dev/null || true; rm -rf "$work"' EXIT
    # The model's process runs as nobody where this runs as root.
    chmod 755 "$work"
    local library
    if [ -n "$from" ]; then
        unpack "$from" "$work"
        [ -n "$binary" ] || binary=$(find "$work/upscore/bin" -type f | head -1)
        library=$work/upscore/runtime/onnxruntime
    else
        library=$(runtime "$kind")
        [ -n "$binary" ] || binary=$(build)
    fi
    if [ -n "$cuda" ]; then
        # Beside ONNX Runtime, whose folder is what the sandbox leaves readable.
        mkdir "$work/library"
        cp "$library"/lib*.so* "$work/library"
        find "$cuda" -name 'lib*.so*' -exec cp -n {} "$work/library" \;
        library=$work/library
    fi
    ORT_DYLIB_PATH=$(find "$library" -name 'libonnxruntime.so.*' | sort | tail -1)
    [ -n "$ORT_DYLIB_PATH" ] || fail "no ONNX Runtime in $library"
    LD_LIBRARY_PATH=$library${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    export ORT_DYLIB_PATH LD_LIBRARY_PATH

    if [ "$kind" = gpu ]; then
        nvidia-smi --query-gpu=index,name,uuid,driver_version,memory.total,persistence_mode,clocks.sm,clocks.max.sm \
            --format=csv >"$work/smi.csv" || fail "nvidia-smi does not answer"
    fi
    say "sandbox, device, outputs beside the CPU's"
    if ! "$binary" selftest --device "$device" --save "$work/models" --json "${weak[@]}" >"$work/selftest.json"; then
        cat "$work/selftest.json" >&2
        fail "the self-test, see above"
    fi
    local i
    for ((i = 1; i <= evaluations; i++)); do
        say "evaluation $i of $evaluations"
        "$binary" profile "$work/models/rfdn.onnx" --runtime --baseline "$work/models/imdn.onnx" --device "$device" --json \
            >"$work/profile.$i.json" || {
            cat "$work/profile.$i.json" >&2
            fail "evaluation $i, see above"
        }
    done
    say "a network beside itself"
    "$binary" profile "$work/models/imdn.onnx" --runtime --baseline "$work/models/imdn.onnx" --device "$device" --json \
        >"$work/itself.json" || {
        cat "$work/itself.json" >&2
        fail "a network beside itself, see above"
    }
    python3 - "$work" <<'PYTHON'
import json, pathlib, statistics, sys

work = pathlib.Path(sys.argv[1])
test = json.loads((work / "selftest.json").read_text())
profiles = [json.loads(p.read_text()) for p in sorted(work.glob("profile.*.json"))]


def spread(values):
    """Coefficient of variation, %."""
    if len(values) < 2:
        return "–"
    return f"{100 * statistics.stdev(values) / statistics.mean(values):.2f} %"


runtimes = [p["runtime"] for p in profiles]
ratios = [r["baseline"]["ratio"] for r in runtimes]
medians = [r["median_ms"] for r in runtimes]
memory = profiles[-1]["memory"]
itself = json.loads((work / "itself.json").read_text())["runtime"]["baseline"]
software = [f"ONNX Runtime {test['onnxruntime']}"]
software += [f"{name} {test[key]}" for name, key in (("driver", "driver"), ("CUDA", "cuda"), ("cuDNN", "cudnn")) if test[key]]
silent = [t["name"] for t in test["threads"] if t["tried"] is None]
known = [t["namespaces"] for t in test["threads"] if t["namespaces"] is not None]
where = f"; {sum(known)} of {len(known)} seen in no namespace of the machine's" if known else ""
rows = [
    ("Device", f"{test['name']} ({test['device']})"),
    ("Software", ", ".join(software)),
    ("Sandbox", f"{test['sandbox']}; {len(test['escapes'])} escapes tried, {sum(e['open'] for e in test['escapes'])} open"),
    ("Threads of the model's process", f"{len(test['threads'])}, of which {len(silent)} take no signal and were looked at from outside{where}"),
]
for network in test["networks"]:
    nodes = ", ".join(f"{p['nodes']} by {p['name']}" for p in network["providers"])
    rows.append((f"Nodes of {network['name']}", nodes))
    rows.append((f"Output of {network['name']} from the CPU's", f"{network['max_abs']:.1e} of the range, at most {network['tolerance']:.0e}"))
rows += [
    ("Timed", f"RFDN beside IMDN at {runtimes[0]['input']}, {len(profiles)} separate evaluations"),
    ("Ratio", f"{statistics.median(ratios):.4f} (median), {min(ratios):.4f} to {max(ratios):.4f}, coefficient of variation {spread(ratios)}"),
    ("IMDN beside itself", f"{itself['ratio']:.4f}, 95 % interval {itself['ratio_ci95'][0]:.4f} to {itself['ratio_ci95'][1]:.4f}"),
    ("RFDN", f"{statistics.median(medians):.3f} ms (median), coefficient of variation {spread(medians)}"),
    ("Memory of RFDN", f"{memory['peak_bytes'] / 2**20:.1f} MiB: {memory['method']}"),
    ("Graph capture", "not used: the plain session is timed" if test["device"] != "cpu" else "–"),
]
smi = work / "smi.csv"
if smi.exists():
    names, *lines = [line.split(", ") for line in smi.read_text().splitlines() if line]
    for line in lines:
        rows.append(("nvidia-smi", ", ".join(f"{n} {v}" for n, v in zip(names, line))))
print("| what | found |\n|---|---|")
for name, value in rows:
    print(f"| {name} | {value.replace('|', '/')} |")
PYTHON
}

case ${1:-} in
    run) shift && run "$@" ;;
    pack) shift && pack "$@" ;;
    *) usage ;;
esac
