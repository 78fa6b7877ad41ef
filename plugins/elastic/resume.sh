#!/bin/sh
# ResumeProgram of slurm.conf: starts the nodes of a host list.
exec "${0%/*}/call.sh" resume "$@"
