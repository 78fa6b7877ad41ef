"""Are the RDMA drivers and the firmware of the HCAs the same on all nodes?"""

from slurmkit.doctor.link import Answer, Link, Place, fail, passed, skipped, warn
from slurmkit.doctor.programs import run
from slurmkit.health.verdict import WARN
from slurmkit.topology.discover import discover

_MODULES = ("mlx5_core", "bnxt_re", "irdma", "efa", "hns_roce_hw_v2")
# PCI vendor of NVIDIA's (Mellanox') network cards: all of them can do RDMA.
_NVIDIA = "0x15b3"


def _look(place: Place) -> Answer:
    hcas = place.names("sys/class/infiniband")
    facts = {"HCAs": str(len(hcas))}
    cards = _cards_without_driver(place)
    if not hcas and cards:
        return fail(f"PCI shows {cards} NVIDIA network cards, and no RDMA device", facts)
    if not hcas:
        return skipped("the node has no RDMA device", facts)
    for module in _MODULES:
        if version := place.read(f"sys/module/{module}/version"):
            facts[module] = version
    ofed = run(["ofed_info", "-s"])
    if ofed and ofed.code == 0:
        facts["OFED"] = ofed.out.strip().rstrip(":")
    facts |= _firmware(place)
    mixed = [f"{name} {value}" for name, value in facts.items() if _is_mixed(name, value)]
    if mixed:
        return warn("; ".join(mixed), facts)
    named = ", ".join(f"{key} {facts[key]}" for key in (*_MODULES, "OFED") if key in facts)
    return passed(f"{len(hcas)} HCAs{', ' if named else ''}{named}", facts)


def _is_mixed(name: str, value: str) -> bool:
    return name.startswith("firmware") and "," in value


def _firmware(place: Place) -> dict[str, str]:
    """Return the firmware of each kind of card: names such as mlx5_3 differ between nodes alike."""
    found: dict[str, set[str]] = {}
    for nic in discover(str(place.root)).nics:
        if version := place.read(f"sys/class/infiniband/{nic.name}/fw_ver"):
            found.setdefault(nic.board_id or nic.pci_id or nic.provider, set()).add(version)
    return {f"firmware of {kind}": ", ".join(sorted(found[kind])) for kind in sorted(found)}


def _cards_without_driver(place: Place) -> int:
    count = 0
    for pci in place.names("sys/bus/pci/devices"):
        folder = f"sys/bus/pci/devices/{pci}"
        network = place.read(f"{folder}/class").startswith("0x02")
        count += network and place.read(f"{folder}/vendor") == _NVIDIA
    return count


LINK = Link(
    id="rdma-driver",
    group="system",
    reads="/sys/class/infiniband (fw_ver), /sys/module/mlx5_core/version and others, ofed_info -s",
    limits="fails when there are NVIDIA network cards and no RDMA device; warns when nodes differ "
    "in drivers, firmware or the number of HCAs, or when cards of one kind differ within a node",
    todo="load the driver (modprobe mlx5_ib; see dmesg), and bring drivers and firmware of all "
    "nodes to one release",
    look=_look,
    differs=WARN,
    rdma=True,
)
