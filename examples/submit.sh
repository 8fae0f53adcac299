#!/bin/sh
# Submit a job with nothing but curl; submitting it again under the same key is the same job.
#   examples/submit.sh [SPEC.json]
set -eu

url=${GOGOOKU3_URL:-http://127.0.0.1:8642}
spec=${1:-$(dirname "$0")/job_baseline.json}
# The same file is the same job: a repeated submission gets the first answer.
key=$(cksum <"$spec" | tr -s ' ' '-' | cut -d- -f1,2)

set -- --silent --show-error --fail-with-body
if [ -n "${GOGOOKU3_API_KEY:-}" ]; then
    set -- "$@" --header "Authorization: Bearer $GOGOOKU3_API_KEY"
fi

curl "$@" --request POST "$url/v1/jobs" \
    --header "Content-Type: application/json" \
    --header "Idempotency-Key: example-$key" \
    --data-binary "@$spec"
echo
