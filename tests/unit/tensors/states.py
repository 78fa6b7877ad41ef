"""States for the tests: every element type, odd shapes, and how to compare bit for bit."""

import torch

DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16,
    torch.int64, torch.int32, torch.int16, torch.int8,
    torch.uint8, torch.uint16, torch.uint32, torch.uint64,
    torch.bool, torch.complex64, torch.complex128,
    torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz,
]  # fmt: skip


def random_bits(shape: tuple[int, ...], dtype: torch.dtype, seed: int = 0) -> torch.Tensor:
    """Return a tensor of random bits: NaNs with payloads, denormals, negative zeros."""
    numbers = torch.Generator().manual_seed(seed)
    count = 1
    for extent in shape:
        count *= extent
    if dtype == torch.bool:
        return torch.randint(0, 2, shape, generator=numbers).to(torch.bool)
    raw = torch.randint(0, 256, (count * dtype.itemsize,), dtype=torch.uint8, generator=numbers)
    return raw.view(dtype).view(shape)


def bits(tensor: torch.Tensor) -> bytes:
    """Return the bytes of a tensor."""
    plain = tensor.detach().resolve_conj().resolve_neg().contiguous().flatten()
    return plain.view(torch.uint8).numpy().tobytes()


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Return whether two tensors are equal to the bit."""
    return one.dtype == other.dtype and one.shape == other.shape and bits(one) == bits(other)
