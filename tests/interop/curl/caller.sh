#!/bin/sh
# curl: the secret goes in by standard input, so that no list of processes shows it. 22: curl's "HTTP error".
set -eu

ask() { # secret, scope
  printf 'user = "%s:%s"\n' "$WATCHWORD_CLIENT_ID" "$1" |
    curl --silent --fail-with-body --config - --data grant_type=client_credentials --data "scope=$2" \
      "$WATCHWORD_ISSUER/token"
}

refusal() {
  code=0
  body=$(ask "$@") || code=$?
  printf 'exit %d %s' "$code" "$(printf %s "$body" | sed -E 's/.*"error": ?"([a-z_]+)".*/\1/')"
}

answer=$(ask "$WATCHWORD_CLIENT_SECRET" payments:charge)
token=$(printf %s "$answer" | sed -E 's/.*"access_token": ?"([^"]+)".*/\1/')
printf '{"token": "%s", "wrong_secret": "%s", "scope_refused": "%s"}' \
  "$token" "$(refusal wrong payments:charge)" "$(refusal "$WATCHWORD_CLIENT_SECRET" ungranted)"
