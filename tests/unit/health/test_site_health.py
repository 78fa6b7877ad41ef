"""The key health of site.yaml, and the file that nodes read."""

from pathlib import Path

import pytest

from slurmkit.errors import InvalidInputError
from slurmkit.health.config import DrainLimits, configured, node_of, read_config
from slurmkit.health.registry import all_checks
from slurmkit.site.generate.release import Release
from slurmkit.site.health import health_json, slurm_conf_lines
from slurmkit.site.health_checks import THRESHOLDS
from slurmkit.site.lookup import read_site
from slurmkit.site.models import Site

DGX = {"nodes": "dgx[01-04]", "gpus": 8, "memory": "2000G", "cpus": 224}


def site(**health: object) -> Site:
    types = {"dgx": DGX, "cpu": {"nodes": "c[1-2]"}}
    return Site.model_validate({"node_types": types, "health": health})


def test_site_yaml_knows_every_check_and_every_threshold() -> None:
    known = {check.id: tuple(item.name for item in check.thresholds) for check in all_checks()}
    assert known == THRESHOLDS


def test_what_a_site_says_is_what_its_nodes_do(tmp_path: Path) -> None:
    described = site(
        mounts=["/home"],
        checks={"gpu-temperature": {"thresholds": {"warn_c": 80}}, "hugepages": {"action": "off"}},
        node_types={"dgx": {"mounts": ["/raid"], "checks": {"gpu-count": {"action": "evict"}}}},
        max_drained_share=0.02,
        fail_after=1,
    )
    path = tmp_path / "health.json"
    path.write_text(health_json(described))
    config = read_config(path)
    node = node_of(config, "dgx02")
    assert (node.num_gpus, node.memory_mib, node.num_cpus) == (8, 2000 * 1024, 224)
    assert node.mounts == ("/home", "/raid")
    checks = {check.id: check for check in configured(config, "dgx02")}
    assert checks["gpu-count"].action == "evict"
    assert [item.value for item in checks["gpu-temperature"].thresholds] == [80, 92, 105]
    assert "hugepages" not in checks
    assert node_of(config, "c1").mounts == ("/home",)
    others = {check.id: check for check in configured(config, "c1")}
    assert others["gpu-count"].action == "drain"
    assert config.drains == DrainLimits(max_share=0.02, fail_after=1)


def test_a_site_without_the_key_has_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "health.json"
    path.write_text(health_json(Site()))
    config = read_config(path)
    assert config.drains == DrainLimits()
    assert [check.id for check in configured(config, "n1")] == list(THRESHOLDS)


def test_a_node_type_without_nodes_is_nobodys_and_others_have_what_all_have(tmp_path: Path) -> None:
    types = {"later": {"gpus": 8}, "cpu": {"nodes": "c[1-2]"}}
    health = {"mounts": ["/home"], "checks": {"hugepages": {"action": "off"}}}
    path = tmp_path / "health.json"
    path.write_text(health_json(Site.model_validate({"node_types": types, "health": health})))
    config = read_config(path)
    for host in ("c1", "login"):
        assert (node_of(config, host).num_gpus, node_of(config, host).mounts) == (None, ("/home",))
        assert "hugepages" not in {check.id for check in configured(config, host)}


def test_nodes_of_a_sandbox_claim_what_they_lack(tmp_path: Path) -> None:
    sandbox = Site.model_validate({"node_types": {"dgx": DGX}, "slurm": {"confine": False}})
    path = tmp_path / "health.json"
    path.write_text(health_json(sandbox))
    node = node_of(read_config(path), "dgx01")
    assert (node.num_gpus, node.memory_mib, node.num_cpus) == (8, None, None)
    assert read_config(path).state_dir == Path("/run/slurmkit/health")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("checks: {colour: {action: note}}", "health.checks.colour"),
        ("checks: {memory: {action: explode}}", "health.checks.memory.action"),
        ("checks: {memory: {thresholds: {warn_c: 3}}}", "health.checks.memory.thresholds.warn_c"),
        ("node_types: {gb: {mounts: [/raid]}}", "health.node_types.gb"),
        ("max_drained_share: 2", "health.max_drained_share"),
    ],
)
def test_what_makes_no_sense_is_named_with_its_line(tmp_path: Path, text: str, key: str) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(f"node_types: {{dgx: {{gpus: 8}}}}\nhealth:\n  {text}\n")
    with pytest.raises(InvalidInputError) as caught:
        read_site(path)
    (problem,) = caught.value.problems
    assert problem.key == key
    assert problem.where is not None
    assert problem.where.line == 3


def test_lines_of_slurm_conf() -> None:
    release = Release(22, 5)
    assert slurm_conf_lines(site(interval_s=30), release) == [
        "HealthCheckProgram=/etc/slurm/slurmkit-health.sh",
        "HealthCheckInterval=30",
        "HealthCheckNodeState=ANY",
    ]
    large = Site.model_validate({"node_types": {"dgx": {"nodes": "dgx[001-200]"}}})
    assert "HealthCheckNodeState=ANY,CYCLE" in slurm_conf_lines(large, release)


@pytest.mark.parametrize("interval_s", [1, 5, 10, 20, 30, 60, 300])
def test_checks_end_before_slurm_ends_them(interval_s: int, tmp_path: Path) -> None:
    described = site(interval_s=interval_s)
    said = slurm_conf_lines(described, Release(26, 5))[-1]
    limit_s = int(said.removeprefix("HealthCheckTimeout="))
    assert limit_s <= max(1, interval_s - 1)
    path = tmp_path / "health.json"
    path.write_text(health_json(described))
    assert 0 < read_config(path).within_s < limit_s
    if interval_s >= 60:
        assert read_config(path).within_s == 45
