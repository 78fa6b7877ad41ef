"""The fast backend: jobs are submitted through libslurm by pyslurm, without a program per job.

Only submitting gains by it. Everything that reads goes through Slurm's programs here as well:
pyslurm 25.11 shows task 0 of an array as no task, takes 128 off large exit codes and knows no
licences. What its job description cannot express is submitted by sbatch.

pyslurm is GPL-2.0 and an optional extra. Importing it loads libslurm with RTLD_GLOBAL and ends the
process when there is no configuration, so it is tried in another process first, and never imported
by a process that imports torch.
"""

import functools
import importlib.util
import os
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from slurmkit.errors import RefusedError, SlurmError, SlurmUnreachableError
from slurmkit.slurm.cli import CliClient
from slurmkit.slurm.client import SubmitOutcome, SubmitRequest, SubmitResult
from slurmkit.slurm.description import NeedsSbatchError, job_attributes
from slurmkit.slurm.environ import scrubbed_environment
from slurmkit.slurm.runner import UNREACHABLE_WORDS
from slurmkit.slurm.submitting import AnswerLostError, submit_all

_CONFIGS = tuple(
    Path(path, "slurm.conf") for path in ("/etc/slurm", "/run/slurm/conf", "/etc/slurm-llnl")
)
_PROBE_TIMEOUT_S = 20.0
#: libslurm and os.environ belong to the process, not to a thread.
_LOCK = threading.Lock()


@functools.cache
def why_not_usable() -> str:
    """Return why pyslurm cannot be used here; empty when it can. Imports it only in a child."""
    spec = importlib.util.find_spec("pyslurm")
    if spec is None or spec.origin is None:
        return "pyslurm is not installed"
    if "torch" in sys.modules:
        return "this process has imported torch, and pyslurm changes how libraries are loaded"
    if not os.environ.get("SLURM_CONF") and not any(path.is_file() for path in _CONFIGS):
        return "no slurm.conf was found; pyslurm would end this process"
    probe = "import pyslurm; pyslurm.slurmctld.ping_primary(); print(pyslurm.__version__)"
    try:
        child = subprocess.run(
            [sys.executable, "-c", probe],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=_PROBE_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"importing pyslurm in another process took more than {_PROBE_TIMEOUT_S:g} s"
    if child.returncode != 0:
        said = child.stderr.strip().splitlines()
        return f"importing pyslurm in another process failed: {said[-1] if said else 'no message'}"
    version = CliClient().version()
    built_for = tuple(int(part) for part in child.stdout.split(".")[:2])
    if built_for != version:
        return f"pyslurm is built for Slurm {_dotted(built_for)}, and this is {_dotted(version)}"
    return ""


def _dotted(version: tuple[int, ...]) -> str:
    return f"{version[0]}.{version[1]:02d}"


class PyslurmClient(CliClient):
    """A cluster that jobs are submitted to through libslurm.

    Raises:
        SlurmUnreachableError: pyslurm is not usable here; the message says why.
    """

    name = "pyslurm"

    def __init__(self) -> None:
        if reason := why_not_usable():
            raise SlurmUnreachableError(
                f"the pyslurm backend is not usable: {reason}", hint="use `--backend cli`"
            )
        super().__init__()
        self._pyslurm = importlib.import_module("pyslurm")

    def submit_many(self, requests: Sequence[SubmitRequest]) -> list[SubmitOutcome]:
        """Submit several jobs at once; a refused one is an error in its place in the list."""
        return submit_all(self.submit, requests, max_threads=1)  # libslurm does not wait

    def _send(self, request: SubmitRequest) -> SubmitResult:
        script = _script_text(request.script)
        try:
            attributes = job_attributes(script, request.args)
        except NeedsSbatchError:
            return super()._send(request)
        folder = request.cwd or Path.cwd()
        attributes.setdefault("name", _name(request.script))
        attributes.setdefault("working_directory", str(folder))
        env = scrubbed_environment(
            self._environ, overrides=request.env, secret_names=request.secret_names
        )
        attributes |= {
            "script": script,
            "comment": request.job_comment,
            "environment": _MPI_VARIABLES | env | _submitters_variables(attributes, str(folder)),
            # True and empty: None asks for every profile, [] counts as None.
            "profile_types": iter(()),
        }
        try:
            with _LOCK, _clean_process_environment():
                job_id = self._pyslurm.JobSubmitDescription(**attributes).submit()
        except self._pyslurm.RPCError as error:
            raise _error(str(error)) from None
        except ValueError as error:
            raise SlurmError(f"pyslurm does not take this job: {error}") from None
        return SubmitResult(int(job_id), "", request.token, self.name)


def _error(said: str) -> SlurmError | RefusedError:
    if "connect failure" in said:  # nobody listened: nothing was sent
        return SlurmUnreachableError(f"libslurm: {said}", hint="see `scontrol ping`")
    if any(words in said for words in UNREACHABLE_WORDS):
        return AnswerLostError(f"libslurm: {said}", hint="see `scontrol ping`")
    return RefusedError(f"Slurm refuses the job: {said}")


def _script_text(script: Path | str) -> str:
    if isinstance(script, str):
        return script
    try:
        return script.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SlurmError(f"cannot read the batch script {script}: {error}") from None


def _name(script: Path | str) -> str:
    return script.name if isinstance(script, Path) else "sbatch"


#: What sbatch 25.11 sets so that mpirun inside a job starts its daemons as the external launcher.
_MPI_VARIABLES = {
    "HYDRA_BOOTSTRAP": "slurm",
    "HYDRA_LAUNCHER_EXTRA_ARGS": "--external-launcher",
    "I_MPI_HYDRA_BOOTSTRAP": "slurm",
    "I_MPI_HYDRA_BOOTSTRAP_EXEC_EXTRA_ARGS": "--external-launcher",
    "OMPI_MCA_plm_slurm_args": "--external-launcher",
    "PRTE_MCA_plm_slurm_args": "--external-launcher",
}

#: The node applies those that PropagateResourceLimits names (slurm.conf(5)).
_LIMITS = ("CPU", "FSIZE", "DATA", "STACK", "CORE", "RSS", "NPROC", "NOFILE", "MEMLOCK", "AS")


def _submitters_variables(attributes: Mapping[str, Any], folder: str) -> dict[str, str]:
    """Return the variables that a job gets from sbatch itself (sbatch(1), OUTPUT ENVIRONMENT)."""
    mask = os.umask(0)
    os.umask(mask)
    cpus = attributes.get("cpus_per_task")
    limits = {name: resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[0] for name in _LIMITS}
    values = {
        **{f"SLURM_RLIMIT_{name}": limit % 2**64 for name, limit in limits.items()},
        "SLURM_SUBMIT_DIR": folder,
        "SLURM_SUBMIT_HOST": socket.gethostname(),
        "SLURM_UMASK": f"{mask:04o}",
        "SLURM_JOB_NAME": attributes["name"],
        "SLURM_NTASKS": attributes.get("ntasks"),
        "SLURM_NPROCS": attributes.get("ntasks"),
        "SLURM_NTASKS_PER_NODE": attributes.get("ntasks_per_node"),
        "SLURM_CPUS_PER_TASK": cpus,
        "SLURM_TRES_PER_TASK": f"cpu={cpus}" if cpus else None,
        "SLURM_PRIO_PROCESS": os.getpriority(os.PRIO_PROCESS, 0),
    }
    return {name: str(value) for name, value in values.items() if value is not None}


@contextmanager
def _clean_process_environment() -> Iterator[None]:
    """Hide a surrounding job's SLURM_* from pyslurm, which adds them to every job it submits."""
    hidden = {name: value for name, value in os.environ.items() if name.startswith("SLURM_")}
    kept = scrubbed_environment(hidden)
    for name in hidden.keys() - kept.keys():
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)
