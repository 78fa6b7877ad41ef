import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmkit.errors import UsageError
from slurmkit.topology.cpuset import format_cpulist, format_mask, parse_cpulist, parse_mask

CPUS = st.frozensets(st.integers(0, 2047))


@given(CPUS)
def test_lists_and_masks_say_the_same_set(cpus):
    assert parse_cpulist(format_cpulist(cpus)) == cpus
    assert parse_mask(format_mask(cpus)) == cpus


@pytest.mark.parametrize(
    ("text", "count"),
    [("", 0), ("0-13,112-125", 28), ("5", 1), ("0-30:2/4", 16), ("7,7,7", 1), (" 0-3 \n", 4)],
)
def test_lists_of_the_kernel(text, count):
    assert len(parse_cpulist(text)) == count


def test_the_stride_takes_the_first_of_each_group():
    assert sorted(parse_cpulist("0-11:2/4")) == [0, 1, 4, 5, 8, 9]


def test_the_leftmost_word_of_a_mask_is_the_highest():
    mask = "00000000,000000ff,ffffffff,ffff0000,00000000,00ffffff,ffffffff"
    assert format_cpulist(parse_mask(mask)) == "0-55,112-167"
    assert format_mask(parse_mask(mask)) == mask.removeprefix("00000000,")


def test_masks_of_hwloc():
    assert parse_mask("0x00000001,,0x0000000f") == parse_cpulist("0-3,64")


@pytest.mark.parametrize("text", ["3-1", "a", "1-", "-1", "0-99999", "1,,2", "1-2-3", "0:1/0", "²"])
def test_what_is_no_list_is_refused(text):
    with pytest.raises(UsageError, match="CPUs"):
        parse_cpulist(text)


@pytest.mark.parametrize("text", ["xyz", "0x", "fffffffff,0", "1" * 20000, "-1"])
def test_what_is_no_mask_is_refused(text):
    with pytest.raises(UsageError, match="mask"):
        parse_mask(text)
