#!/usr/bin/env bash
# Writes .sqlx: what the database says of every checked query, so that the build needs no database.
# With --check: only says whether .sqlx is up to date. Run it after any change of a query or a migration.
#
# A scratch cluster is made for it and removed again; needs the Postgres server binaries and psql.
set -euo pipefail
cd "$(dirname "$0")/.."

check=false
case "${1:-}" in
    --check) check=true ;;
    '') ;;
    *) echo "usage: $0 [--check]" >&2; exit 2 ;;
esac

bin=${PG_BIN_DIR:-$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)}
bin=${bin:-$(dirname "$(command -v initdb || echo /nowhere/initdb)")}
if [ ! -x "$bin/initdb" ] || ! command -v psql >/dev/null; then
    echo "No Postgres server binaries and psql found: install the postgresql package, or set PG_BIN_DIR." >&2
    exit 3
fi

scratch=$(mktemp -d /tmp/upscore-sqlx.XXXXXX)
as=()
if [ "$(id -u)" = 0 ]; then
    # Postgres refuses root.
    user=$(getent passwd postgres >/dev/null && echo postgres || echo nobody)
    chown "$user" "$scratch"
    as=(setpriv --reuid="$user" --regid="$(id -g "$user")" --clear-groups)
fi
cleanup() {
    "${as[@]}" "$bin/pg_ctl" -D "$scratch/data" -m immediate stop >/dev/null 2>&1 || true
    rm -rf "$scratch"
}
trap cleanup EXIT
cd_scratch() { (cd "$scratch" && "$@"); }
cd_scratch "${as[@]}" "$bin/initdb" -D "$scratch/data" -A trust -U upscore >/dev/null
cd_scratch "${as[@]}" "$bin/pg_ctl" -D "$scratch/data" -w -l "$scratch/log" \
    -o "-k $scratch -h '' -c fsync=off" start >/dev/null
for step in migrations/*.up.sql; do
    psql -h "$scratch" -U upscore -d postgres -q -v ON_ERROR_STOP=1 -f "$step"
done

# The macros write a file each as they are expanded; a touch makes cargo expand them again.
mkdir "$scratch/queries"
touch src/lib.rs
DATABASE_URL="postgres:///postgres?host=$scratch&user=upscore" SQLX_OFFLINE=false SQLX_OFFLINE_DIR="$scratch/queries" \
    cargo check --quiet --workspace --all-targets

if $check; then
    if diff -rq .sqlx "$scratch/queries"; then
        echo ".sqlx is up to date: $(ls .sqlx | wc -l) queries"
    else
        echo ".sqlx is out of date: run scripts/prepare-sqlx.sh and commit it." >&2
        exit 1
    fi
else
    rm -rf .sqlx
    mkdir .sqlx
    cp "$scratch"/queries/*.json .sqlx/
    # What was just checked online is now built offline, so that no later build is surprised.
    touch src/lib.rs
    echo "wrote $(ls .sqlx | wc -l) queries to .sqlx"
fi
