"""Which UCX is installed, and does it open the HCAs and the GPUs?"""

import re

from slurmkit.doctor.link import Answer, Link, Place, fail, passed, skipped, warn
from slurmkit.doctor.nics import compute_nics
from slurmkit.doctor.programs import run
from slurmkit.topology.discover import discover

_VERSION = re.compile(r"(?:Library version:|UCT version=)\s*(\d+\.\d+\.\d+)")
_TRANSPORT = re.compile(r"#\s+Transport:\s+(\S+)")
_DEVICE = re.compile(r"#\s+Device:\s+(\S+)")


def read_devices(text: str) -> tuple[set[str], set[str]]:
    """Return (transports, devices) of what ``ucx_info -d`` prints."""
    return set(_TRANSPORT.findall(text)), set(_DEVICE.findall(text))


def _look(place: Place) -> Answer:
    version = run(["ucx_info", "-v"])
    if version is None:
        return skipped("no ucx_info on PATH")
    found = _VERSION.search(version.out)
    name = found[1] if found else "unknown"
    listed = run(["ucx_info", "-d"], timeout_s=15.0)
    if listed is None or listed.code != 0:
        return warn(f"UCX {name}: ucx_info -d failed: {listed.said if listed else ''}")
    transports, devices = read_devices(listed.out)
    facts = {"UCX": name, "UCX transports": ",".join(sorted(transports))}
    nics = compute_nics(place)
    unseen = [nic.name for nic in nics if nic.active and not _listed(nic.name, devices)]
    if unseen and place.fabric.rdma:
        return fail(f"UCX {name} does not open {', '.join(unseen)}", facts)
    if discover(str(place.root)).gpus and not any(t.startswith("cuda") for t in transports):
        return warn(f"UCX {name} has no CUDA transport: GPU memory is copied to the host", facts)
    return passed(f"UCX {name}: {', '.join(sorted(transports)) or 'no transport'}", facts)


def _listed(hca: str, devices: set[str]) -> bool:
    return any(device.partition(":")[0] == hca for device in devices)


LINK = Link(
    id="ucx",
    group="software",
    reads="ucx_info -v and ucx_info -d",
    limits="fails when UCX does not open an HCA that is up; warns when there are GPUs and no CUDA "
    "transport",
    todo="see `ucx_info -d` there and the permissions of /dev/infiniband; use a UCX that was built "
    "with verbs and CUDA",
    look=_look,
    timeout_s=25.0,
)
