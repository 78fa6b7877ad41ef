"""Sizes of messages and speeds of links as people write them, and the sweep from small to large."""

import re

from slurmkit.errors import UsageError

_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}
_SIZE = re.compile(r"(\d+)\s*([KMG]?)(?:i?B)?", re.IGNORECASE | re.ASCII)
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*([kKMGT])(bit/s|b/s|bps|B/s)", re.ASCII)
_RATE_UNITS = {"k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}

#: A rank sends whole 32-bit numbers.
ELEMENT_BYTES = 4
_MOST_SIZES = 100


def parse_size(text: str) -> int:
    """Return bytes; K, M and G are powers of 1024, as in nccl-tests and the OSU benchmarks.

    Raises:
        UsageError: the text is no size.
    """
    match = _SIZE.fullmatch(text.strip())
    if not match or int(match[1]) == 0:
        raise UsageError(f"{text!r} is not a size", hint="Write 8, 4K, 64M or 1G.")
    return int(match[1]) * _UNITS[match[2].upper()]


def parse_sizes(text: str) -> tuple[int, ...]:
    """Return the sizes of a sweep, ascending.

    Args:
        text: ``LOW:HIGH`` (every size four times the one before), ``LOW:HIGH:FACTOR``, or a list
            such as ``8,4K,1M``.

    Raises:
        UsageError: the text is no sweep.
    """
    if ":" not in text:
        return tuple(sorted({parse_size(item) for item in text.split(",")}))
    parts = text.split(":")
    if len(parts) > 3:
        raise UsageError(f"{text!r} is no sweep of sizes", hint="Write LOW:HIGH or LOW:HIGH:FACTOR")
    low, high = parse_size(parts[0]), parse_size(parts[1])
    factor = _factor(parts[2]) if len(parts) == 3 else 4
    if low > high:
        raise UsageError(f"--sizes {text}: the first size is the larger one")
    sizes: list[int] = []
    size = low
    while size <= high and len(sizes) < _MOST_SIZES:
        sizes.append(size)
        size *= factor
    if sizes[-1] != high:
        sizes.append(high)  # what was asked for is measured, whether the factor meets it or not
    return tuple(sizes)


def _factor(text: str) -> int:
    number = text.strip().lower().removeprefix("x")
    if not (number.isascii() and number.isdigit()) or int(number) < 2:
        raise UsageError(f"{text!r} is no factor between sizes", hint="Write 2 or more.")
    return int(number)


def whole_elements(size_bytes: int, parts: int = 1) -> int:
    """Return the size rounded up, so that each of some equal parts holds whole numbers."""
    unit = ELEMENT_BYTES * parts
    return -(-size_bytes // unit) * unit


def format_size(size_bytes: int) -> str:
    """Return the shortest exact form, such as ``64K``."""
    for unit in ("G", "M", "K"):
        if size_bytes and size_bytes % _UNITS[unit] == 0:
            return f"{size_bytes // _UNITS[unit]}{unit}"
    return str(size_bytes)


def parse_rate(text: str) -> float:
    """Return bytes per second; bits (``400Gb/s``) and bytes (``50GB/s``) are told apart.

    Raises:
        UsageError: the text is no speed.
    """
    match = _RATE.fullmatch(text.strip())
    if not match or float(match[1]) == 0:
        raise UsageError(
            f"{text!r} is not the speed of a link", hint="Write 400Gb/s (bits) or 50GB/s (bytes)."
        )
    bits = match[3] != "B/s"
    return float(match[1]) * _RATE_UNITS[match[2]] / (8 if bits else 1)


def parse_rated(text: str) -> tuple[float, int | None]:
    """Return the rate of one link in bytes/s, and how many a node has: ``8x400Gb/s``.

    The number is None when the text does not tell it.

    Raises:
        UsageError: the text is neither.
    """
    count, cross, rate = text.partition("x")
    if not cross:
        return parse_rate(text), None
    if not (count.isascii() and count.isdigit()) or int(count) == 0:
        raise UsageError(f"{text!r}: {count!r} is no number of links", hint="Write 8x400Gb/s.")
    return parse_rate(rate), int(count)


def format_rate(bytes_per_s: float) -> str:
    """Return a bandwidth for people, in bytes as the other benchmarks have it."""
    for limit, unit in ((1e9, "GB/s"), (1e6, "MB/s")):
        if bytes_per_s >= limit:
            return f"{bytes_per_s / limit:.2f} {unit}"
    return f"{bytes_per_s / 1e3:.2f} kB/s"


def format_time(seconds: float) -> str:
    """Return a time for people."""
    for limit, unit in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= limit:
            return f"{seconds / limit:.2f} {unit}"
    return f"{seconds * 1e6:.1f} us"
