"""What is saved of a program: each object in the form that can be loaded on any number of ranks."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, Protocol

import torch
from torch import nn

from slurmkit.checkpoint.tensors import PerRank
from slurmkit.checkpoint.tensors.kinds import is_dtensor
from slurmkit.train import rng
from slurmkit.train.errors import ResumeError, TrainError
from slurmkit.train.loader import ResumableLoader

Tree = dict[str, Any]


class Part(Protocol):
    """One object of the program, as it is saved and loaded."""

    def saved(self) -> Any:
        """Return what to save."""
        ...

    def template(self) -> Any:
        """Return what to load into: tensors are filled in place, an empty dict takes all."""
        ...

    def load(self, loaded: Any, *, same_world: bool) -> None:
        """Take over what was loaded."""
        ...


def plain_module(module: nn.Module) -> nn.Module:
    """Return the module without what wraps it: DistributedDataParallel, torch.compile."""
    while True:
        if isinstance(module, (nn.parallel.DistributedDataParallel, nn.DataParallel)):
            module = module.module
        elif (inner := getattr(module, "_orig_mod", None)) is not None:
            module = inner
        else:
            return module


class _Module:
    """A model; what FSDP2 has sharded is saved and loaded as shards."""

    def __init__(self, module: nn.Module) -> None:
        self._module = plain_module(module)

    def saved(self) -> Any:
        return dict(self._module.state_dict())

    def template(self) -> Any:
        return self.saved()

    def load(self, loaded: Any, *, same_world: bool) -> None:  # noqa: ARG002
        self._module.load_state_dict(loaded)


class _Optimizer:
    """An optimizer of which every rank has all: its own state_dict, parameters by number."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer

    def saved(self) -> Any:
        return self._optimizer.state_dict()

    def template(self) -> Any:
        return {"state": {}, "param_groups": {}}

    def load(self, loaded: Any, *, same_world: bool) -> None:  # noqa: ARG002
        self._optimizer.load_state_dict(loaded)


class _ShardedOptimizer:
    """An optimizer over DTensors: by the names of parameters, so that it can be sharded anew."""

    def __init__(self, optimizer: torch.optim.Optimizer, module: nn.Module) -> None:
        self._optimizer = optimizer
        self._module = module

    def saved(self) -> Any:
        return _dcp().get_optimizer_state_dict(self._module, self._optimizer)

    def template(self) -> Any:
        return self.saved()  # makes the optimizer's state where there is none yet

    def load(self, loaded: Any, *, same_world: bool) -> None:  # noqa: ARG002
        _dcp().set_optimizer_state_dict(self._module, self._optimizer, loaded)


class _Stateful:
    """Anything with state_dict and load_state_dict that is the same on all ranks."""

    def __init__(self, thing: Any) -> None:
        self._thing = thing

    def saved(self) -> Any:
        return self._thing.state_dict()

    def template(self) -> Any:
        return {}

    def load(self, loaded: Any, *, same_world: bool) -> None:  # noqa: ARG002
        self._thing.load_state_dict(loaded)


class _OfThisRank:
    """Anything with state_dict and load_state_dict that each rank has for itself."""

    def __init__(self, name: str, thing: Any) -> None:
        self._name = name
        self._thing = thing

    def saved(self) -> Any:
        return PerRank({"state": self._thing.state_dict()})

    def template(self) -> Any:
        return PerRank({"state": {}})

    def load(self, loaded: Any, *, same_world: bool) -> None:
        if not same_world:
            raise ResumeError(
                f"{self._name} has a state of its own on each rank, and the number of ranks is"
                " another one than in the checkpoint",
                hint="use as many ranks as before; a loader of run.loader() over a map-style data"
                " set fits any number",
            )
        self._thing.load_state_dict(loaded["state"])


class Content:
    """All that a program saves: its objects, its plain values, and the random number generators.

    Args:
        objects: by name; modules, optimizers, whatever has state_dict and load_state_dict, and
            plain values.
        device: whose random numbers are saved beside those of the CPU.

    Raises:
        TrainError: an object cannot be saved.
    """

    def __init__(self, objects: Mapping[str, Any], device: torch.device) -> None:
        self._device = device
        self._parts: dict[str, Part] = {}
        self.values: Tree = {}
        self.loader: Any = None
        self.modules = [thing for thing in objects.values() if isinstance(thing, nn.Module)]
        for name, thing in objects.items():
            part = self._part(name, thing)
            if part is None:
                self.values[name] = thing
            else:
                self._parts[name] = part

    def saved(self) -> Tree:
        """Return what to save now."""
        tree: Tree = {name: part.saved() for name, part in self._parts.items()}
        tree["values"] = dict(self.values)
        tree["random"] = PerRank(rng.capture(self._device))
        return tree

    def template(self) -> Tree:
        """Return what to load into."""
        tree: Tree = {name: part.template() for name, part in self._parts.items()}
        tree["values"] = {}
        tree["random"] = PerRank({})
        return tree

    def load(self, loaded: Tree, *, same_world: bool) -> Tree | None:
        """Take over what was loaded.

        Returns:
            the state of the random number generators, for when training goes on; None on a rank
            that did not exist when it was saved.
        """
        for name, part in self._parts.items():
            part.load(loaded[name], same_world=same_world)
        for name, value in loaded["values"].items():
            if name in self.values:
                self.values[name] = value
        return loaded["random"] or None

    def restore_random(self, state: Tree) -> None:
        """Put the generators where they were."""
        rng.restore(state, self._device)

    def _part(self, name: str, thing: Any) -> Part | None:
        if name in ("values", "random", "step", "epoch"):
            raise TrainError(f"run.state() has a {name} of its own", hint="choose another name")
        if isinstance(thing, PerRank):
            return _OfThisRank(name, thing.value)
        if isinstance(thing, nn.Module):
            return _Module(thing)
        if isinstance(thing, torch.optim.Optimizer):
            return self._optimizer(name, thing)
        stateful = hasattr(thing, "state_dict") and hasattr(thing, "load_state_dict")
        if name == "loader":
            self.loader = thing
            if isinstance(thing, ResumableLoader):
                return _Stateful(thing)
            if not stateful:
                raise TrainError(
                    f"{type(thing).__name__} cannot tell where it is in the data",
                    hint="use run.loader(), torchdata's StatefulDataLoader, or any iterable with"
                    " state_dict and load_state_dict",
                )
            return _OfThisRank(name, thing)
        return _Stateful(thing) if stateful else None

    def _optimizer(self, name: str, optimizer: torch.optim.Optimizer) -> Part:
        parameters = list(_parameters(optimizer))
        if not any(is_dtensor(parameter) for parameter in parameters):
            return _Optimizer(optimizer)
        for module in self.modules:
            own = {id(parameter) for parameter in module.parameters()}
            if all(id(parameter) in own for parameter in parameters):
                return _ShardedOptimizer(optimizer, plain_module(module))
        raise TrainError(
            f"{name} has sharded parameters that belong to none of the modules given",
            hint="give its model to run.state(), too",
        )


def _parameters(optimizer: torch.optim.Optimizer) -> Iterator[torch.Tensor]:
    for group in optimizer.param_groups:
        yield from group["params"]


def _dcp() -> Any:
    """Return torch's module for states of sharded models; slow to import, so only when needed."""
    return import_module("torch.distributed.checkpoint.state_dict")
