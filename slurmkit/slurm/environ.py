"""The environment a submitted job inherits: the user's, without a surrounding job's leftovers.

An sbatch started inside an allocation, an interactive job or a notebook on a compute node hands
the outer job's SLURM_CPU_BIND, SLURM_STEP_*, PMI_RANK and so on to the inner one, which then binds
to cores it does not have or believes it is rank 3 of 8. sbatch also reads SBATCH_* as options that
win over the script's own directives, so that the job would not be what its script says.
"""

import os
from collections.abc import Iterable, Mapping

_DROPPED_PREFIXES = (
    "SLURM_",
    "SLURMD_",  # SLURMD_NODENAME and the like: of the outer task
    "SBATCH_",
    "SRUN_",
    "SALLOC_",
    "PMI_",
    "PMI2_",
    "PMIX_",
    "OMPI_",
    "PRTE_",
    "ORTE_",
    "HYDRA_",
    "HYDI_",
    "MPI_LOCAL",
    "TORCHELASTIC_",
    # How the query programs print by default; sbatch does not read them, a job has no use for them.
    "SQUEUE_",
    "SINFO_",
    "SACCT_",
    "SCONTROL_",
    "SCANCEL_",
)

#: How programs find the cluster and who the user is: no job left these behind.
_KEPT = frozenset(
    {"SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT", "SLURM_SACK_SOCKET"}
)

#: What users set for MPI themselves; a launcher sets other frameworks (ess, orte, prte, rmaps ...).
_KEPT_PREFIXES = tuple(
    f"OMPI_MCA_{framework}" for framework in ("pml", "btl", "mtl", "coll", "osc", "io", "opal_cuda")
)

#: Rank and place in a surrounding job, as torchrun, Slurm and MPI launchers set them.
_RANK_NAMES = frozenset(
    {
        "RANK",
        "LOCAL_RANK",
        "WORLD_SIZE",
        "LOCAL_WORLD_SIZE",
        "GROUP_RANK",
        "GROUP_WORLD_SIZE",
        "NODE_RANK",
        "ROLE_NAME",
        "ROLE_RANK",
        "ROLE_WORLD_SIZE",
        "MASTER_ADDR",
        "MASTER_PORT",
        # slurmkit's own for the tasks of a surrounding run.
        "SLURMKIT_RUN_DIR",
        "SLURMKIT_ATTEMPT",
        "SLURMKIT_INCARNATION",
        "SLURMKIT_RENDEZVOUS_HOST",
        "SLURMKIT_CHECKPOINT_DIR",
        "SLURMKIT_FENCE",
        "SLURMKIT_AGENT_SOCKET",
        "SLURMKIT_GRACE_S",
        "SLURMKIT_MTBF_S",
        "SLURMKIT_WARNING_SIGNAL",
        "SLURMKIT_CONTINUE",
        "SLURMKIT_ARRAY_SIZE",
    }
)

#: Devices of the surrounding job; outside any job they are the user's own choice and stay.
_DEVICE_NAMES = frozenset(
    {
        "CUDA_VISIBLE_DEVICES",
        "HIP_VISIBLE_DEVICES",
        "ROCR_VISIBLE_DEVICES",
        "ZE_AFFINITY_MASK",
        "GPU_DEVICE_ORDINAL",
        "ENVIRONMENT",  # Slurm sets it to BATCH
    }
)


def scrubbed_environment(
    environ: Mapping[str, str],
    *,
    overrides: Mapping[str, str] | None = None,
    secret_names: Iterable[str] = (),
) -> dict[str, str]:
    """Return the environment to submit with.

    Args:
        environ: the present environment.
        overrides: variables to set after scrubbing; they win, also over the scrub.
        secret_names: variables that must not travel through Slurm; they win over overrides.
    """
    inside_job = "SLURM_JOB_ID" in environ
    env = {
        name: value for name, value in environ.items() if not _belongs_to_a_job(name, inside_job)
    }
    env.update(overrides or {})
    for name in secret_names:
        env.pop(name, None)
    return env


def _belongs_to_a_job(name: str, inside_job: bool) -> bool:
    if name in _KEPT or name.startswith(_KEPT_PREFIXES):
        return False
    if name in _RANK_NAMES or name.startswith(_DROPPED_PREFIXES):
        return True
    return inside_job and name in _DEVICE_NAMES


def query_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for programs that only ask: their output has one form everywhere.

    SLURM_BITSTR_LEN=0 asks for the lists of pending array tasks in full (squeue(1)).
    """
    fixed = {"LC_ALL": "C", "TZ": "UTC", "SLURM_BITSTR_LEN": "0"}
    return {"PATH": os.defpath} | scrubbed_environment(environ, overrides=fixed)
