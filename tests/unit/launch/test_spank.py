"""The launcher believes only a token of its own task."""

import pytest

from slurmkit.errors import UsageError
from slurmkit.launch.spank import require_plugin

TASK = {
    "SLURM_JOB_ID": "12",
    "SLURM_STEP_ID": "0",
    "SLURM_PROCID": "3",
    "SLURMD_NODENAME": "node2",
}


@pytest.mark.parametrize(
    "wanted", [{}, {"SLURMKIT_REQUIRE_SPANK": ""}, {"SLURMKIT_REQUIRE_SPANK": "0"}]
)
def test_nobody_asks(wanted: dict[str, str]) -> None:
    require_plugin(TASK | wanted)


def test_the_plugin_ran() -> None:
    require_plugin(TASK | {"SLURMKIT_REQUIRE_SPANK": "1", "SLURMKIT_SPANK": "0.1.0@12.0.3"})


@pytest.mark.parametrize("token", ["", "0.1.0", "0.1.0@12.0.2", "0.1.0@11.0.3", "0.1.0@112.0.3"])
def test_the_plugin_did_not_run_here(token: str) -> None:
    with pytest.raises(UsageError, match="node2: the SPANK plugin"):
        require_plugin(TASK | {"SLURMKIT_REQUIRE_SPANK": "1", "SLURMKIT_SPANK": token})
