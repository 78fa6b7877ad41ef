"""The bytes of one rank's file: which tensor lies where; a safetensors file that any tool can open.

Standard library only. The file is ``<length><JSON header><data>``. The data is laid out by element
size, largest first, so that every tensor is aligned and nothing lies between them, as the
safetensors format demands. What is not a tensor comes last, pickled, under `OBJECTS_KEY`: its
length differs from save to save, so its numbers in the header have room, and the rest never
moves.
"""

import json
import struct
from collections.abc import Sequence

from slurmkit.record import Record

OBJECTS_KEY = "__objects__"
_WIDTH = 20  # digits of the largest 64 bit number
_ALIGNMENT = 64

# What safetensors calls a type; others are stored as bytes, and the index knows what they are.
_NAMES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint64": "U64",
    "uint32": "U32",
    "uint16": "U16",
    "uint8": "U8",
    "bool": "BOOL",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
}


class Chunk(Record):
    """A rectangle of a tensor that one rank writes.

    Attributes:
        key: the tensor's name in the state.
        dtype: torch's name of the element type, such as ``bfloat16``.
        item_bytes: size of one element.
        shape: of the whole tensor.
        offsets: where the rectangle begins, one number per dimension.
        sizes: its extent, one number per dimension.
    """

    key: str
    dtype: str
    item_bytes: int
    shape: tuple[int, ...]
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        """Return the size of its data."""
        total = self.item_bytes
        for extent in self.sizes:
            total *= extent
        return total

    @property
    def name(self) -> str:
        """Return its name in the file: the tensor's own when it is the whole of it."""
        if self.sizes == self.shape:
            return self.key
        return f"{self.key}@{','.join(map(str, self.offsets))}"


class Image(Record):
    """Where everything lies in a rank's file.

    Attributes:
        head: the length and the header, with room for the length of the objects.
        chunks: in the order of the file.
        places: the first byte of each chunk, counted from the begin of the file.
        data_end: where the tensors end and the objects begin.
        objects_at: where the two numbers of the objects stand in the head.
    """

    head: bytes
    chunks: tuple[Chunk, ...]
    places: tuple[int, ...]
    data_end: int
    objects_at: int

    def head_for(self, objects_size: int) -> bytes:
        """Return the head for objects of this many bytes."""
        data_size = self.data_end - len(self.head)
        numbers = (objects_size, data_size, data_size + objects_size)
        filled = bytearray(self.head)
        shape = f"[{numbers[0]:>{_WIDTH}}]"
        span = f"[{numbers[1]:>{_WIDTH}},{numbers[2]:>{_WIDTH}}]"
        text = f'"shape":{shape},"data_offsets":{span}'.encode("ascii")
        filled[self.objects_at : self.objects_at + len(text)] = text
        return bytes(filled)


def lay_out(chunks: Sequence[Chunk]) -> Image:
    """Place the chunks of one rank; the same chunks give the same bytes on every host."""
    ordered = sorted(chunks, key=lambda chunk: (-chunk.item_bytes, chunk.key, chunk.offsets))
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    starts, end = [], 0
    for chunk in ordered:
        known = chunk.dtype in _NAMES
        starts.append(end)
        header[chunk.name] = {
            "dtype": _NAMES[chunk.dtype] if known else "U8",
            "shape": list(chunk.sizes) if known else [chunk.size_bytes],
            "data_offsets": [end, end + chunk.size_bytes],
        }
        end += chunk.size_bytes
    room = " " * _WIDTH
    text = json.dumps(header, separators=(",", ":"))[:-1]
    objects = f'"shape":[{room}],"data_offsets":[{room},{room}]'
    text = f'{text},"{OBJECTS_KEY}":{{"dtype":"U8",'
    objects_at = 8 + len(text.encode("utf-8"))
    body = f"{text}{objects}}}}}".encode()
    body += b" " * (-(8 + len(body)) % _ALIGNMENT)
    head = struct.pack("<Q", len(body)) + body
    places = tuple(len(head) + start for start in starts)
    return Image(head, tuple(ordered), places, len(head) + end, objects_at)
