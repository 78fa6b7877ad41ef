#!/bin/sh
# Called by the programs beside it: calls slurmkit elastic, and sees to it that its words are kept.
#
# A file "settings" beside it may set SLURMKIT (the program), SLURMKIT_SITE (site.yaml; by default
# /etc/slurmkit/site.yaml) and ELASTIC_LOG (a file for what slurmkit prints; by default syslog).
set -eu
PATH=${PATH:-/usr/bin:/bin}:/usr/local/bin:/usr/local/sbin:/usr/sbin:/sbin
export PATH
if [ -r "${0%/*}/settings" ]; then
  set -a
  # shellcheck source=/dev/null
  . "${0%/*}/settings"
  set +a
fi
if [ "$#" -lt 2 ] || [ -z "$2" ]; then
  echo "usage: ${0##*/} resume|suspend|resume-failed HOSTLIST" >&2
  exit 2
fi
if [ -n "${ELASTIC_LOG:-}" ]; then
  exec "${SLURMKIT:-slurmkit}" elastic "$@" >>"$ELASTIC_LOG" 2>&1
fi
# Not through a pipe: the exit code is what Slurm logs, and sh knows no pipefail.
if words=$("${SLURMKIT:-slurmkit}" elastic "$@" 2>&1); then
  code=0
else
  code=$?
fi
logger -t slurmkit-elastic -- "$* ended with $code: $words" || :
exit "$code"
