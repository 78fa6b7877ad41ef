"""The checkpoints of a torch program: save on all ranks, load on any number of them."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from slurmkit.checkpoint.errors import CheckpointError, CorruptCheckpointError
from slurmkit.checkpoint.layout import MANIFEST_NAME
from slurmkit.checkpoint.leveled import LeveledStore
from slurmkit.checkpoint.manifest import Manifest
from slurmkit.checkpoint.reading import read_verified
from slurmkit.checkpoint.store import CheckpointStore
from slurmkit.checkpoint.tensors.direct import save_directly
from slurmkit.checkpoint.tensors.errors import SpoiledStateError, StateMismatchError
from slurmkit.checkpoint.tensors.flights import Flights
from slurmkit.checkpoint.tensors.index import INDEX_NAME, Index, decode
from slurmkit.checkpoint.tensors.load import load_into
from slurmkit.checkpoint.tensors.part import Place
from slurmkit.checkpoint.tensors.plan import Order, Planner
from slurmkit.checkpoint.tensors.ranks import Ranks
from slurmkit.checkpoint.tensors.results import SaveHandle, SaveResult
from slurmkit.checkpoint.tensors.tree import Flat, flatten, rebuild
from slurmkit.checkpoint.verify import read_manifest

T = TypeVar("T")
_log = logging.getLogger(__name__)
_VISIBLE_S = 30.0  # an NFS client may not see a new folder for as long as it caches the parent


class TensorCheckpointer:
    """Saves and loads nested dicts of tensors, sharded over the ranks.

    Args:
        store: the checkpoint folder.
        group: a process group on CPU (gloo); None takes the default group, or is one process alone
            where there is none.
        asynchronous: write in a separate process while the training goes on.
        local_dir: a folder of this node to write to first; None writes to the store alone.
        partner: with a `local_dir`: whether another node keeps a copy of this rank's part.
        timeout_s: how long rank 0 waits for the parts of the others, seconds.
    """

    def __init__(
        self,
        store: CheckpointStore,
        *,
        group: Any = None,
        asynchronous: bool = True,
        local_dir: Path | None = None,
        partner: bool = False,
        timeout_s: float = 1800.0,
    ) -> None:
        self._ranks = Ranks(group)
        if local_dir is not None:
            place = {"rank": self._ranks.rank, "world_size": self._ranks.world_size}
            store = LeveledStore.before(store, local_dir, partner=partner, **place)
        self.store = store
        #: What the last `newest` brought into the store from the nodes; on rank 0 only.
        self.salvaged: Manifest | None = None
        self._place = Place(self._ranks.rank, self._ranks.world_size, timeout_s)
        self._planner = Planner(self._ranks)
        self._flights = Flights(store, self._place) if asynchronous else None
        self._spoiled = False

    @property
    def in_flight(self) -> int | None:
        """The newest step that is being written, or None."""
        return self._flights.newest if self._flights else None

    @property
    def writer_pid(self) -> int | None:
        """The process id of this rank's writer process, while there is one."""
        return self._flights.writer_pid if self._flights else None

    def prepare(self, state: dict[str, Any], *, wait_s: float = 0.0) -> None:
        """Get ready for saves of such a state, so that the first is as quick as the others.

        Collective, and worth calling once the optimizer has its state. The memory comes in the
        background.

        Args:
            state: as for `save`; nothing of it is kept.
            wait_s: how long to wait for the memory, seconds.

        Raises:
            UnsupportedStateError: a rank cannot save its state; on all ranks alike.
        """
        flat, error = self._flattened(state)
        plan = self._planner.plan(0, flat, error)
        if self._flights is not None and flat is not None:
            self._flights.prepare(plan, list(flat.tensors.values()))
            self._flights.wait_until_prepared(wait_s)

    def save(self, step: int, state: dict[str, Any], extra: dict[str, Any]) -> SaveHandle:
        """Save a state; collective. When it returns, the state may be changed.

        What becomes of it is told by `poll` (or by the handle, when the save is synchronous):
        that a save fails is no failure of the job. While two saves are in flight, this waits for
        one of them.

        Args:
            step: the optimizer step, the same on all ranks.
            state: nested dicts, lists and tuples of tensors, DTensors and values that can be
                pickled. A name that several ranks have means one value, see `PerRank`.
            extra: JSON for the manifest, from rank 0.

        Raises:
            UnsupportedStateError: a rank cannot save its state; on all ranks alike.
        """
        start = time.perf_counter()
        flat, error = self._flattened(state)
        plan = self._planner.plan(step, flat, error)
        assert flat is not None
        order = Order(step, start, plan, flat, extra)
        if self._flights is None:
            result = save_directly(self.store, self._ranks, self._place, order)
            return SaveHandle(step, result.stall_s, result)
        self._flights.launch(order)
        return SaveHandle(step, time.perf_counter() - start)

    def poll(self) -> SaveResult | None:
        """Return the outcome of a save that was not returned yet, the oldest first; never waits."""
        return self._flights.poll() if self._flights else None

    def wait(self, timeout_s: float) -> SaveResult | None:
        """Finish what is in flight, and return the outcome of the newest save.

        Outcomes of older saves stay for `poll`. None: there is no outcome that was not returned
        before, or the time is over and something is still in flight.
        """
        if self._flights is None or not self._flights.wait(timeout_s):
            return None
        return self._flights.newest_result()

    def load(self, step: int, state: dict[str, Any]) -> dict[str, Any]:
        """Load a committed step; collective. Tensors of the state are filled in place.

        An empty dict in the state takes all that was saved below it, such as ``{"state": {}}`` of
        an optimizer that has not made a step. The number of ranks and the sharding may differ from
        those of the save.

        Args:
            step: a committed step.
            state: of the same structure as it was saved, or a part of it.

        Returns:
            the state with the loaded values; its tensors are those given.

        Raises:
            CorruptCheckpointError: what lies there is not what was written; on all ranks alike, and
                the step is in quarantine. The tensors hold parts of it: load another step, or start
                the program anew.
            StateMismatchError: the step is sound and does not fit the state.
        """
        try:
            manifest, index = self._together(lambda: self._opened(step), first_only=True)
        except CorruptCheckpointError as error:
            self._quarantine(step, error)
            raise
        flat = self._together(lambda: flatten(state, self._place.rank))
        try:
            near = self.store.nearer(manifest)
            values = self._together(lambda: load_into(near, index, flat, self._place.rank))
        except StateMismatchError:
            raise
        except CheckpointError as error:
            self._spoiled = True
            if isinstance(error, CorruptCheckpointError):
                self._quarantine(step, error)
            raise
        self._spoiled = False
        result: dict[str, Any] = rebuild(state, values)
        return result

    def newest(self) -> Manifest | None:
        """Return the newest committed step whose files are all there; collective.

        Rank 0 looks, and puts what is not whole into quarantine. `load` then checks every byte;
        when it finds one wrong, the next `newest` gives the step before. With a folder on the
        nodes, a save that all ranks had finished there is brought into the store first.

        Raises:
            SpoiledStateError: there is none, and a failed `load` has filled the state with parts.
        """
        self.salvaged = None
        if isinstance(self.store, LeveledStore):
            self._salvage(self.store)
        while True:
            found = self._together(self.store.newest_metadata, first_only=True)
            if found is None:
                if self._spoiled:
                    raise SpoiledStateError(
                        f"no sound checkpoint is left in {self.store.dir.path}, and the state holds"
                        " parts of a corrupt one",
                        hint="start the program again: it will begin from its initial state",
                    )
                return None
            seen = found.step if self._sees(found.step) else -1
            if self._ranks.min_of([seen])[0] == found.step:
                return found
            raise CheckpointError(
                f"rank 0 sees step {found.step} in {self.store.dir.path}, and another rank does not"
                f" within {_VISIBLE_S:g} s",
                hint="the checkpoint folder has to be on a file system that all nodes share",
            )

    def _salvage(self, store: LeveledStore) -> None:
        def gather(value: Any) -> list[Any]:
            return self._ranks.from_first(self._ranks.gather(value) or [])

        try:
            self.salvaged = store.salvage(gather)
        except CheckpointError as error:  # on rank 0: there are older steps
            _log.warning("a save that reached only the nodes is lost: %s", error.message)

    def close(self) -> None:
        """End the writer process; call `wait` first when the last save matters."""
        if self._flights is not None:
            self._flights.close()
        self._ranks.close()

    def _flattened(self, state: dict[str, Any]) -> tuple[Flat | None, CheckpointError | None]:
        try:
            return flatten(state, self._place.rank), None
        except CheckpointError as error:
            return None, error

    def _opened(self, step: int) -> tuple[Manifest, Index]:
        manifest = read_manifest(self.store.dir.step_path(step), step)
        try:
            return manifest, decode(bytes(read_verified(manifest, INDEX_NAME)))
        except KeyError as error:
            raise StateMismatchError(
                f"step {step} in {self.store.dir.path} was not saved from torch",
                hint="it has other files; read it with the library that wrote it",
            ) from error

    def _together(self, work: Callable[[], T], *, first_only: bool = False) -> T:
        """Do something on all ranks, or on rank 0 for all; an error of one is an error of all."""
        value: T | None = None
        error: CheckpointError | None = None
        try:
            if not first_only or self._place.rank == 0:
                value = work()
        except CheckpointError as reason:
            error = reason
        except Exception as reason:  # noqa: BLE001 (the other ranks wait: all have to learn it)
            error = CheckpointError(f"rank {self._place.rank}: {type(reason).__name__}: {reason}")
            error.__cause__ = reason
        found = self._ranks.first_error(error)
        if found is not None:
            raise found
        return self._ranks.from_first(value) if first_only else value  # type: ignore[return-value]

    def _quarantine(self, step: int, error: CorruptCheckpointError) -> None:
        self._together(lambda: self.store.quarantine(step, error.message), first_only=True)

    def _sees(self, step: int) -> bool:
        path = self.store.dir.step_path(step) / MANIFEST_NAME
        deadline = time.monotonic() + _VISIBLE_S
        while not path.exists():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True
