"""The launcher believes only a token of its own task."""

import pytest

from slurmkit.errors import UsageError
from slurmkit.launch.spank import bound_by_plugin, require_plugin

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


@pytest.mark.parametrize("note", ["", " bound"])
def test_the_plugin_ran(note: str) -> None:
    env = TASK | {"SLURMKIT_REQUIRE_SPANK": "1", "SLURMKIT_SPANK": f"0.1.0@12.0.3{note}"}
    require_plugin(env)
    assert bound_by_plugin(env) is bool(note)


def test_a_task_on_another_node_was_bound_not_this_one() -> None:
    assert not bound_by_plugin(TASK | {"SLURMKIT_SPANK": "0.1.0@12.0.2 bound"})
    assert not bound_by_plugin(TASK)


@pytest.mark.parametrize("token", ["", "0.1.0", "0.1.0@12.0.2", "0.1.0@11.0.3", "0.1.0@112.0.3"])
def test_the_plugin_did_not_run_here(token: str) -> None:
    with pytest.raises(UsageError, match="node2: the SPANK plugin"):
        require_plugin(TASK | {"SLURMKIT_REQUIRE_SPANK": "1", "SLURMKIT_SPANK": token})
