"""Looks at a cluster and makes a site of it, and tells of a fabric's switches."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from slurmkit.errors import Problem, SlurmkitError, UsageError
from slurmkit.hostlist import compress, expand
from slurmkit.site import generation
from slurmkit.site.generate import SUPPORTED, Release
from slurmkit.site.lookup import find_site
from slurmkit.site.switches import section_of
from slurmkit.slurm.inventory import NodeDoor
from slurmkit.survey.collect import Survey, from_cluster, from_folder
from slurmkit.survey.compare import Mismatch, mismatches, nodes_of_site, odd_nodes
from slurmkit.survey.draft import Findings, draft
from slurmkit.survey.facts import NodeFacts
from slurmkit.survey.folder import make_folder, require_free
from slurmkit.survey.kinds import Kind, kinds
from slurmkit.topology.fabric.audit import audit
from slurmkit.topology.fabric.errors import FabricError
from slurmkit.topology.fabric.graph import SwitchGraph, joined
from slurmkit.topology.fabric.hierarchy import hierarchy
from slurmkit.topology.fabric.lldp import read_lldp
from slurmkit.topology.fabric.load import load_fabric
from slurmkit.topology.fabric.slurm import slurm_topology, topology_plugin

Progress = Callable[[str], None]


@dataclass(frozen=True)
class FoundKind:
    """Nodes that are alike, as `site init` and `site survey` name them."""

    name: str
    nodes: str
    num_nodes: int
    num_seen: int
    gpus: int
    gpu_type: str
    profile: str


@dataclass(frozen=True)
class FoundMismatch:
    """One thing that is declared one way and found another.

    Attributes:
        hosts: where, as a host list.
        what: gpus, memory, cores, or a NIC's port.
        declared: the value, and who declares it.
        found: what the nodes show.
        severity: ``error``, or ``note`` where Slurm and jobs can live with it.
    """

    hosts: str
    what: str
    declared: str
    found: str
    severity: str


@dataclass(frozen=True)
class SurveyReport:
    """What a survey found.

    Attributes:
        cluster: name of the cluster; empty when unknown.
        slurm_version: release such as 22.05.8; empty when unknown.
        kinds: nodes that are alike.
        mismatches: what is declared, and is not so.
        unseen: what could not be seen, and why.
        folder: the site folder that was made; empty for none.
        files: number of files that were generated into it.
        problem: why files were not generated; empty when they were.
    """

    cluster: str
    slurm_version: str
    kinds: list[FoundKind]
    mismatches: list[FoundMismatch]
    unseen: list[str]
    folder: str = ""
    files: int = 0
    problem: str = ""


@dataclass(frozen=True)
class FabricReport:
    """A fabric, and what Slurm is told of it.

    Attributes:
        slurm_version: release that the files are for.
        files: name and text of each file for /etc/slurm.
        slurm_conf: lines that slurm.conf needs.
        nodes: number of nodes in it.
        switches: number of real switches.
        rails: leaf switches that most nodes have cables to.
        missing: declared nodes without a cable.
        unknown: hosts of the fabric that are not declared, and were left out.
        twice: host and why it seems to be two machines.
        notes: what is odd about the cables.
        section: the same as the section ``switches`` of site.yaml.
    """

    slurm_version: str
    files: dict[str, str]
    slurm_conf: list[str]
    nodes: int
    switches: int
    rails: int
    missing: list[str]
    unknown: list[str]
    twice: dict[str, str]
    notes: list[str]
    section: dict[str, object]

    @property
    def fits(self) -> bool:
        """Whether each declared node is there once."""
        return not self.missing and not self.twice


def survey(
    *,
    from_dir: Path | None = None,
    run_jobs: bool = True,
    site: str | None = None,
    progress: Progress = lambda _line: None,
) -> SurveyReport:
    """Look at a cluster and compare it with what is declared; write nothing.

    Args:
        from_dir: read the answers from this folder, not from the cluster.
        run_jobs: False asks Slurm alone, and no node.
        site: site.yaml or its folder, to compare with as well; None compares with Slurm alone.
        progress: told what is going on.
    """
    seen = _look(from_dir, progress, run_jobs=run_jobs)
    declared = find_site(site).site if site is not None else None
    found, differences = _compared(seen)
    if declared is not None:
        nodes = nodes_of_site(declared)
        differences += mismatches(nodes, seen.nodes, "site.yaml")
    return _report(seen, found, differences)


def init_site(
    folder: Path | None = None,
    *,
    from_dir: Path | None = None,
    fabric: Sequence[Path] = (),
    run_jobs: bool = True,
    progress: Progress = lambda _line: None,
) -> SurveyReport:
    """Look at a cluster and make a site folder of it, with its generated files.

    Args:
        folder: the folder to make; None for one named as the cluster, here.
        from_dir: read the answers from this folder, not from the cluster.
        fabric: files about switches, of any form that `fabric_report` reads.
        run_jobs: False asks Slurm alone, and no node.
        progress: told what is going on.

    Raises:
        UsageError: the folder exists, or nothing is known of any node.
        SlurmUnreachableError: there is no Slurm here.
    """
    if folder is not None:
        require_free(folder)  # before nodes are asked for nothing
    seen = _look(from_dir, progress, run_jobs=run_jobs)
    found, differences = _compared(seen)
    if not found:
        raise UsageError(
            "no node is known: Slurm declares none, and none was asked",
            hint="name a folder with answers by --from-dir",
        )
    hosts = [host for kind in found for host in kind.hosts]
    graph = load_fabric(fabric) if fabric else _lldp_graph(seen)
    unseen = [*seen.unseen, *graph.notes]
    if graph.attachments or graph.blocks:
        unseen += audit(graph, hosts).sentences()
        graph = graph.only(hosts)
        unseen += hierarchy(graph).notes
    text = draft(Findings(seen.inventory, tuple(found), tuple(differences), tuple(unseen), graph))
    target = folder or Path(seen.inventory.config.get("ClusterName") or "site")
    make_folder(target, text, seen.answers, seen.outputs)
    progress(f"wrote {target / 'site.yaml'}")
    files, problem = 0, ""
    try:
        files = generation.run(str(target)).files
    except SlurmkitError as error:
        problem = str(error)
    report = _report(seen.replace(unseen=tuple(unseen)), found, differences)
    return replace(report, folder=str(target), files=files, problem=problem)


def fabric_report(
    paths: Sequence[Path],
    *,
    file_format: str = "auto",
    slurm_version: str | None = None,
    nodes: str | None = None,
    devices: Sequence[str] = (),
) -> FabricReport:
    """Return what files about switches tell Slurm.

    Args:
        paths: files or folders: ibnetdiscover, ibdiagnet2.lst, lldpctl's JSON, a table.
        file_format: one of the formats' names; auto looks into each file.
        slurm_version: release to write for; None for the newest that is known.
        nodes: host list of the declared nodes; None takes every host of the fabric.
        devices: HCAs or interfaces whose cables count, such as mlx5_0; all of them where empty.
    """
    release = Release.parse(slurm_version) if slurm_version else SUPPORTED[-1]
    graph = load_fabric(paths, file_format)
    if devices:
        graph = graph.with_devices(devices)
    declared = None if nodes is None else expand(nodes)
    checked = audit(graph, declared)
    if declared is not None:
        graph = graph.only(declared)
    tree = hierarchy(graph)
    return FabricReport(
        slurm_version=str(release),
        files=slurm_topology(graph, release),
        slurm_conf=topology_plugin(graph, release),
        nodes=len(graph.hosts),
        switches=len(graph.switches),
        rails=tree.rails,
        missing=list(checked.missing),
        unknown=list(checked.unknown),
        twice=dict(checked.twice),
        notes=[*graph.notes, *tree.notes],
        section=section_of(graph),
    )


def _look(from_dir: Path | None, progress: Progress, *, run_jobs: bool) -> Survey:
    if from_dir is not None:
        return from_folder(from_dir)
    return from_cluster(NodeDoor(), progress, run_jobs=run_jobs)


def _compared(seen: Survey) -> tuple[list[Kind], list[Mismatch]]:
    found = kinds(seen.inventory.nodes, seen.nodes)
    overrides = "config_overrides" in seen.inventory.config.get("SlurmdParameters", "")
    differences = mismatches(seen.inventory.nodes, seen.nodes, overrides=overrides)
    return found, differences + odd_nodes(found, seen.nodes)


def _lldp_graph(seen: Survey) -> SwitchGraph:
    return joined(_lldp(facts) for facts in seen.nodes.values() if facts.lldp.strip())


def _lldp(facts: NodeFacts) -> SwitchGraph:
    """Return what a node's compute NICs have cables to; of all its ports, where none is known."""
    try:
        graph = read_lldp(facts.lldp, f"{facts.host}.lldp", facts.host)
    except FabricError as error:
        return SwitchGraph(notes=(error.message,))
    # A network for management has switches, too, and would look like one more rail.
    compute = [name for nic in facts.compute_nics for name in nic.netdevs]
    return graph.with_devices(compute) if compute else graph


def _report(seen: Survey, found: Sequence[Kind], differences: Sequence[Mismatch]) -> SurveyReport:
    return SurveyReport(
        cluster=seen.inventory.config.get("ClusterName", ""),
        slurm_version=seen.inventory.release,
        kinds=[
            FoundKind(
                kind.name,
                compress(kind.hosts),
                len(kind.hosts),
                kind.num_seen,
                kind.gpus,
                kind.gpu_type,
                kind.profile,
            )
            for kind in found
        ],
        mismatches=[
            FoundMismatch(item.hosts, item.what, item.declared, item.found, item.severity)
            for item in differences
        ],
        unseen=list(seen.unseen),
    )


def problem_of(item: FoundMismatch) -> Problem:
    """Return a mismatch as a problem, for printing."""
    words = f"{item.hosts}: declared {item.declared}, found {item.found}"
    return Problem(words, item.what, code="mismatch", warning=item.severity != "error")
