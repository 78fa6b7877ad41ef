"""What the planner decides, by tables."""

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slurmkit.errors import InvalidInputError
from slurmkit.limits import Limits
from slurmkit.plan.model import Plan, Variable

_PLANS = runpy.run_path(str(Path(__file__).with_name("plans.py")))
_SITE: dict[str, Any] = _PLANS["SITE"]
_plan: Callable[..., Plan] = _PLANS["plan"]
_directives: Callable[..., dict[str, str | None]] = _PLANS["directives"]
_limits: Callable[..., Limits] = _PLANS["limits"]

_TORCHRUN = {"kind": "torch", "launcher": "torchrun", "command": ["train.py"]}
_NODE = {"gpus_per_node": 8}
_STRICT = {"SLURMKIT_AFFINITY": "strict"}


@pytest.mark.parametrize(
    ("job", "site", "expected"),
    [
        ({}, {}, {}),
        ({}, {"affinity": "strict"}, _STRICT),
        ({"affinity": "strict"}, {}, _STRICT),
        ({"affinity": "strict"}, {"affinity": "off"}, _STRICT),
        ({"affinity": "off"}, {"affinity": "strict"}, {"SLURMKIT_AFFINITY": "off"}),
        (
            {"affinity": {"policy": "spread"}},
            {},
            {"SLURMKIT_AFFINITY": "warn", "SLURMKIT_AFFINITY_POLICY": "spread"},
        ),
        ({"affinity": {"mode": "off", "policy": "none"}}, {}, {"SLURMKIT_AFFINITY": "off"}),
        # Key by key: what the job leaves out, the site says.
        (
            {"affinity": {"memory": "bind"}},
            {"affinity": {"mode": "strict", "reserved_cores": 2, "wiring": "rails"}},
            _STRICT
            | {
                "SLURMKIT_AFFINITY_RESERVED_CORES": "2",
                "SLURMKIT_AFFINITY_MEMORY": "bind",
                "SLURMKIT_AFFINITY_WIRING": "rails",
            },
        ),
        (
            {"affinity": {"mode": "strict", "smt": "avoid", "reserved_cores": 0}},
            {"affinity": {"reserved_cores": 2}},
            _STRICT | {"SLURMKIT_AFFINITY_SMT": "avoid"},
        ),
        # Nothing of slurmkit starts these ranks: a site's default does not stop them.
        (
            {"launch": _TORCHRUN, "resources": _NODE},
            {"affinity": "strict"},
            {"SLURMKIT_AFFINITY": "warn"},
        ),
        ({"launch": _TORCHRUN, "resources": _NODE}, {"affinity": "off"}, {}),
    ],
)
def test_affinity_is_exported_when_somebody_asks(
    job: dict[str, Any], site: dict[str, Any], expected: dict[str, str]
) -> None:
    env = dict(_plan(job, site).env)
    assert {name: env[name] for name in env if name.startswith("SLURMKIT_")} == expected


@pytest.mark.parametrize(
    ("job", "portable", "words"),
    [
        ({"launch": _TORCHRUN, "resources": _NODE}, False, "torchrun starts the ranks"),
        ({}, True, "portable script"),
        (
            {"software": {"container": {"image": "a.sqsh", "runtime": "pyxis"}}},
            False,
            "pyxis container",
        ),
    ],
)
def test_strict_affinity_that_cannot_hold_is_refused(
    job: dict[str, Any], portable: bool, words: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        _plan(job | {"affinity": "strict"}, portable=portable)
    assert [problem.key for problem in caught.value.problems] == ["affinity"]
    assert words in caught.value.problems[0].message


@pytest.mark.parametrize(
    ("resources", "site", "limits", "tasks", "cpus"),
    [
        ({}, None, None, 1, 1),
        ({"gpus_per_node": 4}, None, None, 4, 1),
        ({"gpus_per_node": 8, "partition": "gpu"}, _SITE, None, 8, 28),
        ({"gpus_per_node": 2, "partition": "gpu"}, _SITE, None, 2, 28),
        ({"gpus_per_node": 8, "tasks_per_node": 4, "partition": "gpu"}, _SITE, None, 4, 56),
        ({"gpus_per_node": 1, "tasks_per_node": 99, "partition": "gpu"}, _SITE, None, 99, 1),
        ({"gpus_per_node": "a100:8", "partition": "gpu"}, _SITE, None, 8, 1),
        ({"gpus_per_node": 8}, _SITE, None, 8, 1),
        ({"gpus_per_node": 4}, None, _limits(), 4, 16),
        ({"gpus_per_node": 4, "partition": "mixed"}, None, _limits(), 4, 16),
        ({"gpus_per_node": 4, "partition": "mixed,batch"}, None, _limits(), 4, 16),
        ({"gpus_per_node": 8}, None, _limits(), 8, 1),
        ({"gpus_per_node": 4, "cpus_per_task": 3}, None, _limits(), 4, 3),
        ({"tasks_per_node": 16}, None, _limits(), 16, 1),
    ],
)
def test_tasks_follow_gpus_and_cpus_follow_the_share(
    resources: dict[str, Any],
    site: dict[str, Any] | None,
    limits: Limits | None,
    tasks: int,
    cpus: int,
) -> None:
    lines = _directives({"resources": resources}, site, limits)
    assert (lines["--ntasks-per-node"], lines["--cpus-per-task"]) == (str(tasks), str(cpus))


@pytest.mark.parametrize(
    ("resources", "site", "expected"),
    [
        ({"time": 90}, {}, "01:30:00"),
        ({"time": "1d 12h"}, {}, "1-12:00:00"),
        ({"time": "UNLIMITED"}, {}, "UNLIMITED"),
        ({"partition": "gpu"}, _SITE, "12:00:00"),
        ({"partition": "cpu"}, _SITE, None),
        ({"partition": "cpu"}, {**_SITE, "default_time": "1h"}, "01:00:00"),
        ({"partition": "gpu", "time": "2h"}, {**_SITE, "default_time": "1h"}, "02:00:00"),
        ({}, {}, None),
    ],
)
def test_time_is_the_jobs_or_the_partitions_or_the_sites(
    resources: dict[str, Any], site: dict[str, Any], expected: str | None
) -> None:
    assert _directives({"resources": resources}, site).get("--time") == expected


@pytest.mark.parametrize(
    ("memory", "option", "value"),
    [
        (0, "--mem", "0"),
        ("64G", "--mem", "64G"),
        (1500, "--mem", "1500M"),
        ("4G/cpu", "--mem-per-cpu", "4G"),
        ("80G/gpu", "--mem", "320G"),
    ],
)
def test_memory_has_one_form_each(memory: str | int, option: str, value: str) -> None:
    lines = _directives({"resources": {"gpus_per_node": 4, "memory": memory}})
    assert {key: lines[key] for key in lines if key.startswith("--mem")} == {option: value}


def test_places_and_defaults() -> None:
    site = {**_SITE, "default_account": "physics"}
    lines = _directives({}, site)
    assert (lines["--partition"], lines["--account"]) == ("cpu", "physics")
    job = {"resources": {"partition": "gpu", "account": "chem", "exclusive": True}}
    lines = _directives(job, {**site, "default_partition": "gpu"})
    assert (lines["--partition"], lines["--account"]) == ("gpu", "chem")
    assert "--exclusive" in lines
    assert "--partition" not in _directives({})


def test_gpus_are_asked_for_in_one_form_only() -> None:
    lines = _directives({"resources": {"gpus_per_node": "h100:8"}})
    assert lines["--gres"] == "gpu:h100:8"
    assert not [option for option in lines if option.startswith("--gpus")]
    assert "--gres" not in _directives({})


@pytest.mark.parametrize(
    ("job", "value"),
    [
        ({"array": "0-9:3"}, "0-9:3"),
        ({"array": {"indices": "1,5", "limit": 1}}, "1,5%1"),
        ({"sweep": {"a": [1, 2], "b": ["x", "y", "z"]}}, "0-5"),
        ({"sweep": {"matrix": {"a": [1]}, "limit": 4}}, "0-0%4"),
        ({}, None),
    ],
)
def test_arrays(job: dict[str, Any], value: str | None) -> None:
    plan = _plan(job)
    lines = {line.option: line.value for line in plan.directives}
    assert lines.get("--array") == value
    assert plan.is_array == (value is not None)
    assert lines["--output"] == ("slurm-%A_%a.out" if plan.is_array else "slurm-%j.out")


def test_sweep_elements_are_in_the_order_of_the_job_file() -> None:
    sweep = _plan({"sweep": {"lr": [0.1, 1e-05], "flag": [True, False], "n": ["x"]}}).sweep
    assert sweep is not None
    assert [sweep.element(index) for index in range(sweep.num_elements)] == [
        {"SWEEP_LR": "0.1", "SWEEP_FLAG": "true", "SWEEP_N": "x"},
        {"SWEEP_LR": "0.1", "SWEEP_FLAG": "false", "SWEEP_N": "x"},
        {"SWEEP_LR": "1e-05", "SWEEP_FLAG": "true", "SWEEP_N": "x"},
        {"SWEEP_LR": "1e-05", "SWEEP_FLAG": "false", "SWEEP_N": "x"},
    ]


def test_references_become_variables_in_the_command() -> None:
    command = ["run", "--lr={sweep.lr}", "{sweep.lr}", "{sweep.other}", "{lr}", "", "{sweep.lr"]
    plan = _plan({"sweep": {"lr": [1]}, "launch": {"command": command}})
    swept = Variable("SWEEP_LR")
    assert plan.step.program == (
        ("run",),
        ("--lr=", swept),
        (swept,),
        ("{sweep.other}",),
        ("{lr}",),
        ("",),
        ("{sweep.lr",),
    )


def test_dependencies() -> None:
    pairs = (("ok", "1"), ("any", "2"), ("ok", "3_4"), ("notok", "5"), ("start", "6"))
    lines = _directives({}, dependencies=pairs)
    assert lines["--dependency"] == "afterok:1:3_4,afterany:2,afternotok:5,after:6"
    assert lines["--kill-on-invalid-dep"] == "yes"
    plan = _plan({"after": ["data", 17, {"run": "21", "when": "any"}]})
    lines = {line.option: line.value for line in plan.directives}
    assert lines["--dependency"] == "afterok:17,afterany:21"
    assert [note for note in plan.notes if "data" in note and "afterok:ID" in note]


@pytest.mark.parametrize(
    ("resilience", "portable", "present", "absent"),
    [
        (None, False, {"--requeue"}, {"--no-kill", "--signal", "--no-requeue"}),
        ({}, False, {"--requeue", "--signal"}, {"--no-kill"}),
        ({"on_node_failure": "stop"}, False, {"--no-requeue"}, {"--requeue", "--no-kill"}),
        ({"on_node_failure": "shrink"}, False, {"--no-kill", "--requeue"}, set()),
        ({"on_node_failure": "requeue", "then": ["successor"]}, False, {"--no-kill"}, set()),
        ({"on_node_failure": "shrink"}, True, {"--requeue"}, {"--no-kill"}),
    ],
)
def test_recovery(
    resilience: dict[str, Any] | None, portable: bool, present: set[str], absent: set[str]
) -> None:
    job = {} if resilience is None else {"resilience": resilience}
    options = set(_directives(job, portable=portable))
    assert present <= options
    assert not absent & options


def test_only_jobs_that_save_are_warned_and_as_the_site_says() -> None:
    site = {"signal": {"name": "USR1", "lead_s": 300}}
    assert "--signal" not in _directives({}, site)
    assert _directives({"checkpoint": {}}, site)["--signal"] == "B:USR1@300"
    assert _directives({"checkpoint": {}}, site, portable=True)["--signal"] == "USR1@300"
    assert "--signal" not in _directives({"checkpoint": {}}, {"signal": {"lead_s": 0}})
    short = {"checkpoint": {}, "resources": {"time": "4m"}}
    assert _directives(short, site)["--signal"] == "B:USR1@120"


def test_the_log_is_in_the_run_directory_and_percent_signs_stay() -> None:
    lines = _directives({}, run_dir="/runs/50%/x")
    assert lines["--output"] == "/runs/50%%/x/logs/slurm-%j.out"
    assert lines["--open-mode"] == "append"


def test_what_people_wrote_comes_last_and_verbatim() -> None:
    plan = _plan({"sbatch": ["--mail-type=END"]}, {"sbatch": ["#SBATCH --switches=1  "]})
    assert [line.option for line in plan.directives[-2:]] == ["--switches=1", "--mail-type=END"]


@pytest.mark.parametrize(
    ("job", "site", "context", "key"),
    [
        ({"software": {"container": {"image": "a"}}}, {}, {}, "software.container.runtime"),
        ({"software": {"modules": ["g"]}}, {"modules": {"system": "none"}}, {}, "software.modules"),
        ({}, {"presets_for": {"command": ["nope"]}}, {}, "site.presets_for"),
        ({}, {"sbatch": ["mail-type=END"]}, {}, "site.sbatch.0"),
        ({}, {}, {"run_dir": "/runs/a\\b"}, "name"),
        ({"env": {"UID": "1"}}, {}, {}, "env.UID"),
        ({"env": {"slurmkit": "1"}}, {}, {}, "env.slurmkit"),
        ({}, {"env": {"start_task": "1"}}, {}, "site.env.start_task"),
        ({"secrets": ["A", "UID"]}, {}, {}, "secrets.1"),
        (
            {"launch": {"kind": "mpi", "launcher": "mpirun", "command": ["x"]},
             "software": {"container": {"image": "a", "runtime": "pyxis"}}},
            {}, {}, "launch.launcher",
        ),
        (
            {"launch": {"kind": "mpi", "launcher": "mpirun", "command": ["x"]},
             "resources": {"spares": 1}},
            {}, {}, "resources.spares",
        ),
        (
            {"software": {"container": {"image": "a", "runtime": "pyxis", "mounts": ["/a,b:/c"]}}},
            {}, {}, "software.container.mounts",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_site_is_named_by_its_key(
    job: dict[str, Any], site: dict[str, Any], context: dict[str, Any], key: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        _plan(job, site, **context)
    assert key in [problem.key for problem in caught.value.problems]
    assert caught.value.exit_code == 2


def test_all_problems_are_reported_at_once() -> None:
    job = {"env": {"UID": "1", "PPID": "2"}, "software": {"modules": ["gcc"]}}
    with pytest.raises(InvalidInputError) as caught:
        _plan(job, {"modules": {"system": "none"}})
    assert len(caught.value.problems) == 3


def test_the_same_job_gives_the_same_plan_and_its_json_is_readable() -> None:
    job = {"env": {"B": "1", "A": "é"}, "sweep": {"x": [1]}, "secrets": ["HF_TOKEN"]}
    text = _plan(job).to_json()
    assert text == _plan(job).to_json()
    data = json.loads(text)
    assert data["version"] == 1
    assert data["env"][-2:] == [["B", "1"], ["A", "é"]]
    assert data["directives"][0] == {"option": "--job-name", "value": "demo", "comment": ""}
