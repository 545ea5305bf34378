#!/usr/bin/env bash
# The quickstart, checked: what should happen beside what does. Exit code 0 when they agree.
#
#   examples/validate_quickstart.sh            against a scripted API: no key, no network
#   examples/validate_quickstart.sh --real     against the API itself, with ANTHROPIC_API_KEY (costs a fraction of a cent)
#
# Everything it makes lies in one temporary directory; nothing of yours is read or changed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

REAL=""
case "${1:-}" in
  "") ;;
  --real) REAL=1; : "${ANTHROPIC_API_KEY:?set it to a key of yours for --real}" ;;
  *) echo "usage: $0 [--real]" >&2; exit 2 ;;
esac
command -v uv >/dev/null || { echo "$0: uv is not installed: pip install uv" >&2; exit 2; }
command -v curl >/dev/null || { echo "$0: curl is not installed" >&2; exit 2; }

key="${ANTHROPIC_API_KEY:-sk-ant-api03-dummy}"
[ -n "$REAL" ] || key="sk-ant-api03-dummy"
model="claude-haiku-4-5"
scratch="$(mktemp -d)"
home="$scratch/home"
jobs_to_end=()
end() {
  for job in "${jobs_to_end[@]}"; do kill "$job" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$scratch"
}
trap end EXIT

failures=0
printf '%-46s %-22s %-22s\n' "check" "expected" "actual"
check() { # what, expected, actual
  local mark="" expected="$2" actual="$3"
  if [ "$expected" != "$actual" ]; then mark="  <-- differs"; failures=$((failures + 1)); fi
  printf '%-46s %-22s %-22s%s\n' "$1" "$expected" "$actual" "$mark"
}
claudeproxy() { uv run --quiet claudeproxy "$@"; }
field() { # a value of the JSON on standard input, by a Python expression over `it`
  uv run --quiet python -c 'import json, sys; it = json.load(sys.stdin); print(eval(sys.argv[1]))' "$1" 2>/dev/null || echo "nothing"
}
same_as_sent() { # a file's size, and whether it is what curl sent
  printf '%s %s' "$(wc -c < "$1")" "$(cmp -s "$1" "$scratch/request.json" && echo "the same" || echo differs)"
}
first_line() { # of a file that somebody is about to write; ends with the process that should
  for _ in $(seq 300); do
    if [ "$(wc -l < "$1")" -gt 0 ]; then head -1 "$1"; return; fi
    kill -0 "$2" 2>/dev/null || break
    sleep 0.1
  done
  cat "$1" >&2
  return 1
}

# --- an API to talk to, and the proxy in front of it ----------------------------------------------------------------
upstream=()
if [ -z "$REAL" ]; then
  uv run --quiet python -m claudeproxy.testing > "$scratch/api.out" &
  jobs_to_end+=($!)
  upstream=(--upstream "$(first_line "$scratch/api.out" $!)")
fi
uv run --quiet claudeproxy serve --home "$home" --bind 127.0.0.1:0 --api 127.0.0.1:0 "${upstream[@]}" \
  > "$scratch/serve.out" 2> "$scratch/serve.log" &
serve=$!
jobs_to_end+=("$serve")
banner="$(first_line "$scratch/serve.out" "$serve")" || { cat "$scratch/serve.log" >&2; exit 1; }
proxy="$(sed -E 's/.*proxy on ([^,]+), API on .*/\1/' <<< "$banner")"
api="$(sed -E 's/.*API on //' <<< "$banner")"
health() { curl -s "$api/api/claude/health" | field "it['status']"; }
check "the service is up" "ok" "$(health)"

# --- trust the CA, in this shell only -------------------------------------------------------------------------------
export HTTPS_PROXY="$proxy" CURL_CA_BUNDLE="$home/ca.crt" NODE_EXTRA_CA_CERTS="$home/ca.crt" NO_PROXY=127.0.0.1
check "the certificate authority is private" "600" "$(stat -c %a "$home/ca.key" 2>/dev/null || stat -f %Lp "$home/ca.key")"

# --- one request with curl ------------------------------------------------------------------------------------------
cat > "$scratch/request.json" << JSON
{"model": "$model", "max_tokens": 16,
 "messages": [{"role": "user", "content": "Say hello to the quickstart, in one word."}]}
JSON
status="$(curl -s -o "$scratch/answer.json" -w '%{http_code}' https://api.anthropic.com/v1/messages \
  -H "x-api-key: $key" -H "anthropic-version: 2023-06-01" -H "content-type: application/json" \
  --data-binary "@$scratch/request.json")" || true
check "curl through the proxy, over TLS" "200" "$status"

# --- Claude Code, when it is there ----------------------------------------------------------------------------------
if command -v claude > /dev/null; then
  mkdir -p "$scratch/project" "$scratch/user"
  code=0
  (cd "$scratch/project" && HOME="$scratch/user" ANTHROPIC_API_KEY="$key" CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1 \
    timeout 120 claude -p "Say hello." < /dev/null > "$scratch/claude.out" 2>&1) || code=$?
  check "claude -p through the proxy" "0" "$code"
  [ "$code" = 0 ] || tail -5 "$scratch/claude.out" >&2
else
  printf '%-46s %-22s\n' "claude -p through the proxy" "(claude is not installed)"
fi

# --- query ----------------------------------------------------------------------------------------------------------
recorded() { claudeproxy query --home "$home" --since 1h --path /v1/messages --json | field "$1"; }
for _ in $(seq 100); do # the record follows the answer within a fraction of a second
  [ "$(recorded "sum(row['total_tokens'] is not None and row['state'] == 'complete' for row in it) > 0")" = True ] && break
  sleep 0.1
done
id="$(recorded "it[-1]['id']")"
check "query finds it" "complete 200" "$(recorded "'{state} {status_code}'.format(**it[-1])")"
check "its body, byte for byte" "$(wc -c < "$scratch/request.json") the same" \
  "$(curl -s -o "$scratch/body" "$api/api/claude/requests/$id/body"; same_as_sent "$scratch/body")"
check "show names the source" "True" \
  "$(claudeproxy show --home "$home" "$id" --json | field "'User' in json.dumps(it)")"

# --- rate the answer ------------------------------------------------------------------------------------------------
rate() {
  curl -s -o "$scratch/rated.json" -w '%{http_code}' "$api/api/claude/feedback" -H "content-type: application/json" \
    -d "{\"request_id\": \"$id\", \"rating\": 0.8, \"feedback_text\": \"short and right\"}"
}
check "a rating is taken" "201" "$(rate)"
check "and reaches its sources" "True" "$(field "'User' in it['affected_sources']" < "$scratch/rated.json")"
check "a second one for the same request is not" "409" "$(rate)"

# --- the metrics ----------------------------------------------------------------------------------------------------
check "the summary counts it" "1 0.8" \
  "$(curl -s "$api/api/claude/metrics/summary" | field "'{feedback_count} {average_rating}'.format(**it)")"
check "so does the source" "1 0.8" "$(curl -s "$api/api/claude/metrics/sources?source_type=User" \
  | field "'{feedback_count} {average_rating}'.format(**it['metrics'][0])")"
check "the proxy answers while all that goes on" "ok" "$(health)"

# --- and the end ----------------------------------------------------------------------------------------------------
kill -TERM "$serve"
code=0
wait "$serve" || code=$?
check "it ends when told to" "0" "$code"
check "what was captured is still there" "${id:0:8}" "$(recorded "it[-1]['id'][:8]")"

if [ "$failures" -gt 0 ]; then
  echo "$failures of the checks differ" >&2
  exit 1
fi
echo "all as expected"
