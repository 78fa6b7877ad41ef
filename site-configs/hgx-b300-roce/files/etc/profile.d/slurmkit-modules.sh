# Made by `slurmkit site generate`: `module` in batch scripts, too, which are no login shells.
if [ -r /usr/share/lmod/lmod/init/sh ] && ! command -v module >/dev/null 2>&1; then
    . /usr/share/lmod/lmod/init/sh
fi
