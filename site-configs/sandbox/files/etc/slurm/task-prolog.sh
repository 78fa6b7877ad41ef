#!/bin/sh
# TaskProlog of sandbox; made by `slurmkit site generate`. Runs as the user before every task, and
# Slurm puts what it prints as "export NAME=VALUE" into the task's environment. What a job has set stays.
exit 0
