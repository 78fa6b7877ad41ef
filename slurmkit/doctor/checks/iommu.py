"""Does the IOMMU translate every transfer between devices?"""

from slurmkit.doctor.link import Answer, Link, Place, passed, skipped, warn
from slurmkit.health.verdict import WARN
from slurmkit.topology.discover import discover


def _look(place: Place) -> Answer:
    command = place.read("proc/cmdline").split()
    kinds = {
        place.read(f"sys/kernel/iommu_groups/{group}/type")
        for group in place.names("sys/kernel/iommu_groups")
    } - {""}
    asked = [word for word in command if word.startswith(("iommu=", "intel_iommu=", "amd_iommu="))]
    facts = {"IOMMU": " ".join(asked) or "default", "IOMMU groups": ",".join(sorted(kinds)) or "-"}
    if not place.names("sys/kernel/iommu_groups"):
        return passed("off", facts)
    if not discover(str(place.root)).gpus:
        return skipped("on; the node has no GPU that it could slow down", facts)
    if kinds <= {"identity"} and (kinds or "iommu=pt" in command):
        return passed("on, passed through", facts)
    if "iommu=pt" in command:
        return passed("on, iommu=pt", facts)
    return warn("on, and it translates (no iommu=pt)", facts)


LINK = Link(
    id="iommu",
    group="transfers",
    reads="/proc/cmdline and the type of each of /sys/kernel/iommu_groups",
    limits="warns when there are GPUs and the IOMMU translates, or when nodes differ",
    todo="add iommu=pt to the kernel's command line (or switch it off in the BIOS): GPUDirect then "
    "takes the short way through the PCIe switch",
    look=_look,
    differs=WARN,
)
