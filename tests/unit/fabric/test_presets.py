"""Presets of fabrics: what jobs get, what wins over it, and what the tables promise."""

import re
from typing import Any

import pytest
from pydantic import ValidationError

from slurmkit.plan.model import Plan
from slurmkit.plan.planner import Context, make_plan
from slurmkit.site.fabric import environment, expectation, settings, traffic_class
from slurmkit.site.fabric_presets import EXPECTED, PRESETS
from slurmkit.site.fabric_reference import markdown
from slurmkit.site.models import Site
from slurmkit.spec.models import JobSpec
from slurmkit.topology.affinity_env import VARIABLES
from slurmkit.topology.gids import parse_subnets

_TWO = {"resources": {"nodes": 2}}


def site(fabric: Any, **more: Any) -> Site:
    return Site.model_validate({"fabric": fabric, **more})


def env_of(fabric: Any) -> dict[str, str]:
    found = site(fabric).fabric
    assert found is not None
    return environment(found)


def plan(job: dict[str, Any], at: Site) -> Plan:
    spec = JobSpec.model_validate({"name": "demo", "launch": {"command": ["true"]}, **job})
    return make_plan(spec, at, None, Context(base_dir="/home/job", run_root="/shared/runs"))


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_alone_has_a_reason_and_a_source_for_every_value(name: str) -> None:
    fabric = site(name).fabric
    assert fabric is not None
    for setting in settings(fabric):
        assert setting.value, setting
        assert len(setting.reason) > 10, setting
        assert "https://" in setting.source or setting.source == "site.yaml", setting


@pytest.mark.parametrize("name", PRESETS)
def test_no_variable_has_two_owners(name: str) -> None:
    assert not {row.name for row in PRESETS[name].rows} & set(VARIABLES)
    names = [row.name for row in PRESETS[name].rows]
    assert len(names) == len(set(names))


def test_roce_marks_packets_and_ethernet_does_without_hcas() -> None:
    roce, ethernet, infiniband = map(env_of, ("roce-800", "ethernet", "infiniband-ndr"))
    assert roce["NCCL_IB_TC"] == roce["UCX_IB_TRAFFIC_CLASS"] == "106"
    assert roce["OMPI_MCA_pml"] == "ucx"
    assert roce["SLURMKIT_GID"] == "auto"
    assert ethernet["NCCL_IB_DISABLE"] == "1"
    assert ethernet["OMPI_MCA_pml"] == "ob1"
    assert not {"NCCL_IB_TC", "SLURMKIT_GID"} & (set(ethernet) | set(infiniband))


@pytest.mark.parametrize(("dscp", "byte"), [(26, 106), (24, 98), (0, 2), (46, 186)])
def test_traffic_class_is_dscp_with_ecn(dscp: int, byte: int) -> None:
    assert traffic_class(dscp) == byte
    assert env_of({"preset": "roce-400", "dscp": dscp})["NCCL_IB_TC"] == str(byte)


def test_keys_change_what_the_preset_says() -> None:
    env = env_of(
        {
            "preset": "roce-400",
            "subnet": "10.1.0.0/16",
            "socket_interface": "bond0",
            "missing_gid": "error",
            "env": {"NCCL_IB_TIMEOUT": "20", "NCCL_DEBUG": "WARN"},
            "leave_out": ["NCCL_IB_QPS_PER_CONNECTION"],
        }
    )
    assert env["NCCL_IB_ADDR_RANGE"] == env["SLURMKIT_GID_SUBNET"] == "10.1.0.0/16"
    assert (env["NCCL_SOCKET_IFNAME"], env["GLOO_SOCKET_IFNAME"]) == ("=bond0", "bond0")
    assert env["OMPI_MCA_btl_tcp_if_include"] == "bond0"
    assert env["SLURMKIT_GID"] == "strict"
    assert (env["NCCL_IB_TIMEOUT"], env["NCCL_DEBUG"]) == ("20", "WARN")
    assert "NCCL_IB_QPS_PER_CONNECTION" not in env


def test_the_index_of_the_gid_can_be_named_or_left_alone() -> None:
    named = env_of({"preset": "roce-400", "gid_index": 5})
    assert (named["NCCL_IB_GID_INDEX"], named["UCX_IB_GID_INDEX"]) == ("5", "5")
    assert "SLURMKIT_GID" not in named
    left = env_of({"preset": "roce-400", "gid_index": "off"})
    assert not {"SLURMKIT_GID", "NCCL_IB_GID_INDEX"} & set(left)


def test_nccl_gets_no_range_where_there_are_several_networks() -> None:
    env = env_of({"preset": "roce-400", "subnet": "10.1.0.0/16, 10.2.0.0/16"})
    assert "NCCL_IB_ADDR_RANGE" not in env
    assert env["SLURMKIT_GID_SUBNET"] == "10.1.0.0/16,10.2.0.0/16"


def test_a_network_comes_to_the_ranks_as_they_read_it() -> None:
    env = env_of({"preset": "roce-400", "subnet": "10.1.0.0/255.255.0.0"})
    assert env["NCCL_IB_ADDR_RANGE"] == env["SLURMKIT_GID_SUBNET"] == "10.1.0.0/16"
    several = env_of({"preset": "roce-400", "subnet": "10.1.0.0/255.255.0.0 ,10.2.0.7"})
    assert parse_subnets(several["SLURMKIT_GID_SUBNET"]) == parse_subnets("10.1.0.0/16,10.2.0.7/32")


@pytest.mark.parametrize(
    "fabric",
    [
        "roce",
        {"preset": "roce-400", "subnet": "10.1.0.0/33"},
        {"preset": "roce-400", "subnet": "ten"},
        {"preset": "roce-400", "gid_index": 256},
        {"preset": "roce-400", "gid_index": "some"},
        {"preset": "roce-400", "dscp": 64},
        {"subnet": "10.1.0.0/16"},
    ],
)
def test_what_is_wrong_is_refused(fabric: Any) -> None:
    with pytest.raises(ValidationError):
        site(fabric)


def test_expectations_come_from_the_preset_unless_the_site_knows_better() -> None:
    found = site({"preset": "roce-800", "rate_gbps": 400, "mtu": 4200, "priority": 0}).fabric
    assert found is not None
    want = expectation(found)
    assert (want.rate_gbps, want.mtu, want.priority, want.dscp) == (400, 4200, 0, 26)
    plain = site("roce-800").fabric
    assert plain is not None
    assert expectation(plain)._replace(preset="") == ("", True, 800.0, 9000, "", 26, 3, True)


def test_site_and_job_win_over_the_fabric_and_a_shell_does_too() -> None:
    at = site("roce-800", env={"NCCL_IB_TC": "96"})
    found = plan({**_TWO, "env": {"UCX_TLS": "rc,self,sm"}}, at)
    env = dict(found.env)
    assert (env["NCCL_IB_TC"], env["UCX_TLS"], env["NCCL_IB_TIMEOUT"]) == ("96", "rc,self,sm", "22")
    assert "NCCL_IB_TIMEOUT" in found.defaults
    assert not {"NCCL_IB_TC", "UCX_TLS"} & set(found.defaults)


def test_a_job_on_one_node_has_no_use_for_it() -> None:
    assert "NCCL_IB_TC" not in dict(plan({}, site("roce-800")).env)
    assert plan({}, site("roce-800")).defaults == ()


@pytest.mark.parametrize(
    ("partition", "applies"), [("gpu", True), ("gpu,cpu", False), ("cpu", False), (None, False)]
)
def test_partitions_elsewhere_get_none_of_it(partition: str | None, applies: bool) -> None:
    at = site({"preset": "roce-800", "partitions": ["gpu"]})
    resources = {"nodes": 2, **({"partition": partition} if partition else {})}
    assert ("NCCL_IB_TC" in dict(plan({"resources": resources}, at).env)) is applies


def test_what_bash_would_read_stands_as_it_is() -> None:
    at = site({"preset": "roce-400", "env": {"NCCL_DEBUG_FILE": "/scratch/$(id).%h"}})
    found = plan(_TWO, at)
    assert "NCCL_DEBUG_FILE" in dict(found.env)
    assert "NCCL_DEBUG_FILE" not in found.defaults


def test_the_reference_page_names_every_variable_and_every_expectation() -> None:
    page = markdown()
    for preset in PRESETS.values():
        for row in preset.rows:
            assert f"`{row.name}`" in page
            assert row.reason in page
    for key, _why, source in EXPECTED:
        assert f"| `{key}` |" in page
        assert source in page
    assert not re.search(r"\{[a-z]+\}", page)
