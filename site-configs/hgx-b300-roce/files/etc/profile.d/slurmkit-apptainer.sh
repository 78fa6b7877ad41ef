# Made by `slurmkit site generate`: where apptainer keeps what it pulls and unpacks, and what it shows.
export APPTAINER_CACHEDIR="${APPTAINER_CACHEDIR:-/scratch/apptainer-$(id -un)}"
# Shared storage, where runs are; HOME, /tmp, /dev and /proc are shown in any case.
export APPTAINER_BINDPATH="${APPTAINER_BINDPATH:-/shared}"
