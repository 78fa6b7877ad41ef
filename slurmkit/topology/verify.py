"""Compare a node with a profile: what differs, and whether it matters."""

from slurmkit.record import Record
from slurmkit.topology.cpuset import format_cpulist
from slurmkit.topology.distance import distance_rank, nics_by_distance
from slurmkit.topology.model import Gpu, Nic, Topology


class Difference(Record):
    """One thing that is not as the profile says.

    Attributes:
        key: what it concerns, such as ``gpus.3.pci``.
        expected: what the profile says.
        found: what the node shows.
        severity: error when the node is not of this kind or is broken; note when machines of one
            kind differ in it (mlx5 numbers) or the profile only infers it.
    """

    key: str
    expected: str
    found: str
    severity: str = "error"


def verify(topology: Topology, profile: Topology) -> list[Difference]:
    """Return where a node differs from a profile; unknown fields of either are not compared."""
    check = _Check(topology, profile)
    check.cpus()
    check.gpus()
    check.nics()
    return check.differences


class _Check:
    def __init__(self, topology: Topology, profile: Topology) -> None:
        self._node = topology
        self._profile = profile
        self._doubtful = {
            entry.removesuffix(" (inferred)") for entry in (*profile.unknown, *profile.synthetic)
        }
        self.differences: list[Difference] = []

    def _compare(self, key: str, expected: object, found: object, generic: str = "") -> None:
        """Note a difference; keys are looked up as they are and in the form without a number."""
        if expected == found or expected in (None, "", ()) or found in (None, "", ()):
            return
        doubtful = key in self._doubtful or generic in self._doubtful
        severity = "note" if doubtful else "error"
        self.differences.append(Difference(key, str(expected), str(found), severity))

    def _note(self, key: str, expected: str, found: str) -> None:
        self.differences.append(Difference(key, expected, found, "note"))

    def cpus(self) -> None:
        """Compare NUMA nodes that have CPUs, and threads per core."""
        expected = [node for node in self._profile.numa if node.cpus]
        found = [node for node in self._node.numa if node.cpus]
        self._compare("numa.count", len(expected), len(found), "numa.cpus")
        for want, have in zip(expected, found, strict=False):
            key = f"numa.{want.index}.cpus"
            self._compare(key, format_cpulist(want.cpus), format_cpulist(have.cpus), "numa.cpus")
        if self._profile.smt and self._node.smt:
            want_threads, have_threads = (
                max(len(group) for group in side.smt) for side in (self._profile, self._node)
            )
            self._compare("smt.threads_per_core", want_threads, have_threads, "smt")

    def gpus(self) -> None:
        """Compare GPUs in PCI order."""
        self._compare("gpus.count", len(self._profile.gpus), len(self._node.gpus) or "none")
        for want, have in zip(self._profile.gpus, self._node.gpus, strict=False):
            key = f"gpus.{want.index}"
            self._compare(f"{key}.pci", want.pci, have.pci, "gpus.pci")
            self._compare(f"{key}.pci_id", want.pci_id, have.pci_id, "gpus.pci_id")
            self._compare(f"{key}.numa", want.numa, have.numa, "gpus.numa")
            if have.numa is None:
                self.differences.append(Difference(f"{key}.numa", str(want.numa), "unknown"))
            self._compare(f"{key}.link", _link(want), _link(have), "gpus.link")
            self._nearest(want, have)

    def _nearest(self, want: Gpu, have: Gpu) -> None:
        expected, found = _nearest(self._profile, want), _nearest(self._node, have)
        if not expected or f"gpus.{want.index}.nics" in self._doubtful:
            return
        key = f"gpus.{want.index}"
        self._compare(f"{key}.nics.count", len(expected), len(found) or "none", "nics.count")
        want_class, have_class = _class(self._profile, want), _class(self._node, have)
        # A nearer class than the profile's is no fault: a profile can only infer it.
        if found and distance_rank(have_class) > distance_rank(want_class):
            self._compare(f"{key}.distance", want_class, have_class, "nics.path")
        want_names, have_names = (",".join(nic.name for nic in side) for side in (expected, found))
        if want_names != have_names and found:
            self._note(f"{key}.nics.names", want_names, have_names)
        for left, right in zip(expected, found, strict=False):
            # Two ports of a NIC may show as two functions, or as one device with two ports.
            want_bus, have_bus = (nic.pci.rpartition(".")[0] for nic in (left, right))
            self._compare(f"{key}.nics.pci", want_bus, have_bus, "nics.pci")

    def nics(self) -> None:
        """Compare rate and link layer of the HCAs for collectives, and find ports that are down."""
        expected = [nic for nic in self._profile.nics if nic.role == "compute"]
        found = [nic for nic in self._node.nics if nic.role == "compute"]
        self._compare("nics.count", len(expected), len(found) or "none")
        rates = {nic.rate_gbps for nic in expected if nic.rate_gbps is not None}
        # NCCL's files carry a speed that sites tune, not the port's rate.
        tuned = self._node.source == "nccl"
        layers = {port.link_layer for nic in expected for port in nic.ports} - {"unknown"}
        for nic in found:
            key = f"nics.{nic.name}"
            down = [port for port in nic.ports if port.state not in ("ACTIVE", "UNKNOWN")]
            for port in down:
                self.differences.append(
                    Difference(f"{key}.port{port.number}.state", "ACTIVE", port.state)
                )
            if len(rates) == 1 and not down and not tuned:
                rate = next(iter(rates))
                self._compare(f"{key}.rate_gbps", rate, nic.rate_gbps, "nics.rate_gbps")
            for port in nic.ports:
                if len(layers) == 1 and port.link_layer != "unknown":
                    layer = next(iter(layers))
                    self._compare(f"{key}.link_layer", layer, port.link_layer, "nics.link_layer")


def _nearest(topology: Topology, gpu: Gpu) -> list[Nic]:
    pairs = [pair for pair in nics_by_distance(topology, gpu) if pair[1].role == "compute"]
    return [nic for kind, nic in pairs if kind == pairs[0][0]]


def _class(topology: Topology, gpu: Gpu) -> str:
    pairs = [pair for pair in nics_by_distance(topology, gpu) if pair[1].role == "compute"]
    return pairs[0][0] if pairs else "SYS"


def _link(gpu: Gpu) -> str:
    if gpu.link.speed_gts is None or gpu.link.width is None:
        return ""
    return f"{gpu.link.speed_gts:g} GT/s x{gpu.link.width}"
