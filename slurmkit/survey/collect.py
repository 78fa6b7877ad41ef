"""Asks Slurm and the nodes, or reads what they said from a folder."""

import shlex
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from slurmkit.errors import SlurmError, UsageError
from slurmkit.hostlist import compress
from slurmkit.record import Record
from slurmkit.slurm.inventory import ANSWERS, DeclaredNode, Inventory, read_inventory
from slurmkit.survey.facts import NodeFacts, read_node

Progress = Callable[[str], None]

#: Parts of a node's answer, and how the files end that hold them.
SUFFIXES = {"slurmd": ".slurmd", "topology": ".json", "lldp": ".lldp"}
_WAIT_S = 20
_TIMEOUT_S = 120.0
# A node that did not answer through two partitions is busy, or not for me.
_MOST_TRIES = 2
# Slurm refuses this user, and not this moment: no other partition helps.
_NOT_ME = ("Invalid account", "Invalid user id")


class Door(Protocol):
    """What is asked of Slurm; `NodeDoor` asks the real one."""

    def answers(self) -> dict[str, str]:
        """Return what Slurm's programs print, by the names of ANSWERS."""

    def run_on(
        self, hosts: Sequence[str], partition: str, script: str, *, wait_s: int, timeout_s: float
    ) -> dict[str, str]:
        """Run a script once on each of these nodes; return what it printed by host."""


class Survey(Record):
    """All that was seen.

    Attributes:
        inventory: what Slurm declares.
        nodes: what nodes said of themselves, by host; fewer than there are, maybe none.
        unseen: what could not be seen, and why, one sentence each.
        answers: what Slurm's programs printed, by name.
        outputs: what each node's programs printed, by host and part.
    """

    inventory: Inventory
    nodes: Mapping[str, NodeFacts]
    unseen: tuple[str, ...]
    answers: Mapping[str, str]
    outputs: Mapping[str, Mapping[str, str]]


def from_cluster(door: Door, progress: Progress, *, run_jobs: bool = True) -> Survey:
    """Return what Slurm says, and what nodes say on which a short job can run now.

    Args:
        door: Slurm's programs.
        progress: told what is going on.
        run_jobs: False asks Slurm alone.

    Raises:
        SlurmUnreachableError: there is no Slurm here, or no controller answers.
    """
    answers = door.answers()
    inventory = read_inventory(answers)
    progress(f"Slurm {inventory.release}: {len(inventory.nodes)} nodes are declared")
    outputs: dict[str, Mapping[str, str]] = {}
    unseen: list[str] = []
    if run_jobs:
        outputs, unseen = _ask_nodes(door, inventory, progress)
    else:
        unseen.append("no node was asked: only what Slurm declares is known")
    return _survey(inventory, answers, outputs, unseen)


def from_folder(folder: Path) -> Survey:
    """Return what a folder holds: answers of Slurm's programs, and below hosts/ those of nodes.

    ``config.txt``, ``nodes.txt``, ``partitions.txt`` and ``qos.txt`` are what
    ``scontrol show config``, ``scontrol -o show nodes`` ... print; ``hosts/NAME.slurmd`` what
    ``slurmd -C`` prints on NAME, ``hosts/NAME.json`` ``slurmkit topo show --json``, and
    ``hosts/NAME.lldp`` ``lldpctl -f json0``. Any of them may be absent.

    Raises:
        UsageError: there is neither an answer of Slurm nor one of a node.
    """
    try:
        answers = {
            name: (folder / f"{name}.txt").read_text("utf-8", "replace")
            for name in ANSWERS
            if (folder / f"{name}.txt").is_file()
        }
        outputs: dict[str, dict[str, str]] = {}
        for part, suffix in SUFFIXES.items():
            for path in sorted((folder / "hosts").glob(f"*{suffix}")):
                host = path.name.removesuffix(suffix)
                outputs.setdefault(host, {})[part] = path.read_text("utf-8", "replace")
    except OSError as error:
        raise UsageError(f"cannot read {error.filename}: {error.strerror}") from error
    if not answers and not outputs:
        raise UsageError(
            f"{folder} holds no answers" if folder.is_dir() else f"there is no folder {folder}",
            hint="nodes.txt of 'scontrol -o show nodes', hosts/NAME.slurmd of 'slurmd -C', ...",
        )
    unseen = [f"there is no {name}.txt" for name in ("config", "nodes") if name not in answers]
    return _survey(read_inventory(answers), answers, outputs, unseen)


def _survey(
    inventory: Inventory,
    answers: Mapping[str, str],
    outputs: Mapping[str, Mapping[str, str]],
    unseen: Iterable[str],
) -> Survey:
    nodes = {
        host: read_node(host, *(parts.get(part, "") for part in SUFFIXES))
        for host, parts in outputs.items()
    }
    by_note: dict[str, list[str]] = {}
    for host, facts in nodes.items():
        for note in facts.notes:
            by_note.setdefault(note, []).append(host)
    notes = [f"{compress(hosts, sort=True)}: {note}" for note, hosts in by_note.items()]
    if placed := [node.name for node in inventory.nodes if node.address]:
        notes.append(
            f"{compress(placed)}: slurm.conf gives NodeAddr, and site.yaml has no place for it:"
            " their names must resolve"
        )
    if empty := [one.name for one in inventory.partitions if not one.nodes]:
        notes.append(f"without nodes, so left out of site.yaml: partition {', '.join(empty)}")
    return Survey(inventory, nodes, (*unseen, *notes), answers, outputs)


def script() -> str:
    """Return what is run on each node: it says what it can, and fails at nothing."""
    slurmkit = shlex.join([sys.executable, "-m", "slurmkit"])
    return (
        "PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin; cd /;"
        " echo @@slurmd; slurmd -C 2>/dev/null;"
        f" echo @@topology; {slurmkit} topo show --json 2>/dev/null;"
        " if command -v lldpctl >/dev/null; then echo @@lldp; lldpctl -f json0 2>/dev/null; fi;"
        " exit 0"
    )


def parts_of(printed: str) -> dict[str, str]:
    """Return what each part of the script printed."""
    parts: dict[str, list[str]] = {}
    current: list[str] = []
    for line in printed.splitlines():
        if line.startswith("@@") and line[2:] in SUFFIXES:
            current = parts.setdefault(line[2:], [])
        else:
            current.append(line)
    return {name: "\n".join(lines) + "\n" for name, lines in parts.items() if lines}


def _ask_nodes(
    door: Door, inventory: Inventory, progress: Progress
) -> tuple[dict[str, Mapping[str, str]], list[str]]:
    """Return what nodes printed, and why others did not."""
    by_name = {node.name: node for node in inventory.nodes}
    outputs: dict[str, Mapping[str, str]] = {}
    refusals: dict[str, str] = {}
    tries: Counter[str] = Counter()
    for partition in inventory.partitions:
        if partition.state != "UP":
            continue
        ready = [by_name[host] for host in partition.nodes if host in by_name]
        ready = [node for node in ready if node.ready and node.name not in outputs]
        ready = [node for node in ready if tries[node.name] < _MOST_TRIES]
        if not ready or any(word in said for said in refusals.values() for word in _NOT_ME):
            continue
        progress(f"asking {compress([node.name for node in ready])} through {partition.name}")
        for group in _groups(ready):
            tries.update(group)
            try:
                printed = door.run_on(
                    group, partition.name, script(), wait_s=_WAIT_S, timeout_s=_TIMEOUT_S
                )
            except SlurmError as error:
                refusals[partition.name] = error.message
                continue
            outputs.update({host: parts_of(text) for host, text in printed.items()})
    unseen = [f"no job of mine ran in partition {name}: {said}" for name, said in refusals.items()]
    left = [node.name for node in inventory.nodes if node.name not in outputs]
    if left:
        unseen.append(f"not asked, so taken as Slurm declares them: {compress(left)}")
    return outputs, unseen


def _groups(ready: Sequence[DeclaredNode]) -> list[list[str]]:
    """Return the nodes in groups that are asked at once: idle ones, and those with jobs."""
    idle = [node.name for node in ready if node.state == "IDLE"]
    others = [node.name for node in ready if node.state != "IDLE"]
    return [group for group in (idle, others) if group]
