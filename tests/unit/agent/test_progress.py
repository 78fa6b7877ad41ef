"""How far all ranks are, from what nodes say."""

from slurmkit.supervise.progress import ProgressBoard
from slurmkit.supervise.progress_phases import PhaseBoard


def say(board: ProgressBoard, host: str, low: tuple[int, int], high: tuple[int, int]) -> None:
    board.report(
        host,
        {"low": low[0], "low_rank": low[1], "high": high[0], "high_rank": high[1], "num_ranks": 2},
    )


def test_the_slowest_counts() -> None:
    board = ProgressBoard()
    say(board, "n1", (10, 0), (11, 1))
    say(board, "n2", (9, 3), (12, 2))
    found = board.take()
    assert found is not None
    assert (found.step, found.rank_min, found.host_min) == (9, 3, "n2")
    assert (found.step_max, found.rank_max, found.num_ranks) == (12, 2, 4)
    assert board.take() is None
    assert board.behind() == (3,)


def test_a_lost_node_holds_nobody_back() -> None:
    board = ProgressBoard()
    say(board, "n1", (10, 0), (10, 1))
    say(board, "n2", (3, 2), (3, 3))
    board.forget("n2")
    found = board.take()
    assert found is not None
    assert found.step == 10
    assert board.behind() == ()


def test_a_new_attempt_starts_from_nothing() -> None:
    board = ProgressBoard()
    say(board, "n1", (10, 0), (10, 1))
    board.clear()
    assert board.take() is None


def test_a_save_counts_from_when_all_are_in_it_until_the_last_is_out() -> None:
    board = PhaseBoard()
    board.join(0)
    board.join(1)
    assert not board.enter(0, "save")
    assert board.phase == "run"
    assert board.enter(1, "save")
    assert board.phase == "save"
    assert not board.enter(0, "run")
    assert board.phase == "save"
    assert board.enter(1, "run")
    assert board.phase == "run"


def test_a_rank_that_never_enters_a_save_is_not_in_it() -> None:
    board = PhaseBoard()
    for rank in (0, 1):
        board.join(rank)
        board.enter(rank, "save")
        board.enter(rank, "run")
    board.enter(0, "save")
    assert board.phase == "run"


def test_a_member_that_leaves_is_not_waited_for() -> None:
    board = PhaseBoard()
    board.join(0)
    board.join(1)
    board.enter(0, "save")
    assert board.leave(1)
    assert board.phase == "save"
