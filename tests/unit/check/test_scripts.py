"""What is read from command lines and shell text without running them."""

import pytest

from slurmkit.check.scripts import directives_after_command, script_argument, shell_complaint


@pytest.mark.parametrize(
    ("command", "index"),
    [
        ("python train.py", 1),
        ("python -u train.py --lr 1", 2),
        ("/opt/bin/python3.11 -W ignore -X dev train.py", 5),
        ("python -Wignore train.py", 2),
        ("python -m torch.distributed.run train.py", None),
        ("python -um package", None),
        ("python -c pass", None),
        ("python", None),
        ("python -", None),
        ("python {sweep.program}", None),
        ("bash run.sh", 1),
        ("bash -c true", None),
        ("Rscript fit.R", 1),
        ("julia --project fit.jl", None),
        ("hostname train.py", None),
        ("./solve input.dat", None),
    ],
)
def test_the_file_that_an_interpreter_runs(command: str, index: int | None) -> None:
    assert script_argument(command.split(" ")) == index


def test_directives_that_sbatch_ignores() -> None:
    script = "\n".join(
        [
            "#!/bin/bash",
            "#SBATCH --nodes=1",
            "",
            "# a comment",
            "#SBATCH --mem=1G",
            "cat <<'END' > other.sbatch",
            "#SBATCH --of=another",
            "END",
            "  #SBATCH --indented",
            "#SBATCH --time=1",
        ]
    )
    assert directives_after_command(script) == [10]


def test_what_bash_says_about_its_syntax() -> None:
    assert shell_complaint("export A=1\nif true; then echo; fi") == ""
    assert "line 2" in shell_complaint("echo\nfi")
    assert shell_complaint("exit 3") == "", "nothing is run"
