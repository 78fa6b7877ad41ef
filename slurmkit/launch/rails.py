"""Do the nodes of this step agree on their rails? Asked before any rank becomes its program.

Local rank 0 of every node publishes the rails of its ranks where addresses are published. Rank 0
reads them all and compares; in strict mode it publishes the verdict, and every other rank waits for
that one file. So a step of n nodes and r ranks reads n + r small files, not n * r.
"""

import os

from slurmkit.launch.rendezvous import folder_of, pauses, read_text, step_key, sweep, timeout_s
from slurmkit.launch.variables import Placement
from slurmkit.topology.affinity_rails import NodeRails, compare_rails, from_text

# Where a mismatch is only told, nobody shall wait long for a node that says nothing.
_WARN_TIMEOUT_S = 20.0
_AGREED, _REFUSED = "agreed\n", "refused\n"


class RailsError(Exception):
    """The nodes could not be compared: a sentence for the log, and what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


def is_needed(env: dict[str, str], place: Placement) -> bool:
    """Whether the step has several nodes whose rails can be compared and matter."""
    return (
        place.local_world_size < place.world_size
        and env.get("SLURMKIT_AFFINITY_WIRING") != "flat"
        and bool(step_key(env))
    )


class Exchange:
    """One task's part in the comparison.

    Args:
        env: the task's environment.
        place: its place.
        strict: whether every rank waits for the verdict.
    """

    def __init__(self, env: dict[str, str], place: Placement, strict: bool) -> None:
        self._place = place
        self._strict = strict
        self._folder = folder_of(env)
        self._key = f"{step_key(env)}.rails"
        limit_s = timeout_s(env)
        self._timeout_s = limit_s if strict else min(limit_s, _WARN_TIMEOUT_S)

    def publish(self, rails: NodeRails) -> None:
        """Tell rank 0 the rails of this node; only its first rank does.

        Raises:
            RailsError: the folder cannot be written.
        """
        self._publish_node(rails.to_text())

    def agree(self) -> bool:
        """Return whether this rank may start its program, as far as rails are concerned.

        Raises:
            AffinityError: this is rank 0, and two nodes differ; it names both.
            RailsError: a node published nothing in time, or rank 0 no verdict.
        """
        if self._place.rank == 0:
            return self._compare()
        if not self._strict:
            return True
        verdict = self._await_verdict()
        return verdict == _AGREED

    def refuse(self) -> None:
        """Let nobody wait for this node: one of its ranks has no plan."""
        try:
            if self._place.rank == 0 and self._strict:
                self._write(self._key, _REFUSED)
            elif self._place.rank != 0 and self._place.local_rank == 0:
                self._publish_node(_REFUSED)
        except RailsError:
            pass  # the others will say that they waited in vain; why, this rank has just said

    def _compare(self) -> bool:
        verdict = _REFUSED
        try:
            texts = self._collect()
            if self._strict and _REFUSED in texts:
                return False
            compare_rails([from_text(text) for text in texts if text != _REFUSED])
            verdict = _AGREED
        finally:
            if self._strict:
                self._write(self._key, verdict)
        return True

    def _collect(self) -> list[str]:
        """Return what the nodes said, by the rank of their first tasks; their files are removed.

        The nodes are complete when their tasks are: not every launcher tells how many nodes.
        """
        found: dict[int, tuple[int, str]] = {}
        for _ in pauses(self._timeout_s):
            for name, rank in self._published():
                if rank in found:
                    continue
                tasks, _, text = read_text(os.path.join(self._folder, name)).partition("\n")  # noqa: PTH118
                if text:
                    found[rank] = (int(tasks), text)
            if sum(tasks for tasks, _ in found.values()) >= self._place.world_size:
                self._clean(found)
                return [text for _, (_, text) in sorted(found.items())]
            if self._strict and any(text == _REFUSED for _, text in found.values()):
                self._clean(found)
                return [_REFUSED]
        raise RailsError(
            f"only {sum(tasks for tasks, _ in found.values())} of {self._place.world_size} ranks' "
            f"rails were published in {self._folder} within {self._timeout_s:g} s",
            "see whether all nodes started and share that folder; SLURMKIT_RENDEZVOUS_DIR names "
            "another",
        )

    def _await_verdict(self) -> str:
        path = os.path.join(self._folder, self._key)  # noqa: PTH118
        # Rank 0 may spend the whole time waiting for a node, and has to say so first.
        for _ in pauses(self._timeout_s * 1.25):
            if text := read_text(path):
                return text
        raise RailsError(
            f"rank 0 published no verdict on the rails in {path} within "
            f"{self._timeout_s * 1.25:g} s",
            "see whether rank 0 started, and whether both hosts share that folder; "
            "SLURMKIT_RENDEZVOUS_DIR names another",
        )

    def _published(self) -> "list[tuple[str, int]]":
        prefix = f"{self._key}-"
        try:
            names = os.listdir(self._folder)  # noqa: PTH208 (no pathlib: hot path)
        except FileNotFoundError:
            return []
        own = [name for name in names if name.startswith(prefix)]
        ranks = [(name, name[len(prefix) :]) for name in own]
        return [(name, int(rank)) for name, rank in ranks if rank.isdigit()]

    def _publish_node(self, text: str) -> None:
        name = f"{self._key}-{self._place.rank}"
        self._write(name, f"{self._place.local_world_size}\n{text}")

    def _write(self, name: str, text: str) -> None:
        from slurmkit.rundir.atomic import atomic_write  # noqa: PLC0415 (one rank per node writes)

        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)  # noqa: PTH103
            atomic_write(os.path.join(self._folder, name), text, mode=0o600)  # noqa: PTH118
        except OSError as error:
            raise RailsError(
                f"cannot publish the rails of this node in {self._folder}: {error.strerror}",
                "set SLURMKIT_RENDEZVOUS_DIR to a writable folder that all nodes share",
            ) from error

    def _clean(self, found: "dict[int, tuple[int, str]]") -> None:
        for rank in found:
            try:
                os.unlink(os.path.join(self._folder, f"{self._key}-{rank}"))  # noqa: PTH108, PTH118
            except FileNotFoundError:
                continue
        sweep(self._folder)
