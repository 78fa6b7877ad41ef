"""Warnings, SIGTERM and full disks: real ranks save at one boundary and stop, or go on."""

import pytest

ALL = [0, 1]


def order(step, signal, ranks=ALL, after_s=0.0):
    return {"step": step, "signal": signal, "ranks": ranks, "after_s": after_s}


def errors(folder):
    return "".join((folder / f"rank-{rank}.err").read_text() for rank in ALL)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("USR2", [1]),
        ("TERM", ALL),
        pytest.param("USR2", [0], marks=pytest.mark.long),
        pytest.param("USR2", ALL, marks=pytest.mark.long),
        pytest.param("TERM", [1], marks=pytest.mark.long),
    ],
)
def test_told_to_stop_all_ranks_save_the_same_step_and_end_with_75(ranks, tmp_path, name, told):
    # Ranks ask each other four times a second: the training lasts long enough for that.
    end = ranks(tmp_path, every=1000, step_s=0.03, orders=[order(5, f"SIG{name}", told)])
    assert end["codes"] == [75, 75], errors(tmp_path)
    assert len(end["steps"]) == 1
    assert 5 <= end["steps"][0] <= 25
    again = ranks(tmp_path, every=1000)
    assert again["codes"] == [0, 0]
    undisturbed = ranks(tmp_path / "undisturbed", every=1000)
    assert [result["digest"] for result in again["results"]] == [
        result["digest"] for result in undisturbed["results"]
    ]


def test_a_second_signal_in_a_save_never_starts_another(ranks, tmp_path):
    # The save begins within half a second: these come before it, in it and after it.
    orders = [order(5, "SIGUSR2"), *[order(5, "SIGTERM", after_s=0.04) for _ in range(14)]]
    end = ranks(tmp_path, every=1000, step_s=0.03, orders=orders)
    assert end["codes"] == [75, 75], errors(tmp_path)
    assert len(end["steps"]) == 1
    assert errors(tmp_path).count("saved step") == 1


def test_no_time_left_keeps_the_save_before(ranks, tmp_path):
    # With a grace of nothing the deadline has passed when the ranks come to the boundary.
    orders = [order(12, "SIGTERM")]
    env = {"SLURMKIT_GRACE_S": "0.1"}
    end = ranks(tmp_path, every=10, step_s=0.05, orders=orders, env=env)
    assert end["codes"] == [75, 75], errors(tmp_path)
    assert end["steps"] == [10]
    assert "no time left to save step" in errors(tmp_path)


def test_a_full_disk_fails_the_save_and_not_the_training(ranks, tmp_path):
    # Files larger than a limit are refused by the kernel (EFBIG), as on a full disk. The limit
    # would also meet the memory that an asynchronous save is staged in.
    end = ranks(tmp_path, every=5, file_limit=4096, session={"asynchronous": False})
    assert end["codes"] == [0, 0], errors(tmp_path)
    assert end["steps"] == []
    assert "is not saved, training goes on, next try in 5 s" in errors(tmp_path)
    undisturbed = ranks(tmp_path / "undisturbed", every=5)
    assert end["results"][0]["digest"] == undisturbed["results"][0]["digest"]


def test_a_damaged_step_is_passed_over(ranks, tmp_path):
    first = ranks(tmp_path, every=5, session={"asynchronous": False})
    assert first["steps"] == [20, 25, 26]
    for step in (25, 26):
        part = max(
            (tmp_path / "checkpoints" / f"step-{step:010d}").iterdir(),
            key=lambda path: path.stat().st_size,
        )
        data = bytearray(part.read_bytes())
        data[len(data) // 2] ^= 1
        part.write_bytes(data)
    again = ranks(tmp_path, every=5)
    assert again["codes"] == [0, 0], errors(tmp_path)
    assert again["results"] == first["results"]
    assert "goes on from step 20" in errors(tmp_path)
    assert len(list((tmp_path / "checkpoints/quarantine").iterdir())) == 2


def test_another_attempt_that_took_over_ends_this_one(ranks, tmp_path):
    fence = tmp_path / "checkpoints" / "fence"
    end = ranks(tmp_path, every=3, step_s=0.02, steal_fence_at=8)
    assert 1 in end["codes"], end
    assert "StaleTokenError" in errors(tmp_path)
    assert fence.read_text().strip() != ""
    assert all(step <= 10 for step in end["steps"])
