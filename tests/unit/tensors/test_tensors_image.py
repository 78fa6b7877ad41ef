"""A rank's file is a safetensors file, whatever is in it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmkit.checkpoint.errors import UnknownFormatError
from slurmkit.checkpoint.tensors.image import OBJECTS_KEY, Chunk, lay_out
from slurmkit.checkpoint.tensors.index import decode, make

_KINDS = [("float32", 4), ("bfloat16", 2), ("bool", 1), ("complex128", 16), ("int64", 8)]


@st.composite
def _chunks(draw):
    keys = draw(st.lists(st.text(min_size=1, max_size=8), max_size=8, unique=True))
    chunks = []
    for key in keys:
        dtype, item_bytes = draw(st.sampled_from(_KINDS))
        shape = tuple(draw(st.lists(st.integers(0, 5), max_size=3)))
        half = tuple(extent // 2 for extent in shape)
        sizes = draw(st.sampled_from([shape, half]))
        chunks.append(Chunk(key, dtype, item_bytes, shape, (0,) * len(shape), sizes))
    return chunks


@given(_chunks(), st.integers(0, 10**12))
def test_every_byte_has_one_owner_and_tensors_are_aligned(chunks, objects_size):
    image = lay_out(chunks)
    at = len(image.head)
    assert at % 64 == 0
    for chunk, place in zip(image.chunks, image.places, strict=True):
        assert place == at
        assert place % chunk.item_bytes == 0 or not chunk.size_bytes
        at += chunk.size_bytes
    assert at == image.data_end
    head = image.head_for(objects_size)
    assert len(head) == len(image.head)
    header = json.loads(head[8:])
    assert header[OBJECTS_KEY]["shape"] == [objects_size]
    data_size = image.data_end - len(head)
    assert header[OBJECTS_KEY]["data_offsets"] == [data_size, data_size + objects_size]


@given(_chunks())
def test_the_order_of_the_chunks_changes_nothing(chunks):
    assert lay_out(chunks) == lay_out(chunks[::-1])


@given(_chunks())
def test_an_index_is_read_as_it_was_written(chunks):
    paths = {chunk.key: (chunk.key, 3, ("l", 0)) for chunk in chunks}
    index = make([lay_out(chunks), lay_out([])], {"x": 1}, paths)
    assert decode(index.encode()) == index


def test_an_index_of_another_version_is_refused():
    text = make([lay_out([])], {}, {}).encode().replace(b'"version":1', b'"version":7')
    with pytest.raises(UnknownFormatError, match="version 7"):
        decode(text)
