"""Profiles: what a platform's node looks like, from data files.

A profile verifies a node and lets a login node plan for it; it never replaces discovery, because
mlx5 numbers differ between machines of one kind.
"""

import json
from importlib.resources import files
from typing import Any

from slurmkit.errors import UsageError
from slurmkit.topology.cpuset import parse_cpulist
from slurmkit.topology.model import (
    Bridge,
    Gpu,
    Link,
    Nic,
    NumaNode,
    Port,
    Topology,
    name_key,
    pci_key,
)


def profile_names() -> list[str]:
    """Return the names of all profiles."""
    folder = files("slurmkit.topology").joinpath("profiles")
    return sorted(
        entry.name.removesuffix(".json")
        for entry in folder.iterdir()
        if entry.name.endswith(".json")
    )


def load_profile(name: str) -> Topology:
    """Return a profile as a topology; what is not known or made up is named in it.

    Raises:
        UsageError: when there is no such profile.
    """
    if name not in profile_names():
        raise UsageError(
            f"there is no profile {name!r}", hint=f"Profiles: {', '.join(profile_names())}."
        )
    text = files("slurmkit.topology").joinpath(f"profiles/{name}.json").read_text("utf-8")
    return _topology(json.loads(text))


def _topology(data: dict[str, Any]) -> Topology:
    numa = tuple(
        NumaNode(index, parse_cpulist(node["cpus"]), node.get("memory_mib"))
        for index, node in enumerate(data["numa"])
    )
    online = frozenset(cpu for node in numa for cpu in node.cpus)
    gpus = tuple(_gpu(index, gpu, data["gpu"]) for index, gpu in enumerate(data["gpus"]))
    nics = [
        _nic(nic, data["nic"], gpu["numa"], _path(nic) or gpus[index].path)
        for index, gpu in enumerate(data["gpus"])
        for nic in gpu["nics"]
    ]
    nics += [
        _nic(nic, data["nic"], nic["numa"], (f"root of {nic['name']}",))
        for nic in data["other_nics"]
    ]
    paths = [gpu.path for gpu in gpus] + [nic.path for nic in nics]
    switches = sorted({pci for path in paths for pci in _real_switches(path)}, key=pci_key)
    return Topology(
        host=data["profile"],
        source="profile",
        cpus_online=online,
        smt=_smt(online, data["smt_offset"]),
        numa=numa,
        gpus=gpus,
        nics=tuple(sorted(nics, key=lambda nic: (pci_key(nic.pci), name_key(nic.name)))),
        bridges=tuple(Bridge(pci) for pci in switches),
        notes=(data["title"], *data["notes"], *(f"Source: {text}." for text in data["sources"])),
        unknown=tuple(data["unknown"]),
        synthetic=(*data["synthetic"], *(f"{name} (inferred)" for name in data["inferred"])),
    )


def _smt(online: frozenset[int], offset: int | None) -> tuple[tuple[int, ...], ...]:
    if offset is None:
        return tuple((cpu,) for cpu in sorted(online))
    return tuple((cpu, cpu + offset) for cpu in sorted(online) if cpu < offset)


def _gpu(index: int, gpu: dict[str, Any], common: dict[str, Any]) -> Gpu:
    return Gpu(
        index=index,
        pci=gpu["pci"],
        numa=gpu["numa"],
        path=_path(gpu) or (f"root of GPU {index}", f"switch of GPU {index}"),
        name=common.get("name", ""),
        pci_id=common.get("pci_id", ""),
        link=Link(**common.get("link", {})),
    )


def _nic(nic: dict[str, Any], common: dict[str, Any], numa: int, path: tuple[str, ...]) -> Nic:
    role = nic.get("role", "compute")
    return Nic(
        name=nic["name"],
        pci=nic.get("pci", ""),
        numa=numa,
        path=path,
        ports=tuple(Port(**port) for port in common["ports"]) if role == "compute" else (),
        role=role,
        role_reason="listed in the profile",
        provider=common["provider"],
        pci_id=common.get("pci_id", "") if role == "compute" else "",
        link=Link(**common.get("link", {})) if role == "compute" else Link(),
    )


def _path(device: dict[str, Any]) -> tuple[str, ...]:
    switches = device.get("switches")
    if not switches:
        return ()
    return (f"root of {switches[0]}", *switches)


def _real_switches(path: tuple[str, ...]) -> list[str]:
    return [part for part in path[1:] if len(pci_key(part)) == 4]
