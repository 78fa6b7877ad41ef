"""The kernel's side of a binding: CPU masks and memory policies of this process, set and read.

Sources: sched_setaffinity(2), set_mempolicy(2), get_mempolicy(2), proc(5).
"""

import ctypes
import errno
import os

from slurmkit.topology.cpuset import format_cpulist, parse_cpulist

# linux/mempolicy.h
_MODES = {0: "default", 1: "prefer", 2: "bind", 3: "interleave", 4: "local", 5: "prefer"}
_PREFERRED, _BIND, _INTERLEAVE, _LOCAL = 1, 2, 3, 4
_FLAGS = 0xF000  # MPOL_F_STATIC_NODES and the like, or-ed into the mode
# (set_mempolicy, get_mempolicy) by machine: asm/unistd_64.h, asm-generic/unistd.h.
_CALLS = {"x86_64": (238, 239), "aarch64": (237, 236), "riscv64": (237, 236), "ppc64le": (261, 260)}
_MASK_BITS = 1024  # get_mempolicy refuses a mask shorter than the kernel's MAX_NUMNODES


def own_cpus() -> frozenset[int]:
    """Return the CPU mask of this process."""
    return frozenset(os.sched_getaffinity(0))


def set_cpus(cpus: frozenset[int]) -> str:
    """Set the CPU mask of this process; returns why the kernel refused, or an empty text."""
    try:
        os.sched_setaffinity(0, cpus)
    except OSError as error:
        return str(error.strerror)
    return ""


def step_cpus(
    online: frozenset[int], before: frozenset[int], env: dict[str, str], num_ranks: int
) -> tuple[frozenset[int], bool]:
    """Return the CPUs that the step may use here, and whether they are for all of its tasks.

    The cgroup's cpuset is the truth where Slurm makes one. The kernel itself tells it: it cuts any
    mask down to the cpuset. Where Slurm makes none and the node is shared, the masks that Slurm set
    are the only border there is.

    Args:
        online: the node's CPUs.
        before: the mask that this task was started with.
        env: its environment.
        num_ranks: tasks of the step on this node.
    """
    cpuset = _cpuset(online, before)
    text = env.get("SLURM_CPUS_ON_NODE", "")
    granted = int(text) if text.isascii() and text.isdigit() else len(cpuset)
    if len(cpuset) <= granted:
        return cpuset, True
    return before, num_ranks == 1 or num_ranks * len(before) > granted


def _cpuset(online: frozenset[int], before: frozenset[int]) -> frozenset[int]:
    if set_cpus(online):
        return before
    widest = own_cpus()
    set_cpus(before)
    return widest


def allowed_memory_nodes() -> frozenset[int] | None:
    """Return the NUMA nodes that this process may allocate from; None when the kernel has none."""
    with open("/proc/self/status", "rb") as file:  # noqa: PTH123 (no pathlib: every rank runs this)
        for line in file:
            if line.startswith(b"Mems_allowed_list:"):
                return parse_cpulist(line.partition(b":")[2].decode())
    return None


def apply_memory(kind: str, nodes: tuple[int, ...]) -> str:
    """Set the memory policy of this process; returns why the kernel refused, or an empty text.

    Args:
        kind: local, bind or interleave.
        nodes: the NUMA nodes. Local with several of them is the kernel's own allocation on the node
            that a thread runs on, which the CPU mask keeps to these.
    """
    mode = {"bind": _BIND, "interleave": _INTERLEAVE}.get(kind, _PREFERRED)
    if kind == "local" and len(nodes) > 1:
        mode, nodes = _LOCAL, ()
    mask = (ctypes.c_ulong * (_MASK_BITS // 64))()
    for node in nodes:
        mask[node // 64] |= 1 << (node % 64)
    pointer = ctypes.byref(mask) if nodes else None
    return _call(0, mode, pointer, ctypes.c_ulong(_MASK_BITS if nodes else 0))


def read_memory(kind: str, nodes: tuple[int, ...]) -> tuple[str, str]:
    """Return the memory policy that a plan means, and the one that this process has, in words."""
    word = {"local": "prefer"}.get(kind, kind)
    expected = f"{word}:{format_cpulist(nodes)}"
    if kind == "local" and len(nodes) > 1:
        expected = "local"
    mode = ctypes.c_int()
    mask = (ctypes.c_ulong * (_MASK_BITS // 64))()
    refusal = _call(1, ctypes.byref(mode), ctypes.byref(mask), ctypes.c_ulong(_MASK_BITS), None, 0)
    if refusal == os.strerror(errno.ENOSYS):
        # A kernel without NUMA has one node, where every policy is the same.
        return (expected, expected) if len(nodes) == 1 else (expected, f"none: {refusal}")
    if refusal:
        return expected, f"unknown: {refusal}"
    found = [bit for bit in range(_MASK_BITS) if mask[bit // 64] >> (bit % 64) & 1]
    name = _MODES.get(mode.value & ~_FLAGS, str(mode.value))
    if name == "prefer" and not found:
        name = "local"  # how kernels before 5.14 show it
    return expected, f"{name}:{format_cpulist(found)}" if found else name


def _call(which: int, *arguments: object) -> str:
    calls = _CALLS.get(os.uname().machine)
    if calls is None:
        return os.strerror(errno.ENOSYS)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(ctypes.c_long(calls[which]), *arguments) == 0:
        return ""
    return os.strerror(ctypes.get_errno())
