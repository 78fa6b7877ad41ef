"""A site's file on a node."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from slurmkit.health.config import (
    HealthConfigError,
    configured,
    node_of,
    read_config,
    read_own,
)

Put = Callable[[str, str], None]


def write(tmp_path: Path, **more: object) -> Path:
    path = tmp_path / "health.json"
    path.write_text(json.dumps({"format": "slurmkit-health", "version": 1, **more}))
    return path


def test_a_site_sets_thresholds_and_actions_per_node_type(tmp_path: Path, put: Put) -> None:
    path = write(
        tmp_path,
        common={"mounts": ["/home"], "checks": {"memory": {"thresholds": {"fail_share": 0.5}}}},
        kinds=[
            {
                "name": "dgx",
                "hosts": "dgx[01-04]",
                "num_gpus": 8,
                "mounts": ["/raid"],
                "checks": {"memory": {"action": "drain"}, "hugepages": {"off": True}},
            },
            {"name": "cpu", "hosts": "c[1-2]"},
        ],
        drains={"max_share": 0.25},
    )
    config = read_config(path)
    node = node_of(config, "dgx03")
    assert (node.num_gpus, node.mounts) == (8, ("/home", "/raid"))
    checks = {check.id: check for check in configured(config, "dgx03")}
    assert "hugepages" not in checks
    put("proc/meminfo", "MemTotal: 100 kB\nMemAvailable: 40 kB\n")
    found = checks["memory"].run(node.replace(root=tmp_path))
    assert (found.verdict, found.action) == ("fail", "drain")
    others = {check.id: check for check in configured(config, "c2")}
    assert others["memory"].action == "refuse"
    assert node_of(config, "elsewhere").num_gpus is None
    assert config.drains.max_share == 0.25


def test_a_file_that_makes_no_sense_says_so(tmp_path: Path) -> None:
    for text in ("[]", '{"format": "x"}', "{"):
        (tmp_path / "h.json").write_text(text)
        with pytest.raises(HealthConfigError, match=r"h\.json"):
            read_config(tmp_path / "h.json")
    bad = {"kinds": [{"checks": {"memory": {"action": "explode"}}}]}
    with pytest.raises(HealthConfigError, match="no action 'explode'"):
        read_config(write(tmp_path, **bad))
    with pytest.raises(HealthConfigError, match="gone"):
        read_config(tmp_path / "gone")
    assert read_own({"SLURMKIT_HEALTH_CONF": str(tmp_path / "gone")}).kind_of("n1").name == ""
    with pytest.raises(HealthConfigError, match="no JSON"):
        read_own({"SLURMKIT_HEALTH_CONF": str(tmp_path / "h.json")})
    (tmp_path / "file").touch()
    with pytest.raises(HealthConfigError, match="Not a directory"):
        read_own({"SLURMKIT_HEALTH_CONF": str(tmp_path / "file/h.json")})
