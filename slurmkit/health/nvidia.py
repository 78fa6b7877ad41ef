"""What NVIDIA's driver says of each GPU: by NVML where nvidia-ml-py is installed, else nvidia-smi.

Both may hang for ever when a GPU is sick, so that only checks in a process of their own ask.
"""

import os
import re
import time
from functools import cache

from slurmkit.health.check import Node
from slurmkit.health.gpus import DriverError, Gpu, NoDriverError
from slurmkit.health.processes import command_of, pids, state_of

#: All checks that ask the driver share one process.
GROUP = "gpu-driver"
TIMEOUT_S = 20.0
# Younger processes may just be waiting for their disk.
_HANGS_S = 60.0


def ask(node: Node) -> tuple[Gpu, ...]:
    """Return the GPUs; asked once per process, whatever comes of it.

    Raises:
        NoDriverError: neither NVML nor nvidia-smi is here, or the node has no GPU.
        DriverError: they do not answer as they should.
    """
    if not any(re.fullmatch(r"nvidia\d+", name) for name in node.names("dev")):
        raise NoDriverError("the node has no NVIDIA GPU")
    if pid := _still_hangs(node):
        raise DriverError(f"process {pid}, which asked before, still hangs in the kernel")
    answer = _answer(node.nvidia_smi, node.driver_s)
    if isinstance(answer, Exception):
        raise answer
    return answer


def _still_hangs(node: Node) -> str:
    """Return a process that hangs in the driver since an earlier look: one is enough of them."""
    uptime = node.read("proc/uptime").split()
    oldest = (float(uptime[0]) - _HANGS_S) * os.sysconf("SC_CLK_TCK") if uptime else 0.0
    for pid in pids(node):
        state, start = state_of(node, pid)
        if state != "D" or start > oldest:
            continue
        names = [word.rpartition("/")[2] for word in command_of(node, pid)[:4]]
        if "nvidia-smi" in names or {"slurmkit", "health", "program"} <= set(names):
            return pid
    return ""


@cache
def _answer(program: str, within_s: float) -> tuple[Gpu, ...] | NoDriverError | DriverError:
    # A prolog imports this module and asks nobody: it does not pay for what only asking needs.
    from slurmkit.health.nvidia_smi import gpus_by_program  # noqa: PLC0415
    from slurmkit.health.nvml import gpus_by_nvml  # noqa: PLC0415

    try:
        found = gpus_by_nvml() if program == "nvidia-smi" else None
        return gpus_by_program(program, time.monotonic() + within_s) if found is None else found
    except (NoDriverError, DriverError) as error:
        return error
