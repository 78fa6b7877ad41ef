"""The environment that a submitted job inherits: the user's, without what a surrounding job left in it.

An sbatch started inside an allocation, an interactive job or a notebook on a compute node hands
the outer job's SLURM_CPU_BIND, SLURM_STEP_*, PMI_RANK and so on to the inner one, which then binds
to cores it does not have or believes it is rank 3 of 8. sbatch itself reads SBATCH_* as options.
"""

from collections.abc import Iterable, Mapping

_DROPPED_PREFIXES = (
    "SLURM_",
    "SLURMD_",  # SLURMD_NODENAME, SLURMD_TRES_BIND: of the outer task
    "SBATCH_",
    "SRUN_",
    "SALLOC_",
    "PMI_",
    "PMI2_",
    "PMIX_",
    "OMPI_COMM_",
    "OMPI_UNIVERSE_",
    "OMPI_APP_",
    "OMPI_FILE_",
    "OMPI_FIRST_",
    "OMPI_NUM_",
    "OMPI_COMMAND",
    "OMPI_ARGV",
    "PRTE_",
    "ORTE_",
    "HYDRA_",
    "HYDI_",
    "MPI_LOCAL",
    "TORCHELASTIC_",
)

#: Rank and place in a surrounding job under the names that torchrun, MPI launchers and Slurm use.
_DROPPED_NAMES = frozenset(
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
        "CUDA_VISIBLE_DEVICES",
        "HIP_VISIBLE_DEVICES",
        "ROCR_VISIBLE_DEVICES",
        "ZE_AFFINITY_MASK",
        "GPU_DEVICE_ORDINAL",
        "ENVIRONMENT",
    }
)

#: How programs find the cluster and who the user is, or how their output looks: not a job's leftovers.
_KEPT = frozenset(
    {
        "SLURM_CONF",
        "SLURM_CONF_SERVER",
        "SLURM_CLUSTERS",
        "SLURM_JWT",
        "SLURM_TIME_FORMAT",
        "SLURM_BITSTR_LEN",
        "SLURM_DEBUG_FLAGS",
        "PMIX_MCA_gds",
        "PMIX_MCA_psec",
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
    secrets = frozenset(secret_names)
    env = {name: value for name, value in environ.items() if not _belongs_to_a_job(name)}
    env.update(overrides or {})
    return {name: value for name, value in env.items() if name not in secrets}


def _belongs_to_a_job(name: str) -> bool:
    if name in _KEPT:
        return False
    return name in _DROPPED_NAMES or name.startswith(_DROPPED_PREFIXES)
