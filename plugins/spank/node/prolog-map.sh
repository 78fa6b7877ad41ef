#!/usr/bin/env bash
# For nodes without systemd: call this from slurmd's Prolog. It writes the affinity plugin's map once
# per boot. It never fails: a prolog that fails drains the node.
set -uo pipefail
map=${SLURMKIT_MAP:-/run/slurmkit/affinity.map}
slurmkit=${SLURMKIT:-slurmkit}

[ -e "$map" ] && exit 0
mkdir -p "${map%/*}" || exit 0
new=$(mktemp "${map%/*}/.affinity.XXXXXX") || exit 0
if "$slurmkit" topo export --plugin >"$new" && chmod 644 "$new"; then
  mv -f "$new" "$map"
else
  rm -f "$new"
fi
exit 0
