"""A real Slurm cluster in Linux namespaces on one machine, with faults on demand."""

from slurmkit.sandbox.cluster import HostStatus, Sandbox
from slurmkit.sandbox.disks import Disk
from slurmkit.sandbox.layout import CONTROLLER, LOGIN
from slurmkit.sandbox.record import SandboxError, SandboxUnavailableError, sandbox_names
from slurmkit.sandbox.teardown import take_down

__all__ = [
    "CONTROLLER",
    "LOGIN",
    "Disk",
    "HostStatus",
    "Sandbox",
    "SandboxError",
    "SandboxUnavailableError",
    "sandbox_names",
    "take_down",
]
