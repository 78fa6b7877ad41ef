"""The rewriting of srun lines for one launch."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slurmkit.supervise.relaunch import can_move, num_nodes, on_nodes, parse

RENDERED = [
    *["srun", "--nodes=2", "--ntasks=16", "--ntasks-per-node=8", "--cpus-per-task=4"],
    *["--distribution=block", "--relative=0", "--kill-on-bad-exit=1", "--label", "--mpi=none"],
    *["/opt/slurmkit", "exec", "--", "python", "train.py", "--nodes=9", "-n", "3"],
]
PROGRAM = ["/opt/slurmkit", "exec", "--", "python", "train.py", "--nodes=9", "-n", "3"]


def test_a_rendered_line() -> None:
    said = on_nodes(RENDERED, ["n1", "n3"], name="attempt-2")
    assert said == [
        *[
            "srun",
            "--nodes=2",
            "--ntasks=16",
            "--ntasks-per-node=8",
            "--nodelist=n[1,3]",
            "--overlap",
        ],
        *["--job-name=attempt-2", "--cpus-per-task=4", "--distribution=block"],
        *["--kill-on-bad-exit=1", "--label", "--mpi=none"],
        *PROGRAM,
    ]


def test_fewer_nodes_run_fewer_ranks() -> None:
    said = on_nodes(RENDERED, ["n7"], name="a")
    assert said[1:4] == ["--nodes=1", "--ntasks=8", "--ntasks-per-node=8"]


@pytest.mark.parametrize(
    "options",
    [
        "-N2 -n16 -c4 -l",
        "-N 2 -n 16 -c 4 -l",
        "--nodes 2 --ntasks 16 --cpus-per-task 4 --label",
        "-lN2 --ntasks=16 -c4",
        "-N2 -n16 -c4 -l -w n5 -x n6 -r 1 --overlap -J mine",
        "-N2 -n16 -c4 -l --nodelist n5 --exclude=n6 --relative 1 --job-name mine",
        "-N2-2 --ntasks-per-node=8 -c4 -K1 -l",
    ],
)
def test_however_people_write_it(options: str) -> None:
    said = on_nodes(["srun", *options.split(), "train", "-N", "9"], ["n1"], name="a")
    assert said[:4] == ["srun", "--nodes=1", "--ntasks=8", "--ntasks-per-node=8"]
    rest = said[4:-3]
    assert rest.count("--nodelist=n1") == rest.count("--overlap") == 1
    left_over = ("-w", "-x", "-r", "-J", "mine", "n5", "n6", "--relative", "1", "-N", "-N2")
    assert not set(left_over) & set(rest)
    assert "-c4" in rest or "4" in rest
    assert "-l" in rest or "--label" in rest
    assert said[-3:] == ["train", "-N", "9"]


def test_flags_take_no_word_of_the_program() -> None:
    line = parse(
        [
            "srun",
            "--kill-on-bad-exit",
            "--exclusive",
            "-u",
            "--pty",
            "--mpi",
            "none",
            "./a.out",
            "x",
        ]
    )
    assert line is not None
    assert line.program == ("./a.out", "x")
    assert line.value("mpi") == "none"


def test_two_dashes_end_the_options() -> None:
    line = parse(["srun", "-n", "2", "--", "-odd-program"])
    assert line is not None
    assert line.program == ("-odd-program",)


def test_what_is_not_srun_stays() -> None:
    command = ["mpirun", "-np", "4", "a.out"]
    assert on_nodes(command, ["n1"], name="a") == command
    assert not can_move(command, {})
    assert num_nodes(command) is None


def test_heterogeneous_jobs_stay_as_they_are() -> None:
    assert can_move(RENDERED, {})
    assert not can_move(RENDERED, {"SLURM_HET_SIZE": "2"})
    assert not can_move(["srun", "--het-group=0,1", "a.out"], {})


def test_how_many_nodes_a_line_names() -> None:
    assert num_nodes(RENDERED) == 2
    assert num_nodes(["srun", "-N3-5", "a"]) == 3
    assert num_nodes(["/usr/bin/srun", "-n", "4", "a"]) is None


_flags = st.sampled_from(["--label", "-l", "-u", "--mpi=none", "--kill-on-bad-exit=1", "-K1"])
_sizes = st.sampled_from([["-N", "2"], ["--nodes=2"], ["-n8"], ["--ntasks", "8"], ["-w", "n[1-2]"]])
_options = st.lists(st.one_of(_flags.map(lambda word: [word]), _sizes), max_size=8)


@settings(deadline=None)  # a busy machine is no failure
@given(_options, st.lists(st.text("abc-=N ", min_size=1), max_size=5))
def test_the_program_is_never_touched_and_twice_is_once(
    options: list[list[str]], arguments: list[str]
) -> None:
    words = [word for group in options for word in group]
    command = ["srun", *words, "program", *arguments]
    once = on_nodes(command, ["n1", "n2"], name="a")
    assert once[len(once) - len(arguments) - 1 :] == ["program", *arguments]
    twice = on_nodes(once, ["n1", "n2"], name="a")  # now with its tasks per node
    assert on_nodes(twice, ["n1", "n2"], name="a") == twice
