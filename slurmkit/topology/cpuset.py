"""CPU lists and masks as the kernel, NCCL and hwloc write them.

Sources: Documentation/admin-guide/cputopology.rst and `bitmap_print_to_pagebuf` of the kernel for
lists ("0-13,112-125") and masks (32-bit hexadecimal words, most significant first).
"""

# The kernel's largest NR_CPUS is 8192; a list that asks for more is a mistake, not a machine.
MAX_CPUS = 65536


def parse_cpulist(text: str) -> frozenset[int]:
    """Return the numbers of a list such as ``0-13,112-125``; an empty text is the empty set.

    The kernel's stride form ``0-30:2/4`` (of every 4, the first 2) is understood as well.

    Raises:
        UsageError: when the text is not such a list, or holds a number of 65,536 or more.
    """
    cpus: set[int] = set()
    for part in text.strip().split(","):
        if not part and not text.strip():
            continue
        cpus.update(_parse_part(part.strip(), text))
    return frozenset(cpus)


def _parse_part(part: str, text: str) -> range | list[int]:
    span, _, stride = part.partition(":")
    first, dash, last = span.partition("-")
    used, _, group = stride.partition("/")
    numbers = [first, last if dash else first, used or "1", group or "1"]
    if not all(number.isascii() and number.isdigit() and len(number) < 8 for number in numbers):
        raise _usage_error(f"{text.strip()[:80]!r} is not a list of CPUs", "Write it as 0-13,112.")
    low, high, used_count, group_count = (int(number) for number in numbers)
    if high < low or high >= MAX_CPUS or not 1 <= used_count <= group_count:
        raise _usage_error(
            f"{part!r} is not a range of CPUs",
            f"A range is FIRST-LAST, rising, with numbers below {MAX_CPUS}.",
        )
    if not stride:
        return range(low, high + 1)
    return [cpu for cpu in range(low, high + 1) if (cpu - low) % group_count < used_count]


def format_cpulist(cpus: "Iterable[int]") -> str:
    """Return numbers as the kernel lists them: sorted, runs joined, ``0-13,112-125``."""
    numbers = sorted(set(cpus))
    parts = []
    position = 0
    while position < len(numbers):
        end = position
        while end + 1 < len(numbers) and numbers[end + 1] == numbers[end] + 1:
            end += 1
        first, last = numbers[position], numbers[end]
        parts.append(str(first) if first == last else f"{first}-{last}")
        position = end + 1
    return ",".join(parts)


def parse_mask(text: str) -> frozenset[int]:
    """Return the CPUs of a mask such as ``00000000,000000ff``: the leftmost word is the highest.

    hwloc's forms are understood too: words with ``0x``, empty words that mean zero.

    Raises:
        UsageError: when the text is no hexadecimal mask, or sets a bit of 65,536 or more.
    """
    value = 0
    words = text.strip().split(",")
    for word in words:
        digits = word.strip().removeprefix("0x").removeprefix("0X")
        if not digits and word.strip():
            raise _not_a_mask(text)
        if any(digit not in "0123456789abcdefABCDEF" for digit in digits):
            raise _not_a_mask(text)
        if len(words) > 1 and len(digits) > 8:
            raise _not_a_mask(text)
        value = (value << 32) | int(digits or "0", 16)
        if value.bit_length() > MAX_CPUS:
            raise _not_a_mask(text)
    return frozenset(bit for bit in range(value.bit_length()) if value >> bit & 1)


def _not_a_mask(text: str) -> "UsageError":
    return _usage_error(
        f"{text.strip()[:80]!r} is not a CPU mask",
        "A mask is 32-bit hexadecimal words, most significant first: 00000000,000000ff.",
    )


def _usage_error(message: str, hint: str) -> "UsageError":
    # Errors are dataclasses, which take 10 ms to load: too long for every rank that makes none.
    from slurmkit.errors import UsageError  # noqa: PLC0415

    return UsageError(message, hint=hint)


def format_mask(cpus: "Iterable[int]") -> str:
    """Return CPUs as a mask of 32-bit words, most significant first, without leading zero words."""
    value = 0
    for cpu in cpus:
        value |= 1 << cpu
    words = [f"{value & 0xFFFFFFFF:08x}"]
    while value := value >> 32:
        words.append(f"{value & 0xFFFFFFFF:08x}")
    return ",".join(reversed(words))


TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from slurmkit.errors import UsageError
