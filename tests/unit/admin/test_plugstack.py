"""plugstack.conf keeps every byte that is not ours."""

from hypothesis import given
from hypothesis import strategies as st

from slurmkit.admin.plugstack import BEGIN, Entry, entries, with_block, without_block

OURS = [
    Entry("optional", "/p/spank_slurmkit_rank.so"),
    Entry("optional", "/p/a.so", ("mode=warn",)),
]
LINES = st.lists(
    st.sampled_from(["required /x/pyxis.so a=b", "# words", "", "include /etc/slurm/p.d/*.conf"])
)


@given(LINES)
def test_install_and_uninstall_leave_the_rest(lines: list[str]) -> None:
    text = "".join(f"{line}\n" for line in lines)
    once = with_block(text, OURS)
    assert with_block(once, OURS) == once
    assert without_block(once) == text
    assert entries(once) == entries(text) + OURS


def test_a_file_without_a_last_newline() -> None:
    text = with_block("required /x.so", OURS)
    assert text.startswith(f"required /x.so\n{BEGIN}\n")
    assert text.endswith("\n")


def test_a_block_without_its_end_takes_nothing_with_it() -> None:
    assert without_block(f"{BEGIN}\nrequired /x.so\n") == "required /x.so\n"


def test_comments_and_includes_load_nothing_here() -> None:
    text = "# required /a.so\ninclude /b\noptional c.so x=1 y=2 # why\nrequired\n"
    assert entries(text) == [Entry("optional", "c.so", ("x=1", "y=2"))]
