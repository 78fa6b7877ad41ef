"""Directives that sbatch ignores."""

import pytest

from slurmkit.check.scripts import directives_after_command


@pytest.mark.parametrize(
    ("script", "lines"),
    [
        ("#!/bin/bash\n#SBATCH -N1\n\n# why\n#SBATCH -n1\ntrue\n", []),
        ("#!/bin/bash\nset -e\n#SBATCH -N1\n", [3]),
        ("#!/bin/bash\n#SBATCH -N1\nset -e\n# x\n#SBATCH -n1\n\n#SBATCH -c1\n", [5, 7]),
        ("#!/bin/bash\n  \t\n#SBATCH -N1\n", []),
        ("#!/bin/bash\ntrue\n #SBATCH -N1\n##SBATCH -n1\n# SBATCH -c1\n", []),
        ("#!/bin/bash\ncat > x <<'EOF'\n#SBATCH -N1\nEOF\n#SBATCH -n1\n", [5]),
        ("#!/bin/bash\ncat <<-END\n\t#SBATCH -N1\n#SBATCH -N1\n\tEND\ntrue\n", []),
        ("", []),
    ],
)
def test_lines(script: str, lines: list[int]) -> None:
    assert directives_after_command(script) == lines
