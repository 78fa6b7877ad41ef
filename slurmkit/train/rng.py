"""The state of every random number generator of this process, as tensors and plain values."""

import random
import sys
from typing import Any

import torch

State = dict[str, Any]


def capture(device: torch.device) -> State:
    """Return the state of python's, numpy's, torch's and the device's generators."""
    version, words, gauss = random.getstate()
    state: State = {
        "python": torch.tensor(words, dtype=torch.int64),
        "python_rest": [version, gauss],
        "torch": torch.get_rng_state(),
    }
    if (numpy := sys.modules.get("numpy")) is not None:
        name, keys, position, has_gauss, cached = numpy.random.get_state()
        state["numpy"] = torch.tensor(keys.astype("int64"))
        state["numpy_rest"] = [str(name), int(position), int(has_gauss), float(cached)]
    if device.type != "cpu":
        state["device"] = torch.get_device_module(device).get_rng_state(device)
    return state


def restore(state: State, device: torch.device) -> None:
    """Put all generators into a state that `capture` returned."""
    version, gauss = state["python_rest"]
    random.setstate((int(version), tuple(state["python"].tolist()), gauss))
    torch.set_rng_state(state["torch"].to(torch.uint8).cpu())
    if "numpy" in state:
        import numpy  # noqa: PLC0415 - only where the program used it

        name, position, has_gauss, cached = state["numpy_rest"]
        keys = state["numpy"].numpy().astype("uint32")
        numpy.random.set_state((name, keys, position, has_gauss, cached))
    if "device" in state and device.type != "cpu":
        saved = state["device"].to(torch.uint8).cpu()
        torch.get_device_module(device).set_rng_state(saved, device)
