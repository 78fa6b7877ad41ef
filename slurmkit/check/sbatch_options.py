"""The names of sbatch's options: sbatch(1) of Slurm 22.05 to 26.05."""

_OPTIONS = """
--account --acctg-freq --array --batch --bb --bbf --begin --chdir --cluster-constraint
--clusters --comment --consolidate-segments --constraint --container --container-id
--container-type --contiguous --core-spec --cores-per-socket --cpu-freq --cpus-per-gpu
--deadline --delay-boot --dependency --distribution --error --exclusive --export --export-file
--external --extra --extra-node-info --get-user-env --gid --gpu-bind --gpu-freq --gpus-per-task
--gres --gres-flags --help --hint --hold --ignore-pbs --input --job-name --kill-on-invalid-dep
--licenses --mail-type --mail-user --mcs-label --mem --mem-bind --mincpus --network --nice
--no-kill --no-requeue --nodefile --nodes --ntasks-per-core --ntasks-per-socket --oom-kill-step
--output --overcommit --oversubscribe --parsable --partition --power --prefer --priority
--profile --propagate --qos --quiet --reboot --requeue --resv-ports --segment --signal
--sockets-per-node --spread-job --spread-segments --stepmgr --switches --test-only --thread-spec
--threads-per-core --time --time-min --tmp --tres-bind --tres-per-task --uid --usage
--use-min-nodes --verbose --version --wait --wait-all-nodes --wckey
"""
#: Long options that may stand in a script; those that the job file has keys for are in it so that a
#: typing error finds them.
OPTIONS = frozenset(_OPTIONS.split())
