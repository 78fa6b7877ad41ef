"""Levels of storage: what goes where, what is evicted, what can be saved after a loss; pure.

A save goes to the fast level first and to the shared folder right after, in the background, with
the same digests:

1. *nvme*: each rank writes its part into a folder of its node. A part counts when its index is
   there, which is written last.
2. *partner*: the part is sent to a process on another node, which keeps it on its own disk.
3. *shared*: the part is copied into the step's temporary folder, the digest of every file is
   compared on the way, and when all ranks have reported the step is committed as always.

Only a step in the shared folder is committed. Parts on nodes serve two ends: a step that every
rank finished, but that had not reached the shared folder when the job died, is *salvaged* by the
next attempt from the nodes and partners that it has; and files that are on the node are read there.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from slurmkit.errors import UsageError

NODE, PARTNER, SHARED = "nvme", "partner", "shared"


def parse_levels(text: str) -> tuple[str, ...]:
    """Read ``nvme,partner,shared``; the shared folder is always the last level.

    Raises:
        UsageError: a name is unknown, twice, or in the wrong place.
    """
    levels = tuple(part.strip() for part in text.split(",") if part.strip()) or (SHARED,)
    ordered = [level for level in (NODE, PARTNER, SHARED) if level in levels]
    if list(levels) != ordered or levels[-1] != SHARED or levels[0] == PARTNER:
        raise UsageError(
            f"{text!r} are no levels of storage",
            hint="write shared, or nvme,shared, or nvme,partner,shared",
        )
    return levels


@dataclass(frozen=True)
class Held:
    """What a node holds of one save.

    Attributes:
        step: which step.
        token: of the attempt that saved it.
        size_bytes: on this node.
        finished: whether every part that was begun here has its index.
    """

    step: int
    token: str
    size_bytes: int
    finished: bool = True


def evictable(held: Sequence[Held], committed: Collection[int], keep: int = 1) -> list[Held]:
    """Return what a node need not hold any longer, the least useful first.

    Kept are: the newest `keep` finished saves that are committed, to be read from here; the newest
    two finished saves that are not committed, as they may have to be salvaged; and unfinished ones
    that are newer than everything finished, as they may be in progress.
    """
    order = sorted(held, key=lambda entry: entry.step, reverse=True)
    newest = max((entry.step for entry in held if entry.finished), default=-1)
    shared = [entry for entry in order if entry.finished and entry.step in committed]
    waiting = [entry for entry in order if entry.finished and entry.step not in committed]
    last = max(committed, default=-1)
    stay = {
        *shared[:keep],
        *[entry for entry in waiting if entry.step > last][:2],
        *[entry for entry in order if not entry.finished and entry.step > newest],
    }
    return [entry for entry in reversed(order) if entry not in stay]


def make_room(
    held: Sequence[Held], committed: Collection[int], free_bytes: int, needed_bytes: int
) -> list[Held] | None:
    """Return what has to go so that a save fits on the node; None when it cannot fit.

    Even what `evictable` keeps may go when it is in the shared folder anyway; what is not
    committed stays.
    """
    going = evictable(held, committed)
    more = [entry for entry in held if entry.step in committed and entry not in going]
    for entry in sorted(more, key=lambda entry: entry.step):
        if free_bytes + sum(e.size_bytes for e in going) >= needed_bytes:
            break
        going.append(entry)
    return going if free_bytes + sum(e.size_bytes for e in going) >= needed_bytes else None


@dataclass(frozen=True)
class Offer:
    """A finished part that a process has on its node, its own or a partner's.

    Attributes:
        step: which step.
        token: of the attempt that saved it.
        rank: whose part it is.
        world_size: how many parts the save has.
        time: when it was finished, Unix seconds.
        holder: the process that can read it.
    """

    step: int
    token: str
    rank: int
    world_size: int
    time: float
    holder: int


@dataclass(frozen=True)
class Salvage:
    """A save that the surviving nodes have all parts of.

    Attributes:
        step: which step.
        token: of the attempt that saved it.
        world_size: how many parts it has.
        holders: for each part, in order of rank, which process copies it.
    """

    step: int
    token: str
    world_size: int
    holders: tuple[int, ...]


def choose_salvage(offers: Sequence[Offer], newest_committed: int) -> Salvage | None:
    """Return the newest complete save beyond the newest committed step, or None.

    Deterministic: all processes come to the same from the same offers. Parts of different
    attempts are never mixed, as their states may differ.
    """
    saves: dict[tuple[int, str, int], list[Offer]] = {}
    for offer in offers:
        if offer.step > newest_committed:
            saves.setdefault((offer.step, offer.token, offer.world_size), []).append(offer)
    complete = []
    for (step, token, world_size), parts in saves.items():
        holders: dict[int, int] = {}
        for offer in sorted(parts, key=lambda part: part.holder):
            holders.setdefault(offer.rank, offer.holder)
        if sorted(holders) == list(range(world_size)):
            order = tuple(holders[rank] for rank in range(world_size))
            finished = max(part.time for part in parts)
            complete.append((step, finished, token, Salvage(step, token, world_size, order)))
    return max(complete, key=lambda row: row[:3])[3] if complete else None


def partner_of(rank: int, hosts: Sequence[str]) -> int | None:
    """Return the rank on another node that keeps copies for this one; None with one node only.

    The partner is at the same place on the next node, so that each process serves one or few.

    Args:
        rank: which rank asks.
        hosts: the node of each rank.
    """
    nodes = list(dict.fromkeys(hosts))
    if len(nodes) < 2:
        return None
    place = [r for r, host in enumerate(hosts) if host == hosts[rank]].index(rank)
    following = nodes[(nodes.index(hosts[rank]) + 1) % len(nodes)]
    there = [r for r, host in enumerate(hosts) if host == following]
    return there[place % len(there)]
