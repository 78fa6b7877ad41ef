# Made by `slurmkit site generate`: `module` where people log in; sbatch and srun take it along into jobs.
if [ -r /usr/share/lmod/lmod/init/sh ] && ! command -v module >/dev/null 2>&1; then
    . /usr/share/lmod/lmod/init/sh
fi
