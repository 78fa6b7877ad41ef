import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slurmkit.errors import EXIT_USAGE, SlurmkitError
from slurmkit.hostlist import MAX_RANGE, HostlistError, compress, expand

# What `scontrol show hostnames` of Slurm 22.05.8 and 26.05.5 printed.
EXPANDED = [
    ("", ""),
    (",", ""),
    ("n1", "n1"),
    ("a,,b", "a b"),
    ("a, b\nc", "a b c"),
    ("b,a,b", "b a b"),
    ("1-3", "1-3"),
    ("[1-3]", "1 2 3"),
    ("n[1,1]", "n1 n1"),
    ("n[08-11]", "n08 n09 n10 n11"),
    ("n[001-3]", "n001 n002 n003"),
    ("n[9-010]", "n9 n10"),
    ("tux[0-000003]", "tux0 tux1 tux2 tux3"),
    ("a[1-3,07],b[2-4]-ib[0-1]", "a1 a2 a3 a07 b2-ib0 b2-ib1 b3-ib0 b3-ib1 b4-ib0 b4-ib1"),
    ("n[1-2][3-4]", "n13 n14 n23 n24"),
    ("a[1-2]b[1-2]c[1-2]", "a1b1c1 a1b1c2 a2b1c1 a2b1c2 a1b2c1 a1b2c2 a2b2c1 a2b2c2"),
]

# Names that go on behind the last bracket: Slurm reads them since 23.x, 22.05 refuses them.
EXPANDED_SUFFIXES = [
    ("n[1-3]x", "n1x n2x n3x"),
    ("n[1-2]-ib,m[1-2]y", "n1-ib n2-ib m1y m2y"),
    ("n[1-2]x[3-4]y", "n1x3y n1x4y n2x3y n2x4y"),
]

# Names, then what `scontrol show hostlist` and `scontrol show hostlistsorted` printed.
COMPRESSED = [
    ("n1 n2 n3", "n[1-3]", "n[1-3]"),
    ("n3 n2 n1", "n[3,2,1]", "n[1-3]"),
    ("n1 n1", "n[1,1]", "n[1,1]"),
    ("n1 n2 n1", "n[1-2,1]", "n[1,1-2]"),
    ("n1 n2 n3 n2 n2", "n[1-3,2,2]", "n[1-2,2,2-3]"),
    ("n1 n01 n02 n2", "n[1,01-02,2]", "n[1-2,01-02]"),
    ("n9 n10 n11", "n[9-11]", "n[9-11]"),
    ("n10 n9 n1", "n[10,9,1]", "n[1,9-10]"),
    ("n9 n010", "n[9,010]", "n[9,010]"),
    ("n08 n9 n10", "n[08,9-10]", "n[9-10,08]"),
    ("n10 n08 n9", "n[10,08,9]", "n[9,08,10]"),
    ("n099 n100", "n[099-100]", "n[099-100]"),
    ("n100 n01", "n[100,01]", "n[01,100]"),
    ("n0 n00", "n[0,00]", "n[0,00]"),
    ("a1 b1 a2", "a1,b1,a2", "a[1-2],b1"),
    ("n n1 n n2", "n,n1,n,n2", "n,n,n[1-2]"),
    ("1 2 3", "[1-3]", "[1-3]"),
    ("b2-ib0 b2-ib1 b3-ib0", "b2-ib[0-1],b3-ib0", "b2-ib[0-1],b3-ib0"),
    ("n1x n2x", "n1x,n2x", "n1x,n2x"),
    ("n2 m A1", "n2,m,A1", "A1,m,n2"),
    ("n-1 n1", "n-1,n1", "n1,n-1"),
]

BROKEN = [
    ("n[1", 1, "never closed"),
    ("n1]", 2, "never opened"),
    ("n[1-2]]", 6, "never opened"),
    ("n[[1-2]]", 2, "inside a bracket"),
    ("n[]", 2, "no number"),
    ("n[1,]", 4, "no number"),
    ("ok1,n[a-b]", 6, "no number"),
    ("n[1-]", 2, "no number"),
    ("n[-1]", 2, "no number"),
    ("n[1-3:2]", 2, "no number"),
    ("n[1,3-1]", 4, "backwards"),
    ("n[1-70000]", 2, "more than 65536"),
    ("n[0-99999999999999999999]", 2, "no number"),
    ("a[1-2000]b[1-2000]", 10, "more than 1048576"),
    ("n[" + ",".join(["1-65536"] * 20) + "]", 1, "more than 1048576"),
]


@pytest.mark.parametrize(("text", "names"), EXPANDED + EXPANDED_SUFFIXES)
def test_expands_as_scontrol_does(text: str, names: str) -> None:
    assert expand(text) == names.split()


@pytest.mark.parametrize(("names", "plain", "ordered"), COMPRESSED)
def test_compresses_as_scontrol_does(names: str, plain: str, ordered: str) -> None:
    assert compress(names.split()) == plain
    assert compress(names.split(), sort=True) == ordered


@pytest.mark.parametrize(("text", "position", "words"), BROKEN)
def test_says_what_is_wrong_and_where(text: str, position: int, words: str) -> None:
    with pytest.raises(HostlistError) as caught:
        expand(text)
    assert caught.value.position == position
    assert words in str(caught.value)
    assert isinstance(caught.value, SlurmkitError)
    assert isinstance(caught.value, ValueError)
    assert caught.value.exit_code == EXIT_USAGE


@pytest.mark.parametrize("name", ["", "a,b", "n[1-2]", "a b"])
def test_compress_refuses_what_is_no_name(name: str) -> None:
    with pytest.raises(HostlistError):
        compress(["ok", name])


def test_absurd_ranges_fail_at_once() -> None:
    started = time.monotonic()
    for text in ("n[0-9999999999]", "a[1-65536]" * 4, "n[" + "[" * 100_000, "[1]" * 100_000 + "]"):
        with pytest.raises(HostlistError):
            expand(text)
    assert time.monotonic() - started < 10.0


def test_ranges_never_grow_past_what_slurm_reads_back() -> None:
    names = [f"n{number}" for number in range(1, MAX_RANGE + 3)]
    assert compress(names) == f"n[1-{MAX_RANGE},{MAX_RANGE + 1}-{MAX_RANGE + 2}]"
    assert expand(compress(names)) == names


PREFIXES = st.sampled_from(["", "n", "n-", "gpu", "b2-ib", "rack1n", "A"])
NUMBERS = st.builds(
    lambda number, width: str(number).zfill(width), st.integers(0, 130), st.integers(0, 4)
)
NAMES = st.lists(
    st.one_of(st.builds("".join, st.tuples(PREFIXES, NUMBERS)), st.sampled_from(["n", "x-", "y"])),
    max_size=40,
)


def _range(low: int, length: int, width: int) -> str:
    first = str(low).zfill(width)
    return first if length == 0 else f"{first}-{str(low + length).zfill(width)}"


RANGES = st.builds(_range, st.integers(0, 120), st.integers(0, 12), st.integers(0, 4))
BRACKETS = st.lists(RANGES, min_size=1, max_size=3).map(lambda ranges: f"[{','.join(ranges)}]")
WORDS = st.one_of(
    st.builds("".join, st.tuples(PREFIXES, NUMBERS)),
    st.builds("".join, st.tuples(PREFIXES, BRACKETS)),
    st.builds("".join, st.tuples(PREFIXES, BRACKETS, st.sampled_from(["", "-", "x"]), BRACKETS)),
)
LISTS = st.lists(WORDS, min_size=1, max_size=4).map(",".join)


@settings(deadline=None)
@given(NAMES)
def test_compress_is_undone_by_expand(names: list[str]) -> None:
    assert expand(compress(names)) == names
    assert sorted(expand(compress(names, sort=True))) == sorted(names)


@settings(deadline=None)
@given(LISTS)
def test_expand_is_undone_by_compress(text: str) -> None:
    names = expand(text)
    assert expand(compress(names)) == names


@settings(deadline=None)
@given(st.text(alphabet="n1-,[] 0x", max_size=24))
def test_any_text_is_a_list_or_a_hostlist_error(text: str) -> None:
    try:
        names = expand(text)
    except HostlistError:
        return
    assert all(names)


Scontrol = Callable[[str, str], str]


@pytest.fixture(scope="module")
def scontrol(tmp_path_factory: pytest.TempPathFactory) -> Scontrol:
    """Real scontrol; it answers these questions without a controller."""
    program = shutil.which("scontrol")
    if program is None:
        pytest.skip("no scontrol here to compare with")
    config: Path = tmp_path_factory.mktemp("scontrol") / "slurm.conf"
    config.write_text(
        "ClusterName=x\nSlurmctldHost=localhost\nNodeName=localhost\n"
        "PartitionName=p Nodes=localhost\n"
    )

    def show(what: str, text: str) -> str:
        return subprocess.run(
            [program, "show", what, text],
            env={"SLURM_CONF": str(config), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            check=True,
            timeout=10,
            text=True,
        ).stdout

    return show


@settings(max_examples=100, deadline=None)
@given(LISTS)
def test_expand_equals_real_scontrol(scontrol: Scontrol, text: str) -> None:
    assert expand(text) == scontrol("hostnames", text).split()


@settings(max_examples=100, deadline=None)
@given(NAMES.filter(bool))
def test_compress_equals_real_scontrol(scontrol: Scontrol, names: list[str]) -> None:
    assert compress(names) == scontrol("hostlist", ",".join(names)).strip()
    assert compress(names, sort=True) == scontrol("hostlistsorted", ",".join(names)).strip()
