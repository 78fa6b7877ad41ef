"""What site.yaml may say of tiers and accounts, and what slurm.conf gets of it."""

import pytest

from slurmkit.errors import InvalidInputError
from slurmkit.site.generate.release import SUPPORTED, Release
from slurmkit.site.lookup import read_site
from slurmkit.site.models import Site
from slurmkit.site.tiers import preempted, priorities, slurm_conf_lines, weights
from slurmkit.yamlfile.reader import read_document
from slurmkit.yamlfile.validate import build

_TIERS = """
tiers:
  production: {qos: prod}
  training: {qos: train, preemptible: true}
  play: {qos: play, preemptible: true}
"""


def site(text: str) -> Site:
    return build(Site, read_document(text.encode(), "site.yaml"))


def test_the_first_tier_is_the_most_important() -> None:
    tiers = site(_TIERS).tiers
    assert priorities(tiers) == {"production": 300, "training": 200, "play": 100}
    assert preempted(tiers) == {
        "production": ["training", "play"],
        "training": ["play"],
        "play": [],
    }


def test_priorities_and_victims_may_be_named() -> None:
    tiers = site(
        "tiers: {a: {qos: a, priority: 1, preempts: [b]},"
        " b: {qos: b, preemptible: true, priority: 9}, c: {qos: c, preemptible: true, priority: 5}}"
    ).tiers
    assert preempted(tiers) == {"a": ["b"], "b": ["c"], "c": []}


@pytest.mark.parametrize("release", SUPPORTED, ids=str)
def test_slurm_conf(release: Release) -> None:
    text = f"slurm: {{database: db}}\nbilling: {{gpu: 4, cpu: 0.5, memory_gib: 0.25}}\n{_TIERS}"
    lines = slurm_conf_lines(site(text), release)
    assert "PreemptType=preempt/qos" in lines
    assert "PreemptMode=REQUEUE" in lines
    assert 'PartitionName=DEFAULT TRESBillingWeights="CPU=0.5,Mem=0.25G,GRES/gpu=4"' in lines
    assert "PriorityDecayHalfLife=14-00:00:00" in lines


def test_without_slurmdbd_there_is_nothing_to_say() -> None:
    assert slurm_conf_lines(site(_TIERS), Release.parse("24.11")) == []


def test_without_a_victim_nothing_is_pushed_aside() -> None:
    lines = slurm_conf_lines(
        site("slurm: {database: db}\ntiers: {one: {qos: one}}"), Release.parse("24.11")
    )
    assert not [line for line in lines if line.startswith("Preempt")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{gpu: 1}", "GRES/gpu=1"),
        ("{gpu: 2, cpu: 0.5}", "CPU=0.5,GRES/gpu=2"),
        ("{gpu: 0}", "CPU=0"),
    ],
)
def test_weights_of_what_costs_something(text: str, expected: str) -> None:
    billing = site(f"billing: {text}").billing
    assert billing is not None
    assert weights(billing) == expected


@pytest.mark.parametrize(
    ("text", "key", "message"),
    [
        (
            "tiers: {a: {qos: a, preempts: [b]}, b: {qos: b}}",
            "tiers.a.preempts.0",
            "b is not preemptible",
        ),
        ("tiers: {a: {qos: a, preempts: [b]}}", "tiers.a.preempts.0", "no 'b' under tiers"),
        ("tiers: {a: {qos: x}, b: {qos: X}}", "tiers.b.qos", "tier a has QOS x already"),
        (
            "tiers: {a: {qos: a, preempts: [b]}, b: {qos: b, preempts: [a]}}",
            "tiers.b.preempts",
            "push each other aside",
        ),
        (
            "tiers: {a: {qos: a, preemptible: true, preempts: [b]},"
            " b: {qos: b, preemptible: true, preempts: [c]},"
            " c: {qos: c, preemptible: true, preempts: [a]}}",
            "tiers.c.preempts",
            "c and a push each other aside",
        ),
        ("tiers: {a: {qos: a, preempts: [a]}}", "tiers.a.preempts", "push each other aside"),
        ("accounts: {a: {parent: b}}", "accounts.a.parent", "no 'b' under accounts"),
        ("accounts: {a: {parent: b}, b: {parent: a}}", "accounts.a.parent", "a circle"),
        ("accounts: {a: {tiers: [b]}}", "accounts.a.tiers.0", "no 'b' under tiers"),
        (
            "tiers: {a: {qos: a}, b: {qos: b}}\naccounts: {x: {tiers: [a], default_tier: b}}",
            "accounts.x.default_tier",
            "is none of its tiers",
        ),
        ("roles: {operators: [user1]}", "", ""),
        ("accounts: {a: {}, A: {}}", "accounts.A", "the same account"),
        ("accounts: {root: {}}", "accounts.root", "Slurm's own"),
    ],
)
def test_what_does_not_fit_together(tmp_path, text: str, key: str, message: str) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(text)
    if not key:
        read_site(path)
        return
    with pytest.raises(InvalidInputError) as caught:
        read_site(path)
    found = {problem.key: problem.message for problem in caught.value.problems}
    assert message in found[key]


@pytest.mark.parametrize(
    "text",
    [
        "accounts: {a: {description: 'x | y'}}",
        "accounts: {a: {users: ['user 1']}}",
        "accounts: {a: {users: ['x,y']}}",
        "tiers: {a: {qos: 'a,b'}}",
        "tiers: {a: {qos: a, usage_factor: -1}}",
        "tiers: {a: {qos: a, limits: {total: {gpus: 0}}}}",
        "tiers: {a: {qos: a, on_preempt: suspend}}",
    ],
)
def test_what_sacctmgr_would_misread_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        site(text)
