"""Tell NCCL and UCX which entry of the GID tables to use on this node, before the program starts.

Done per task and not when the job is planned: the same card has its RoCE v2 address at index 3 on
one node and at 5 on the next. Loaded only when SLURMKIT_GID asks for it.
"""

import os

from slurmkit.launch.placement import wrong
from slurmkit.launch.variables import Placement
from slurmkit.topology.gids import Choice, choose_gids, read_roce_ports
from slurmkit.topology.sysfs import Tree

NCCL, UCX = "NCCL_IB_GID_INDEX", "UCX_IB_GID_INDEX"
_MODES = ("auto", "strict")


def set_gid_index(env: dict[str, str], place: Placement, root: str = "/") -> bool:
    """Set the variables that nobody has set yet.

    NCCL has one index for all HCAs. Where no index fits all of them it stays unset, and NCCL (from
    2.21) and UCX look for themselves; older ones need the nodes' addresses put in order. UCX gets
    the index of the rank's own HCAs, where UCX_NET_DEVICES names them.

    Args:
        env: the task's environment, which is changed.
        place: its place; the first rank of a node speaks for it.
        root: where ``sys`` is.

    Returns:
        False when the program must not start: SLURMKIT_GID is ``strict``, and a port that counts
        has no RoCE v2 address.

    Raises:
        UsageError: SLURMKIT_GID or SLURMKIT_GID_SUBNET makes no sense.
    """
    mode = env["SLURMKIT_GID"]
    if mode not in _MODES:
        raise wrong(f"SLURMKIT_GID={mode!r} is no mode", f"Modes: {', '.join(_MODES)}.")
    if NCCL in env and UCX in env:
        return True
    subnet = env.get("SLURMKIT_GID_SUBNET", "")
    try:
        choice = choose_gids(read_roce_ports(Tree(root)), subnet, _named(env))
    except ValueError as error:
        raise wrong(f"SLURMKIT_GID_SUBNET={subnet!r} is no IPv4 network: {error}") from None
    for name, index in ((NCCL, choice.index), (UCX, _own_index(env, choice))):
        if index is not None:
            env.setdefault(name, str(index))
    told = _complaints(choice, subnet)
    if place.local_rank == 0:
        _tell(env, told, "error" if mode == "strict" and choice.missing else "warning")
    return mode != "strict" or not choice.missing


def _named(env: dict[str, str]) -> tuple[str, ...]:
    """Return the HCAs of an exact NCCL_IB_HCA (``=mlx5_0:1,mlx5_3``), which binding has set."""
    text = env.get("NCCL_IB_HCA", "")
    if not text.startswith("="):
        return ()
    return tuple(entry.partition(":")[0] for entry in text[1:].split(",") if entry)


def _own_index(env: dict[str, str], choice: Choice) -> int | None:
    """Return the index of the rank's own devices; the common one where they are not named."""
    devices = env.get("UCX_NET_DEVICES", "").split(",")
    own = {index for name, index in choice.by_hca if name in devices}
    return own.pop() if len(own) == 1 else choice.index


def _complaints(choice: Choice, subnet: str) -> list[str]:
    where = f" in {subnet}" if subnet else ""
    found = []
    if choice.missing:
        found.append(
            f"{', '.join(choice.missing)}: no RoCE v2 GID with an IPv4 address{where}; RDMA cannot "
            "connect there (give the interface its address, or see `slurmkit doctor --only gids`)"
        )
    if choice.index is None and choice.by_hca:
        indices = ", ".join(f"{name} at {index}" for name, index in choice.by_hca)
        found.append(
            f"the HCAs share no GID index ({indices}): {NCCL} is left to NCCL, which finds it from "
            "release 2.21 on"
        )
    found += [
        f"{text}; name the right network in site.yaml: fabric.subnet" for text in choice.unclear
    ]
    if not choice.by_hca and not choice.missing:
        found.append("no active RoCE port on this node, although the site's fabric is RoCE")
    return found


def _tell(env: dict[str, str], sentences: list[str], kind: str) -> None:
    host = env.get("SLURMD_NODENAME") or os.uname().nodename
    for sentence in sentences:
        line = f"slurmkit: {kind}: fabric: {host}: {sentence}\n"
        os.write(2, line.encode("utf-8", "surrogateescape"))
