"""A real Slurm cluster in Linux namespaces on one machine, with faults on demand."""

from slurmkit.sandbox.cluster import HostStatus, Sandbox, sandbox_names, take_down
from slurmkit.sandbox.layout import CONTROLLER, LOGIN, Size
from slurmkit.sandbox.record import SandboxError

__all__ = [
    "CONTROLLER",
    "LOGIN",
    "HostStatus",
    "Sandbox",
    "SandboxError",
    "Size",
    "sandbox_names",
    "take_down",
]
