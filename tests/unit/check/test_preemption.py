"""Whose jobs may be pushed aside without time to save, by partitions and by QOS."""

from collections.abc import Callable
from typing import Any

import pytest

from slurmkit.errors import Problem
from slurmkit.limits import QosLimits

_JOB = "checkpoint: true\nresources: {partition: batch, qos: low}\n"
_TIERS = {"tiers": {"best-effort": {"qos": "low", "preemptible": True}}}


@pytest.mark.parametrize(
    ("cluster", "site", "expected"),
    [
        # by partitions: another one of a higher tier on the same nodes
        ({"batch": {"preempt_mode": "REQUEUE"}, "all": {"priority_tier": 9}}, {}, "partition"),
        (
            {"batch": {"preempt_mode": "REQUEUE", "grace_s": 60}, "all": {"priority_tier": 9}},
            {},
            "",
        ),
        ({"batch": {"preempt_mode": "OFF"}, "all": {"priority_tier": 9}}, {}, ""),
        ({"batch": {"preempt_mode": "REQUEUE"}}, {}, ""),
        ({"batch": {"preempt_mode": "REQUEUE"}, "gpu": {"priority_tier": 9}}, {}, ""),
        # by QOS: site.yaml says which tier may be
        ({"qos": 0}, _TIERS, "QOS"),
        ({"qos": 60}, _TIERS, ""),
        ({"qos": 0}, {}, ""),
    ],
)
def test_who_is_warned(
    judge: Callable[..., list[Problem]], cluster: dict[str, Any], site: Any, expected: str
) -> None:
    limits: dict[str, Any] = {"preempt_by": "partition_prio", "partitions": cluster}
    if "qos" in cluster:
        qos = {name: QosLimits(name, grace_s=cluster["qos"]) for name in ("normal", "low")}
        limits = {"preempt_by": "qos", "qos": qos}
    found = [
        problem
        for problem in judge(_JOB, limits, site=site)
        if problem.code == "preempted-without-grace"
    ]
    assert [problem.message.split()[2] for problem in found] == ([expected] if expected else [])
