#!/bin/bash
# HealthCheckProgram of slurmd: checks this node in full, drains it when a check asks for that, and
# puts it back when all is well again. Slurm runs it with an empty environment, and ends it after 60 s.
set -uo pipefail

export PATH=/opt/slurmkit/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
SLURMKIT_PROGRAM=slurmkit
# Names the program where it is elsewhere, and SLURM_CONF where that is not at its usual place.
node_env=${SLURMKIT_NODE_ENV:-/etc/slurmkit/node.env}
# shellcheck source=/dev/null
[ -r "$node_env" ] && . "$node_env"

said=$(timeout --signal=TERM --kill-after=2 55 "$SLURMKIT_PROGRAM" health program 2>&1)
code=$?
if [ -n "$said" ]; then
  logger --tag slurmkit-health -- "$said" 2>/dev/null
fi
if [ $code -ne 0 ]; then
  logger --tag slurmkit-health -- "the checks ended with $code" 2>/dev/null
fi
exit 0
