"""Which CUDA does the driver offer, and which toolkit is installed?"""

import ctypes
import json
import re
from pathlib import Path

from slurmkit.doctor.link import Answer, Link, Place, passed, skipped, warn
from slurmkit.doctor.programs import run
from slurmkit.health.verdict import WARN
from slurmkit.topology.discover import discover

_RELEASE = re.compile(r"release (\d+\.\d+)")


def _of_driver() -> str:
    """Return the CUDA release that libcuda supports; empty without one."""
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return ""
    number = ctypes.c_int()
    if library.cuDriverGetVersion(ctypes.byref(number)) != 0:
        return ""
    return f"{number.value // 1000}.{number.value % 1000 // 10}"


def _toolkit(place: Place) -> str:
    ran = run(["nvcc", "--version"])
    found = _RELEASE.search(ran.out) if ran else None
    if found:
        return found[1]
    try:
        return str(json.loads(place.read("usr/local/cuda/version.json"))["cuda"]["version"])
    except (ValueError, KeyError, TypeError):
        return ""


def _libraries() -> str:
    """Return what the dynamic linker finds without a path."""
    ran = run(["ldconfig", "-p"])
    return ran.out if ran and ran.code == 0 else ""


def nccl_of(libraries: str) -> str:
    """Return the release of NCCL that ``ldconfig -p`` lists; a wheel's own is in ``python``."""
    for line in libraries.splitlines():
        name, _, path = line.partition(" => ")
        if name.strip().startswith("libnccl.so.2"):
            return Path(path.strip()).resolve().name.removeprefix("libnccl.so.")
    return ""


def _look(place: Place) -> Answer:
    driver, toolkit = _of_driver(), _toolkit(place)
    nccl = nccl_of(_libraries())
    facts = {"CUDA of the driver": driver or "none", "CUDA toolkit": toolkit or "none"}
    facts["NCCL of the system"] = nccl or "none"
    detail = f"driver {driver or 'none'}, toolkit {toolkit or 'none'}, NCCL {nccl or 'none'}"
    if not any(gpu.is_nvidia for gpu in discover(str(place.root)).gpus):
        return skipped(f"the node has no NVIDIA GPU ({detail})", facts)
    if not driver:
        return warn(f"{detail}: libcuda.so.1 cannot be loaded", facts)
    if toolkit and _major(toolkit) > _major(driver):
        return warn(f"{detail}: the driver is older than the toolkit", facts)
    return passed(detail, facts)


def _major(version: str) -> int:
    head = version.partition(".")[0]
    return int(head) if head.isdigit() else 0


LINK = Link(
    id="cuda",
    group="system",
    reads="cuDriverGetVersion of libcuda.so.1; nvcc --version or /usr/local/cuda/version.json; the "
    "libnccl that ldconfig lists",
    limits="warns when there are GPUs and no libcuda, when the toolkit's major release is above "
    "the driver's, or when nodes differ",
    todo="install the driver's user-space library (libcuda), or a toolkit that the driver knows",
    look=_look,
    differs=WARN,
)
