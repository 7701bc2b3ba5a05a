#!/usr/bin/env bash
# Sends a running server what its OpenAPI document allows, and what it does not: no 5xx, no answer that is not documented.
#
#   scripts/fuzz_api.sh URL TOKEN CHALLENGE PHASE SUBMISSION
#
# The token may submit; the submission is its team's, and will be amended, cancelled and withdrawn. Needs schemathesis 4.32.5:
# python3 -m venv V && V/bin/pip install schemathesis==4.32.5, with V/bin in PATH.
set -euo pipefail
[ $# = 5 ] || { sed -n 's/^# \{0,1\}//p' "$0" | sed -n 2,7p >&2; exit 2; }
command -v schemathesis >/dev/null || { echo "schemathesis is not in PATH: pip install schemathesis==4.32.5" >&2; exit 3; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/schemathesis.toml" <<TOML
[parameters]
"path.slug" = "$3"
"path.phase" = "$4"
"path.id" = "$5"
TOML
# Left out: the events, which are a stream that does not end while the entry waits, and the pieces of an upload, which are
# raw bytes (tests/suite/uploads.rs).
schemathesis --config-file "$folder/schemathesis.toml" run "$1/api/v1/openapi.json" \
    --header "Authorization: Bearer $2" --phases examples,coverage,fuzzing \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance \
    --exclude-path-regex "/events$|/uploads/" \
    --max-examples "${EXAMPLES:-30}" --request-timeout 20
