"""A small cluster as plain values, and a judge that takes a job.yaml to what is wrong with it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from slurmkit.check import Facts, check_job
from slurmkit.errors import Problem
from slurmkit.limits import (
    LicenseInfo,
    Limits,
    NodeShape,
    PartitionLimits,
    QosLimits,
    ReservationInfo,
)
from slurmkit.plan.planner import Context, make_plan
from slurmkit.render.renderer import render
from slurmkit.site.models import Site
from slurmkit.spec.loader import Job, load

NOW = 1_800_000_000.0
HOUR = 3600

Judge = Callable[..., list[Problem]]


def make_cluster(
    partitions: Mapping[str, Mapping[str, Any]] | None = None, **changes: Any
) -> Limits:
    """Return the cluster; ``partitions`` changes fields of some, ``changes`` those of the whole."""
    small = NodeShape(("n1", "n2", "n3", "n4"), 32, 64 * 1024, features=frozenset({"cpu", "rack1"}))
    large = NodeShape(
        ("g1", "g2"), 64, 512 * 1024, 8, "h100", frozenset({"gpu", "rack2", "nvlink"})
    )
    known = {
        "batch": PartitionLimits(
            "batch", default=True, max_time_s=24 * HOUR, default_time_s=HOUR, nodes=(small,)
        ),
        "gpu": PartitionLimits(
            "gpu", max_time_s=7 * 24 * HOUR, default_time_s=HOUR, nodes=(large,)
        ),
        "all": PartitionLimits("all", default_time_s=HOUR, nodes=(small, large)),
    }
    for name, fields in (partitions or {}).items():
        known[name] = replace(known.get(name, PartitionLimits(name)), **fields)
    limits = Limits(
        cluster="alps",
        version=(22, 5),
        partitions=known,
        accounting=True,
        accounting_enforced=frozenset({"associations", "limits", "qos"}),
        accounts=frozenset({"physics", "biology"}),
        default_account="physics",
        qos={
            "normal": QosLimits("normal"),
            "debug": QosLimits("debug", HOUR // 2, max_nodes_per_job=2, max_gpus_per_job=8),
            "high": QosLimits("high"),
            "low": QosLimits("low"),
        },
        reservations={
            "workshop": ReservationInfo(
                "workshop", NOW - HOUR, NOW + HOUR, 2, users=frozenset({"user1", "user2", "user3"})
            )
        },
        licenses={"matlab": LicenseInfo("matlab", 10, 3)},
        mpi_plugins=frozenset({"none", "pmix", "pmi2"}),
        user="user1",
        user_groups=frozenset({"users", "students"}),
    )
    return replace(limits, **changes)


def make_machine(**changes: Any) -> Facts:
    """Return a machine on which everything that a job names is there."""
    machine = Facts(
        now=NOW,
        user="user1",
        uid=1000,
        groups=frozenset({"users", "students"}),
        host="login",
        environ_bytes=4000,
    )
    return replace(machine, **changes)


@pytest.fixture
def job_of(tmp_path: Path) -> Callable[[str], Job]:
    """Return a function that writes a job.yaml and loads it."""

    def make(text: str) -> Job:
        text = text if text.endswith("\n") else f"{text}\n"
        if "\nname:" not in f"\n{text}":
            text += "name: train\n"
        if "launch:" not in text:
            text += "launch: {command: [hostname]}\n"
        path = tmp_path / "job.yaml"
        path.write_text(text, encoding="utf-8")
        return load(path)

    return make


@pytest.fixture
def judge(job_of: Callable[[str], Job]) -> Judge:
    """Return a function from YAML text, cluster, machine, site and script to the problems.

    ``cluster``, ``machine`` and ``site`` are the fields that differ from the usual ones; a cluster
    of None is one that nobody asked.
    """

    def check(
        text: str,
        cluster: Mapping[str, Any] | None = MappingProxyType({}),
        machine: Mapping[str, Any] = MappingProxyType({}),
        site: Mapping[str, Any] = MappingProxyType({}),
        script: Callable[[str], str] = lambda script: script,
    ) -> list[Problem]:
        job = job_of(text)
        here = Site.model_validate({"name": "alps", **site})
        limits = None if cluster is None else make_cluster(**cluster)
        plan = make_plan(job.spec, here, limits, Context(str(job.base_dir), "/data/runs"))
        written = script(render(plan, []))
        return check_job(job, plan, here, limits, make_machine(**machine), written)

    return check
