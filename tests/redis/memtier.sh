#!/usr/bin/env bash
# memtier_benchmark against nowthen: every kind of run must end without an error reply.
#
#   tests/redis/memtier.sh CHECKOUT [NOWTHEN]
#
# CHECKOUT is a clone of github.com/redis/memtier_benchmark; it is copied, built (Debian: autoconf
# automake g++ libevent-dev libssl-dev make pkg-config zlib1g-dev) in the target folder, and left as
# it was. NOWTHEN is the binary to test, the release build if none is named.
set -euo pipefail

main() {
  local here target checkout="$1"
  here="$(cd "$(dirname "$0")/../.." && pwd)"
  target="${CARGO_TARGET_DIR:-$here/target}"
  memtier="$target/clients/memtier/memtier_benchmark"
  [ -x "$memtier" ] || build "$checkout" "$(dirname "$memtier")"
  serve "${2:-$target/release/nowthen}"

  for protocol in redis resp2 resp3; do
    benchmark --protocol="$protocol"
    benchmark --protocol="$protocol" --pipeline=16
    benchmark --protocol="$protocol" --cluster-mode
  done
  benchmark --data-size-range=1-4096 --expiry-range=1-100 --key-prefix=expiring:
  benchmark --key-prefix=hash: --pipeline=10 \
    --command="HSET __key__ spend __data__ visits 7" --command-ratio=1 \
    --command="HMGET __key__ spend visits none" --command-ratio=9
  benchmark --key-prefix=hash: --cluster-mode \
    --command="HSET __key__ spend __data__" --command="HMGET __key__ spend visits"
  echo "memtier_benchmark met no error"
}

build() {
  echo "building memtier_benchmark ..."
  mkdir -p "$2"
  cp -r "$1/." "$2"
  (cd "$2" && autoreconf -if && ./configure && make) >"$2/build.log" 2>&1 || {
    tail -n 20 "$2/build.log" >&2
    return 1
  }
}

serve() {
  scratch="$(mktemp -d)"
  port=$((20000 + RANDOM % 10000))
  "$1" serve --data "$scratch/data" --port "$port" --http-port "$((port + 1))" \
    >"$scratch/server" 2>&1 &
  server=$!
  trap 'kill "$server"; wait "$server" || true; rm -rf "$scratch"' EXIT
  for _ in $(seq 200); do
    redis-cli -p "$port" ping >"$scratch/ping" 2>&1 && return
    sleep 0.1
  done
  cat "$scratch/server" >&2
  return 1
}

# It ends with status 0 even where replies were errors, so its words are read, too.
benchmark() {
  printf '%s\n' "$*"
  "$memtier" -s 127.0.0.1 -p "$port" --hide-histogram -t 2 -c 10 -n 1000 "$@" \
    >"$scratch/output" 2>&1 || { cat "$scratch/output" >&2 && return 1; }
  if grep -iE 'error|fail|refused' "$scratch/output"; then return 1; fi
  grep -qE '^Totals' "$scratch/output"
}

main "$@"
