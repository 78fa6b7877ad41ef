"""Tensors as the bytes that they are."""

import torch


def is_plain(tensor: torch.Tensor) -> bool:
    """Return whether the tensor's elements lie in this host's memory, in order and as they are."""
    return (
        tensor.device.type == "cpu"
        and tensor.is_contiguous()
        and not tensor.is_conj()
        and not tensor.is_neg()
    )


def bytes_of(tensor: torch.Tensor) -> memoryview:
    """Return the memory of a plain tensor; writing to it changes the tensor."""
    view: memoryview = tensor.detach().flatten().view(torch.uint8).numpy().data
    return view
