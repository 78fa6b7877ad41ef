"""Which shared libraries a program names: the NEEDED entries of an ELF file, read, not started."""

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

_MAX_TABLE_BYTES = 1 << 22
_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_NEEDED, _DT_STRTAB = 1, 5

# ELF(5): sizes of words and the order of fields differ between 32 and 64 bits.
_HEADER = {1: "HHIIIIIHHHHHH", 2: "HHIQQQIHHHHHH"}
_SEGMENT = {1: "IIIIIIII", 2: "IIQQQQQQ"}
_ENTRY = {1: "iI", 2: "qQ"}


def needed(path: str) -> tuple[str, ...]:
    """Return the names of the libraries; none for scripts, static programs and broken files.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:  # noqa: PTH123 (each rank runs this: no pathlib)
        start = file.read(64)
        if start[:4] != b"\x7fELF" or start[4:5] not in (b"\1", b"\2"):
            return ()
        bits, order = start[4], "<" if start[5] == 1 else ">"
        try:
            header = struct.unpack_from(order + _HEADER[bits], start, 16)
            table, size, count = header[4], header[8], header[9]
            file.seek(table)
            raw = file.read(min(size * count, _MAX_TABLE_BYTES))
            segments = [
                _segment(bits, struct.unpack_from(order + _SEGMENT[bits], raw, index * size))
                for index in range(count)
            ]
            return tuple(_names(file, segments, order + _ENTRY[bits]))
        except (struct.error, ValueError, OverflowError):
            return ()


def _segment(bits: int, fields: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Return type, offset, address and size in the file."""
    if bits == 2:
        kind, _, offset, address, _, size = fields[:6]
    else:
        kind, offset, address, _, size = fields[:5]
    return kind, offset, address, size


def _names(file: "BinaryIO", segments: list[tuple[int, int, int, int]], entry: str) -> list[str]:
    dynamic = next((s for s in segments if s[0] == _PT_DYNAMIC), None)
    if dynamic is None:
        return []
    file.seek(dynamic[1])
    raw = file.read(min(dynamic[3], _MAX_TABLE_BYTES))
    step = struct.calcsize(entry)
    pairs = [struct.unpack_from(entry, raw, at) for at in range(0, len(raw) - step + 1, step)]
    table = next(value for tag, value in [*pairs, (_DT_STRTAB, 0)] if tag == _DT_STRTAB)
    offset = next(
        (table - s[2] + s[1] for s in segments if s[0] == _PT_LOAD and s[2] <= table < s[2] + s[3]),
        table,
    )
    names = []
    for tag, value in pairs:
        if tag == _DT_NEEDED:
            file.seek(offset + value)
            names.append(file.read(256).partition(b"\0")[0].decode("utf-8", "replace"))
    return names


def family_of(names: tuple[str, ...]) -> str:
    """Return whose MPI a program is linked with: ``openmpi``, ``mpich`` or empty for neither.

    ``mpich`` stands for all that share its binary interface: MPICH, Intel MPI, MVAPICH, Cray
    (https://www.mpich.org/abi/).
    """
    for name in names:
        base, _, number = name.partition(".so.")
        if base == "libmpich" or base.startswith("libmpi_cray"):
            return "mpich"
        if base in ("libmpi", "libmpi_mpifh", "libmpi_cxx", "libmpifort", "libmpicxx"):
            return "mpich" if number.partition(".")[0] == "12" else "openmpi"
    return ""
