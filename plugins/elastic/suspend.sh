#!/bin/sh
# SuspendProgram of slurm.conf: stops the nodes of a host list.
exec "${0%/*}/call.sh" suspend "$@"
