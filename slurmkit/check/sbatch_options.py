"""What is known about sbatch's options: sbatch(1) of Slurm 22.05 to 26.05."""

#: Options that may stand in a script and that slurmkit has no opinion about.
_OPTIONS = """
--acctg-freq --batch --bb --bbf --begin --chdir --cluster-constraint --clusters
--consolidate-segments --container --container-id --container-type --contiguous --core-spec
--cores-per-socket --cpu-freq --deadline --delay-boot --distribution --exclusive --export
--export-file --external --extra --extra-node-info --get-user-env --gid --gpu-bind --gpu-freq
--gres-flags --hint --hold --ignore-pbs --input --kill-on-invalid-dep --mail-type --mail-user
--mcs-label --mem-bind --mincpus --network --nice --no-kill --nodefile --ntasks-per-core
--ntasks-per-socket --oom-kill-step --overcommit --oversubscribe --power --prefer --priority
--profile --propagate --quiet --reboot --resv-ports --segment --sockets-per-node --spread-job
--spread-segments --stepmgr --switches --thread-spec --threads-per-core --time-min --tmp
--tres-bind --tres-per-task --uid --use-min-nodes --verbose --wait-all-nodes --wckey -H -I -M -O
-Q -S -b -k -m -s -v -B
"""
OPTIONS = frozenset(_OPTIONS.split())

#: Options by which sbatch does something else than to submit the script, and what.
NOT_IN_A_SCRIPT = {
    "--wait": "makes sbatch wait for the end of the job, and slurmkit with it",
    "-W": "makes sbatch wait for the end of the job, and slurmkit with it",
    "--test-only": "makes sbatch submit nothing",
    "--wrap": "makes sbatch submit another command than this script",
    "--parsable": "changes what sbatch says, which slurmkit reads",
    "--help": "makes sbatch submit nothing",
    "-h": "makes sbatch submit nothing",
    "--usage": "makes sbatch submit nothing",
    "--version": "makes sbatch submit nothing",
    "-V": "makes sbatch submit nothing",
    "--comment": "has no effect: slurmkit keeps its own mark in the job's comment",
}

#: Options that contradict what the launch or the logs are built on: what they contradict, and the
#: key of the job file that says the same without contradiction; empty when there is none.
RELIED_ON = {
    "--nodes": ("--nodes", "resources.nodes"),
    "--ntasks": ("--ntasks-per-node", "resources.tasks_per_node"),
    "--ntasks-per-node": ("--ntasks-per-node", "resources.tasks_per_node"),
    "--ntasks-per-gpu": ("--ntasks-per-node", "resources.tasks_per_node"),
    "--cpus-per-task": ("--cpus-per-task", "resources.cpus_per_task"),
    "--cpus-per-gpu": ("--cpus-per-task", "resources.cpus_per_task"),
    "--gres": ("--gres", "resources.gpus_per_node"),
    "--gpus": ("--gres", "resources.gpus_per_node"),
    "--gpus-per-node": ("--gres", "resources.gpus_per_node"),
    "--gpus-per-task": ("--gres", "resources.gpus_per_node"),
    "--gpus-per-socket": ("--gres", "resources.gpus_per_node"),
    "--array": ("--array", "array"),
    "--output": ("--output", ""),
    "--error": ("--output", ""),
    "--open-mode": ("--open-mode", ""),
    "--signal": ("--signal", "checkpoint, and signal in site.yaml,"),
}

#: Options that a key of the job file stands for; None where the option may stand for itself.
OWN_KEYS: dict[str, str | None] = {
    "--job-name": "name",
    "--time": "resources.time",
    "--partition": "resources.partition",
    "--account": "resources.account",
    "--qos": "resources.qos",
    "--reservation": "resources.reservation",
    "--constraint": "resources.constraint",
    "--nodelist": "resources.nodelist",
    "--exclude": "resources.exclude",
    "--licenses": "resources.licenses",
    "--mem": "resources.memory",
    "--mem-per-cpu": "resources.memory",
    "--mem-per-gpu": "resources.memory",
    "--dependency": "after",
    "--requeue": None,
    "--no-requeue": None,
}
