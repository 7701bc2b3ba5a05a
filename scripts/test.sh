#!/usr/bin/env bash
# Runs every test; arguments go to `cargo test`. Run `make setup` first, or `make test`, which does.
#
# The tests share one private Postgres, started by the first that needs it; it is stopped and removed here.
set -euo pipefail
cd "$(dirname "$0")/.."

# A target folder elsewhere: no executable in it would find this checkout's runtime/.
if [ -z "${ORT_DYLIB_PATH:-}" ]; then
    for library in "$PWD"/runtime/onnxruntime/libonnxruntime.so.*; do
        if [ -f "$library" ]; then export ORT_DYLIB_PATH=$library; fi
    done
fi
if [ -z "${PG_BIN_DIR:-}" ] && [ -x "$PWD/runtime/postgres/bin/postgres" ]; then
    export PG_BIN_DIR=$PWD/runtime/postgres/bin
fi

shared=${CARGO_TARGET_DIR:-target}/tmp/shared-cluster
stop_shared_cluster() {
    local pid
    pid=$(head -1 "$shared/postgres/cluster/postmaster.pid" 2>/dev/null || true)
    # Only if that is a Postgres still: after a reboot the number may be anyone's.
    if [ -n "$pid" ] && [ "$(ps -o comm= -p "$pid" 2>/dev/null)" = postgres ]; then
        kill -INT "$pid"
        for _ in {1..100}; do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
    fi
    rm -rf "$shared"
}
trap stop_shared_cluster EXIT

cargo test --workspace "$@"
