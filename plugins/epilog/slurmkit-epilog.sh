#!/bin/sh
# Epilog of slurmd: leaves nothing of a job on the node.
#
# Of the job that ends, it ends every process that carries the job's id in its environment. When its
# user has no other job on the node, it also ends all that runs in the user's name, and removes the
# user's shared memory (POSIX and System V) and temporary files of known kinds. Another job is never
# touched, be it of the same user: whether there is one, the node's own slurmstepds tell, and what
# began after this script began without this job's id is left alone. slurmctld is never asked.
#
# It says what it did in one line (logger, or the file SLURMKIT_EPILOG_LOG), has a deadline, and
# ends with 0; with 1, upon which Slurm drains the node, only when a process outlives SIGKILL.
# Settings are read from /etc/slurmkit/node.env; docs/reference/epilog.md describes them.
set -u
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL

node_env=${SLURMKIT_NODE_ENV:-/etc/slurmkit/node.env}
# shellcheck source=/dev/null
[ -r "$node_env" ] && . "$node_env"
deadline_s=${SLURMKIT_EPILOG_DEADLINE_S:-20}
grace_s=${SLURMKIT_EPILOG_GRACE_S:-2}
min_uid=${SLURMKIT_EPILOG_MIN_UID:-1000}
folders=${SLURMKIT_EPILOG_DIRS:-/tmp /var/tmp}
job=${SLURM_JOB_ID:-}
uid=${SLURM_JOB_UID:-${SLURM_UID:-}}

say() {
    if [ -n "${SLURMKIT_EPILOG_LOG:-}" ]; then
        printf '%s slurmkit-epilog: %s\n' "$(date +%FT%T)" "$*" >>"$SLURMKIT_EPILOG_LOG"
    else
        logger -t slurmkit-epilog -- "$*" 2>/dev/null || printf 'slurmkit-epilog: %s\n' "$*" >&2
    fi
}

is_number() {
    case $1 in
        '' | *[!0-9]*) return 1 ;;
    esac
}

if ! is_number "$job" || ! is_number "$uid"; then
    say "nothing done: SLURM_JOB_ID='$job', SLURM_JOB_UID='$uid'"
    exit 0
fi

if [ "${SLURMKIT_EPILOG_INSIDE:-}" != "$job" ]; then
    began=$(date +%s.%N)
    SLURMKIT_EPILOG_INSIDE=$job SLURMKIT_EPILOG_BEGAN=$began \
        timeout --kill-after=2 "$deadline_s" "$0"
    code=$?
    case $code in
        0 | 1) exit "$code" ;;
        124 | 137) say "job $job user $uid: gave up after $deadline_s s" ;;
        *) say "job $job user $uid: failed with exit code $code: look at the settings in $node_env" ;;
    esac
    exit 0
fi

if ! is_number "$grace_s"; then
    say "SLURMKIT_EPILOG_GRACE_S='$grace_s' is no whole number: 2 is taken"
    grace_s=2
fi
if ! is_number "$min_uid"; then
    say "SLURMKIT_EPILOG_MIN_UID='$min_uid' is no whole number: 1000 is taken"
    min_uid=1000
fi

# Sets parent and start (clock ticks since the boot) of a process; fails when it is gone. The name in
# /proc/PID/stat may hold blanks and brackets itself. No program is started: nodes have thousands.
look() {
    fields=
    # A name may hold line breaks, too: what counts is on the last line.
    { while read -r line; do fields=${line##*) }; done <"/proc/$1/stat"; } 2>/dev/null
    [ -n "$fields" ] || return 1
    fields=${fields#* }
    parent=${fields%% *}
    field=2
    while [ "$field" -lt 20 ]; do # proc_pid_stat(5): the 22nd of all, behind pid and name
        fields=${fields#* }
        field=$((field + 1))
    done
    start=${fields%% *}
}

look $$ && own_start=$start

# Whether a process has the job's id in its environment; prologs and epilogs have it, too.
is_of_job() {
    tr '\0' '\n' <"/proc/$1/environ" 2>/dev/null | {
        ours=no
        while read -r entry; do
            case $entry in
                SLURM_JOB_ID="$job") ours=yes ;;
                SLURM_SCRIPT_CONTEXT=*) exit 1 ;;
            esac
        done
        [ "$ours" = yes ]
    }
}

all_of_user() {
    stat -c '%u %n' /proc/[0-9]* 2>/dev/null | while read -r owner path; do
        [ "$owner" != "$uid" ] || printf '%s\n' "${path#/proc/}"
    done
}

# The job's processes, also those that began just now: a watchdog starts anew what is ended.
of_job() {
    all_of_user | while read -r pid; do
        ! is_of_job "$pid" || printf '%s\n' "$pid"
    done
}

# These, and those of the user that began before this script: younger ones may be a next job's.
of_user() {
    all_of_user | while read -r pid; do
        if { look "$pid" && [ "$start" -lt "$own_start" ]; } || is_of_job "$pid"; then
            printf '%s\n' "$pid"
        fi
    done
}

# The other jobs on this node that are the user's, or may be. A job is known by its slurmstepds, and
# its user by their children that are not root's; of one that has only an extern step so far nobody
# can tell.
other_jobs() {
    table=$(stat -c '%u %n' /proc/[0-9]* 2>/dev/null | while read -r owner path; do
        look "${path#/proc/}" && printf '%s %s\n' "$parent" "$owner"
    done)
    found=$(grep -la '^slurmstepd: \[' /proc/[0-9]*/cmdline 2>/dev/null | while read -r path; do
        pid=${path#/proc/}
        pid=${pid%/cmdline}
        title=$(tr '\0' ' ' <"$path" 2>/dev/null)
        other=${title#*\[}
        other=${other%%.*}
        if [ -z "$title" ] || [ "$other" = "$job" ]; then
            continue
        fi
        printf '%s -\n' "$other"
        printf '%s\n' "$table" | while read -r parent owner; do
            [ "$parent" != "$pid" ] || [ "$owner" = 0 ] || printf '%s %s\n' "$other" "$owner"
        done
    done)
    printf '%s\n' "$found" | sort -u | while read -r other owner; do
        if [ "$owner" = "$uid" ]; then
            printf '%s\n' "$other"
        elif [ "$owner" = - ] && ! printf '%s\n' "$found" | grep -q "^$other [0-9]"; then
            printf '%s\n' "$other"
        fi
    done
}

send() { # signal, process numbers
    printf '%s\n' "$2" | while read -r pid; do
        kill "-$1" "$pid" 2>/dev/null
    done
}

# Ends the processes that a function lists: TERM, then KILL; prints how many there were.
end_all() {
    pids=$("$1")
    [ -n "$pids" ] || { printf '0'; return 0; }
    count=$(printf '%s\n' "$pids" | wc -l)
    send TERM "$pids"
    send CONT "$pids"
    turns=0
    while pids=$("$1") && [ -n "$pids" ]; do
        turns=$((turns + 1))
        [ "$turns" -gt $((grace_s * 5)) ] && send KILL "$pids"
        [ "$turns" -gt $((grace_s * 5 + 25)) ] && break
        sleep 0.2
    done
    printf '%s' "$count"
}

# Removes what find finds; prints how many there were. What is younger than this script stays.
remove() {
    find "$@" -uid "$uid" ! -newermt "@$SLURMKIT_EPILOG_BEGAN" -printf x -exec rm -rf {} + \
        2>/dev/null | wc -c
}

known_kinds() {
    remove "$1" -mindepth 1 -maxdepth 1 \( \
        -name 'ompi.*' -o -name 'openmpi-sessions-*' -o -name 'prte.*' -o -name 'pmix*' \
        -o -name 'spmix_appdir_*' -o -name 'hydra-*' -o -name 'mpich-*' \
        -o -name 'torchelastic_*' -o -name 'torch_*' -o -name 'torch-shm-*' -o -name 'pymp-*' \
        -o -name 'nccl-*' -o -name 'cuda-*' -o -name 'joblib_memmapping_*' -o -name 'ray' \)
}

remove_ipc() { # shm|sem|msg, and the letter of ipcrm
    count=0
    {
        read -r _
        # proc_sysvipc(5): key, id, and the owner behind the counters, which differ by kind.
        while read -r _ id _ _ fifth _ _ eighth _; do
            owner=$eighth
            [ "$1" != sem ] || owner=$fifth
            [ "$owner" = "$uid" ] && ipcrm "-$2" "$id" 2>/dev/null && count=$((count + 1))
        done
    } <"/proc/sysvipc/$1"
    printf '%s' "$count"
}

others=$(other_jobs | sort -u | tr '\n' ' ')
segments=0
if [ "$uid" -lt "$min_uid" ]; then
    scope="its own processes (a system user)"
elif [ -n "$others" ]; then
    scope="its own processes (beside job ${others% })"
else
    scope="all of the user"
fi
if [ "$scope" = "all of the user" ]; then
    lister=of_user
else
    lister=of_job
fi
processes=$(end_all "$lister")
# Sockets of our agents are named by job; the folder beside them may hold checkpoints.
files=$(remove "/tmp/slurmkit-$uid" -mindepth 1 -maxdepth 1 -name "$job.*")
for folder in $folders; do
    files=$((files + $(remove "$folder" -mindepth 1 -maxdepth 1 -name "spmix_appdir_${uid}_$job.*")))
done
if [ "$lister" = of_user ]; then
    files=$((files + $(remove /dev/shm -mindepth 1 -maxdepth 1)))
    files=$((files + $(remove "/tmp/slurmkit-$uid" -maxdepth 0 -empty)))
    for folder in $folders; do
        files=$((files + $(known_kinds "$folder")))
    done
    segments=$(($(remove_ipc shm m) + $(remove_ipc sem s) + $(remove_ipc msg q)))
fi

left=$("$lister" | tr '\n' ' ')
say "job $job user $uid: $processes processes ended, $files files and $segments segments removed: $scope${left:+; do not end: $left}"
[ -z "$left" ]
