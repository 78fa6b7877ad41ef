#!/bin/bash
# Prolog of slurmd: lets no job start on a node that is not fit, within two seconds and without
# asking slurmctld anything. Slurm drains the node when this fails; slurmkit's health program then
# writes why. What goes wrong in the checks themselves never keeps a job from starting.
set -uo pipefail

export PATH=/opt/slurmkit/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
SLURMKIT_PROGRAM=slurmkit
# Names the program where it is elsewhere; written by root, like this script.
node_env=${SLURMKIT_NODE_ENV:-/etc/slurmkit/node.env}
# shellcheck source=/dev/null
[ -r "$node_env" ] && . "$node_env"

said=$(timeout --signal=KILL 1.8 "$SLURMKIT_PROGRAM" health prolog 2>&1)
code=$?
case $code in
  0) exit 0 ;;
  3)
    printf '%s\n' "$said" >&2
    logger --tag slurmkit-prolog -- "$said" 2>/dev/null
    exit 1
    ;;
  *)
    logger --tag slurmkit-prolog -- "the checks ended with $code, and the job starts: $said" 2>/dev/null
    exit 0
    ;;
esac
