"""What is written for an mpirun over hosts: its script, and the files that it reads."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slurmkit.api.preparing import Prepared, template_dirs
from slurmkit.errors import UsageError
from slurmkit.hostlist import compress
from slurmkit.hosts import files
from slurmkit.hosts.command import Options, Start, comment_on_ucx, options
from slurmkit.hosts.model import Host, Hosts
from slurmkit.hosts.mpi import Mpirun
from slurmkit.hosts.ssh import ssh_config
from slurmkit.render.renderer import render_hosts
from slurmkit.rundir.atomic import atomic_write
from slurmkit.rundir.envfile import format_exports, is_variable_name
from slurmkit.rundir.layout import RunDir
from slurmkit.rundir.secretfile import secrets_path

# What a shell of this person has set by hand or by a module, and the program may need.
_CARRIED = re.compile(
    r"PATH|LD_LIBRARY_PATH|PYTHON\w*|VIRTUAL_ENV|CONDA_\w+|CUDA_\w+|NCCL_\w+|UCX_\w+|OMP_\w+|LANG"
    r"|LC_\w+|OMPI_MCA_\w+|I_MPI_\w+|FI_\w+|GLOO_\w+|TORCH_\w+|MKL_\w+|HF_\w+"
)


@dataclass(frozen=True)
class _Script:
    """What the template calls ``start``."""

    run_id: str
    num_ranks: int
    hosts: str
    title: str
    comment: str
    env: tuple[tuple[str, str], ...]
    options: list[Options]
    mpirun: str
    program: tuple[str, ...]


@dataclass(frozen=True)
class HostsLaunch:
    """What is known once the hosts have answered.

    Attributes:
        hosts: hosts.yaml.
        selected: the hosts of the run.
        mpirun: what starts the ranks.
        rdma_hosts: those of them that have RDMA devices.
        workdir: folder that the program runs in.
        command: the program and its arguments.
    """

    hosts: Hosts
    selected: Sequence[Host]
    mpirun: Mpirun
    rdma_hosts: Sequence[str]
    workdir: str
    command: tuple[str, ...]


def write_launch(
    prepared: Prepared, run_dir: RunDir, launch: HostsLaunch, environment: dict[str, str]
) -> Path:
    """Write ``hosts/`` of the run directory; return the script that starts the ranks.

    Args:
        prepared: the job.
        run_dir: the run's folder.
        launch: on which hosts it runs, and by what.
        environment: the variables of the ranks.

    Raises:
        UsageError: mpirun cannot take the path of the run directory.
        InvalidInputError: a person's own template is wrong.
    """
    folder = run_dir.path / "hosts"
    if re.search(r"\s", str(folder)):
        raise UsageError(
            f"mpirun cannot take the path {folder}, which holds a blank",
            hint="name a shared_dir without blanks in hosts.yaml",
        )
    folder.mkdir()
    plan, mpirun, selected = prepared.plan, launch.mpirun, launch.selected
    atomic_write(folder / "ssh_config", ssh_config(launch.hosts, selected))
    atomic_write(folder / "ssh", files.ssh_wrapper(str(folder / "ssh_config")), mode=0o700)
    atomic_write(folder / "hostfile", files.hostfile(launch.hosts, selected, mpirun.family))
    atomic_write(folder / "environment", format_exports(environment), mode=0o600)
    start = Start(
        run_id=run_dir.run_id,
        num_ranks=plan.shape.num_tasks,
        ranks_per_host=plan.shape.tasks_per_node,
        hostfile=str(folder / "hostfile"),
        ssh=str(folder / "ssh"),
        workdir=launch.workdir,
        network=launch.hosts.network or "",
        has_rdma=len(launch.rdma_hosts) == len(selected),
    )
    shim = [plan.slurmkit, "exec", "--env-file", str(folder / "environment")]
    if plan.secrets:
        shim += ["--env-file", secrets_path(run_dir.path)]
    script = _Script(
        run_id=run_dir.run_id,
        num_ranks=start.num_ranks,
        hosts=compress(host.name for host in selected),
        title=mpirun.title,
        comment=comment_on_ucx(mpirun, launch.rdma_hosts, len(selected)),
        env=_environment_of_mpirun(mpirun),
        options=options(mpirun, start),
        mpirun=mpirun.path,
        program=(*shim, "--", *launch.command),
    )
    path = folder / "mpirun.sh"
    dirs = template_dirs(prepared.job, prepared.found)
    atomic_write(path, render_hosts(plan, script, dirs), mode=0o700)
    return path


def environment_of_ranks(
    env: Mapping[str, str], base: Mapping[str, str], planned: Mapping[str, str]
) -> dict[str, str]:
    """Return the variables that sshd does not give the ranks: what the job and its software set."""
    chosen = {
        name: value
        for name, value in env.items()
        if is_variable_name(name)
        and (
            name in planned
            or name.startswith("SLURMKIT_")
            or base.get(name) != value
            or _CARRIED.fullmatch(name)
        )
    }
    return {**chosen, "SLURMKIT_ATTEMPT": "1"}


def _environment_of_mpirun(mpirun: Mpirun) -> tuple[tuple[str, str], ...]:
    """Return what mpirun itself has to have in its environment."""
    if mpirun.family == "openmpi" and os.geteuid() == 0:
        # Open MPI refuses root unless it is asked twice; this user asked.
        return (("OMPI_ALLOW_RUN_AS_ROOT", "1"), ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"))
    return ()
