#!/bin/sh
# ResumeFailProgram of slurm.conf: stops nodes that did not register in time.
exec "${0%/*}/call.sh" resume-failed "$@"
