"""Jobs that fit are left in peace, and of two ways to be wrong the right one is named."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slurmkit.check.facts import ProgramFact, TemplateFact
from slurmkit.errors import Problem
from slurmkit.limits import LicenseInfo, NodeShape, QosLimits, ReservationInfo

NOW = 1_800_000_000.0
Judge = Callable[..., list[Problem]]

# What each node of a partition has: (nodes, CPUs, GiB, GPUs).
NODES = {"batch": (4, 32, 64, 0), "gpu": (2, 64, 512, 8)}
CONSTRAINTS = {
    "batch": ["cpu", "cpu&rack1", "cpu|gpu", "rack1|nvlink", "[rack1|rack2]", "cpu*1", "(cpu|gpu)"],
    "gpu": ["gpu", "gpu&nvlink", "rack2|rack1", "[rack1|rack2]", "nvlink,gpu", "(gpu&nvlink)"],
}


@st.composite
def fitting_jobs(draw: st.DrawFn) -> str:
    """Draw a job that the cluster of these tests can run."""
    partition = draw(st.sampled_from(sorted(NODES)))
    nodes, cpus, memory_gib, gpus = NODES[partition]
    tasks = draw(st.integers(1, cpus))
    wishes: dict[str, Any] = {
        "partition": draw(st.sampled_from([partition, f"{partition},all"])),
        "nodes": draw(st.integers(1, nodes)),
        "tasks_per_node": tasks,
        "cpus_per_task": draw(st.integers(1, cpus // tasks)),
        "time": f"{draw(st.integers(1, 24))}h",
    }
    if draw(st.booleans()):
        wishes["memory"] = draw(st.sampled_from(["0", f"{memory_gib}G", "1G", "512M", "1G/cpu"]))
    if gpus and draw(st.booleans()):
        count = draw(st.integers(1, gpus))
        wishes["gpus_per_node"] = draw(st.sampled_from([str(count), f"h100:{count}"]))
    if draw(st.booleans()):
        wishes["constraint"] = draw(st.sampled_from(CONSTRAINTS[partition]))
    if draw(st.booleans()):
        wishes["licenses"] = draw(st.sampled_from(["matlab", "matlab:10"]))
    if draw(st.booleans()):
        wishes["qos"] = "high"
    lines = [f"  {key}: {quoted(value)}" for key, value in wishes.items()]
    array = draw(st.sampled_from(["", "array: 0-1000%5\n", "sweep: {lr: [1, 2, 3]}\n"]))
    return "\n".join(["resources:", *lines]) + "\n" + array


def quoted(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


@given(job=fitting_jobs())
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_job_that_fits_raises_no_alarm(judge: Judge, job: str) -> None:
    found = judge(job)
    assert [problem for problem in found if not problem.warning] == [], job
    assert not {problem.code for problem in found} - {"unused-sweep"}, job


def codes(problems: list[Problem]) -> list[str]:
    return [problem.code for problem in problems]


def test_one_partition_of_several_is_enough(judge: Judge) -> None:
    assert judge("resources: {partition: 'batch,gpu', gpus_per_node: 8}") == []
    found = judge("resources: {partition: 'batch,gpu', gpus_per_node: 16}")
    assert codes(found) == ["gpus-over-node", "gpus-over-node"]
    assert ["'batch'" in found[0].message, "'gpu'" in found[1].message] == [True, True]


def test_an_unknown_partition_of_several_is_refused_by_sbatch(judge: Judge) -> None:
    found = judge("resources: {partition: 'batch,gpuu'}")
    assert codes(found) == ["partition-unknown"]
    assert found[0].hint == "Did you mean 'gpu'? Partitions here: all, batch, gpu."


def test_the_default_of_the_site_is_named_as_such(judge: Judge) -> None:
    (problem,) = judge("resources: {nodes: 1}", site={"default_partition": "old"})
    assert problem.message == "the cluster has no partition 'old' (the default of site 'alps')"


def test_without_a_cluster_only_the_file_and_the_machine_are_checked(judge: Judge) -> None:
    text = "resources: {partition: nowhere, nodes: 99}\nsbatch: [--mail-tpye=END]\n"
    assert codes(judge(text, cluster=None)) == ["directive-unknown"]


def test_problems_come_in_the_order_of_the_file(judge: Judge) -> None:
    text = "resources:\n  time: 48h\n  memory: 1T\n  nodes: 3\n  constraint: nothing\nafter: [12]\n"
    found = judge(text, machine={"known_jobs": {"12": None}})
    assert [problem.where.line for problem in found if problem.where] == [2, 3, 5, 6]


def test_memory_is_judged_per_node_whatever_it_is_given_for(judge: Judge) -> None:
    per_cpu = "resources: {tasks_per_node: 8, cpus_per_task: 4, memory: %s}"
    assert judge(per_cpu % "2G/cpu") == []
    (problem,) = judge(per_cpu % "3G/cpu")
    assert problem.message.startswith("3G for each of 32 CPUs are 96G per node, more than there is")
    per_gpu = "resources: {partition: gpu, gpus_per_node: 8, memory: %s}"
    assert judge(per_gpu % "64G/gpu") == []
    (problem,) = judge(per_gpu % "80G/gpu")
    assert problem.message.startswith("80G for each of 8 GPUs are 640G per node")


def test_a_limit_on_the_cpus_of_a_node_is_named_as_such(judge: Judge) -> None:
    limited = {"partitions": {"batch": {"max_cpus_per_node": 16}}}
    assert judge("resources: {cpus_per_task: 16}", limited) == []
    (problem,) = judge("resources: {cpus_per_task: 17}", limited)
    assert "partition 'batch' gives a job at most 16 of a node's CPUs" in problem.message


def test_nodes_of_several_kinds_add_up(judge: Judge) -> None:
    assert judge("resources: {partition: all, nodes: 6, cpus_per_task: 32}") == []
    (problem,) = judge("resources: {partition: all, nodes: 6, cpus_per_task: 33}")
    assert problem.message == ("2 nodes of partition 'all' have 33 CPUs (g[1-2]); the job wants 6")
    assert problem.key == "resources.cpus_per_task"


def test_alternatives_in_brackets_are_not_mixed(judge: Judge) -> None:
    text = 'resources: {partition: all, nodes: %d, constraint: "[rack1|rack2]"}'
    assert judge(text % 4) == []
    assert codes(judge(text % 5)) == ["no-fitting-nodes"]
    assert judge('resources: {partition: all, nodes: 6, constraint: "rack1|rack2"}') == []


def test_excluded_nodes_do_not_count(judge: Judge) -> None:
    text = "resources: {partition: all, nodes: 2, gpus_per_node: 8, exclude: %s}"
    assert judge(text % "n1") == []
    assert codes(judge(text % "g1")) == ["no-fitting-nodes"]


def test_spares_need_nodes_too(judge: Judge) -> None:
    text = "resources: {partition: gpu, gpus_per_node: 8, nodes: %d, spares: 1}\n" + (
        "resilience: {on_node_failure: spare}\n"
    )
    assert judge(text % 1) == []
    (problem,) = judge(text % 2)
    assert problem.code == "spares-over-partition"
    assert problem.hint == "Ask for at most 0 spares."


def test_nodes_that_are_down_make_the_job_wait_but_not_impossible(judge: Judge) -> None:
    dead = NodeShape(("n1", "n2", "n3", "n4"), 32, 65536, usable=False, reason="burnt")
    found = judge("resources: {nodes: 2}", {"partitions": {"batch": {"nodes": (dead,)}}})
    assert [(problem.code, problem.warning) for problem in found] == [("too-few-nodes-up", True)]
    assert "burnt" in found[0].message


def test_gpus_of_several_types_on_one_node(judge: Judge) -> None:
    mixed = NodeShape(("m1",), 64, 65536, 4, "a100,v100")
    machine = {"partitions": {"batch": {"nodes": (mixed,)}}}
    assert judge('resources: {gpus_per_node: "a100:2"}', machine) == []
    (problem,) = judge('resources: {gpus_per_node: "a10:2"}', machine)
    assert problem.hint == "Did you mean 'a100'? GPU types here: a100, v100."


def test_types_are_of_no_use_where_gpus_have_none(judge: Judge) -> None:
    plain = NodeShape(("m1",), 64, 65536, 4)
    (problem,) = judge(
        'resources: {gpus_per_node: "h100:2"}', {"partitions": {"batch": {"nodes": (plain,)}}}
    )
    assert problem.hint == "Its GPUs have no type; name the count alone."


def test_a_reservation_brings_its_partition(judge: Judge) -> None:
    held = ReservationInfo("big", NOW - 60, NOW + 86400, 2, partition="gpu")
    cluster = {"reservations": {"big": held}}
    assert judge("resources: {reservation: big, gpus_per_node: 8}", cluster) == []
    gone = {**cluster, "partitions": {"batch": {"default": False}}}
    assert judge("resources: {reservation: big, gpus_per_node: 8}", gone) == []


def test_root_may_use_reservations_of_others_in_later_releases(judge: Judge) -> None:
    text = "resources: {reservation: workshop}"
    assert codes(judge(text, {"user": "root"}, {"user": "root"})) == ["reservation-not-yours"]
    assert judge(text, {"user": "root", "version": (26, 5)}, {"user": "root"}) == []


def test_a_reservation_of_accounts(judge: Judge) -> None:
    held = ReservationInfo("big", NOW, NOW + 86400, 2, accounts=frozenset({"biology"}))
    cluster = {"reservations": {"big": held}}
    assert judge("resources: {reservation: big, account: biology}", cluster) == []
    assert codes(judge("resources: {reservation: big}", cluster)) == ["reservation-not-yours"]


def test_accounts_and_qos_are_no_error_where_nobody_enforces_them(judge: Judge) -> None:
    text = "resources: {account: anything, qos: whatever}"
    loose = {"accounting_enforced": frozenset()}
    assert all(problem.warning for problem in judge(text, loose))
    none: dict[str, Any] = {"accounting": False, "accounts": None, "qos": None, **loose}
    assert judge(text, none) == []


def test_a_partition_for_accounts_is_closed_where_there_are_none(judge: Judge) -> None:
    closed: dict[str, Any] = {"partitions": {"batch": {"allow_accounts": frozenset({"physics"})}}}
    assert judge("resources: {account: physics}", closed) == []
    none = {**closed, "accounting": False, "accounts": None, "accounting_enforced": frozenset()}
    found = judge("resources: {account: physics}", none)
    assert codes(found) == ["account-not-in-partition"]
    assert "this cluster keeps no accounts" in found[0].message


def test_a_large_array_is_counted_and_not_listed(judge: Judge) -> None:
    assert codes(judge("array: 0-4000000")) == ["array-too-large", "array-over-job-count"]
    assert judge("array: '0-1000:250,7%2'") == []


def test_account_names_are_the_same_in_any_case(judge: Judge) -> None:
    assert judge("resources: {account: Physics}") == []


def test_limits_of_a_qos_hold_only_where_limits_are_enforced(judge: Judge) -> None:
    text = "resources: {qos: debug, time: 2h}"
    assert codes(judge(text)) == ["time-over-qos"]
    assert judge(text, {"accounting_enforced": frozenset({"associations", "qos"})}) == []


def test_a_qos_may_waive_limits_of_the_partition(judge: Judge) -> None:
    text = "resources: {qos: %s, time: 48h, nodes: 3}"
    flags = frozenset({"PartitionTimeLimit", "PartitionMaxNodes"})
    limits: dict[str, Any] = {
        "partitions": {"batch": {"max_nodes": 2}},
        "qos": {"high": QosLimits("high", flags=flags), "low": QosLimits("low")},
    }
    assert judge(text % "high", limits) == []
    assert codes(judge(text % "low", limits)) == ["time-over-partition", "nodes-over-limit"]


def test_unlimited_time_is_over_any_limit(judge: Judge) -> None:
    assert codes(judge("resources: {time: UNLIMITED}")) == ["time-over-partition"]
    assert (
        judge("resources: {time: UNLIMITED}", {"partitions": {"batch": {"max_time_s": None}}}) == []
    )


def test_licences_of_a_server_and_alternatives(judge: Judge) -> None:
    served = {"licenses": {"matlab@flexlm": LicenseInfo("matlab@flexlm", 2)}}
    assert judge("resources: {licenses: 'matlab@flexlm:2'}", served) == []
    assert codes(judge("resources: {licenses: 'matlab@flexlm:3'}", served)) == ["license-too-many"]
    assert judge("resources: {licenses: 'matlab:1|other:2'}") == []


def test_a_sweep_is_counted_by_its_combinations(judge: Judge) -> None:
    text = f"sweep: {{lr: {list(range(40))}, bs: {list(range(30))}}}\n"
    text += "launch: {command: [run, '{sweep.lr}', '{sweep.bs}']}\n"
    (problem,) = judge(text)
    assert (problem.code, problem.key) == ("array-too-large", "sweep")
    assert "1200 combinations" in problem.message


@pytest.mark.parametrize(
    ("when", "state", "wrong"),
    [
        ("ok", "COMPLETED", False),
        ("ok", "RUNNING", False),
        ("ok", "PENDING", False),
        ("ok", "TIMEOUT", True),
        ("notok", "COMPLETED", True),
        ("notok", "FAILED", False),
        ("any", "FAILED", False),
        ("start", "CANCELLED", False),
    ],
)
def test_what_has_ended_may_make_a_dependency_impossible(
    judge: Judge, when: str, state: str, wrong: bool
) -> None:
    text = f"after: [{{run: 7, when: {when}}}]"
    found = judge(text, machine={"known_jobs": {"7": state}})
    assert codes(found) == (["dependency-never-met"] if wrong else [])


def test_a_named_run_is_known_by_its_job(judge: Judge) -> None:
    found = judge(
        "after:\n  - 7\n  - prepare\n", machine={"known_jobs": {"7": "RUNNING", "9": None}}
    )
    assert codes(found) == ["dependency-unknown"]
    assert found[0].key == "after.1"
    assert found[0].where is not None
    assert found[0].where.line == 3


def test_what_modules_and_setup_bring_is_not_looked_for(judge: Judge) -> None:
    machine = {"programs": (ProgramFact("launch.command.0", "gmx_mpi", ""),)}
    assert codes(judge("launch: {command: [gmx_mpi]}", machine=machine)) == ["program-missing"]
    loaded = "launch: {command: [gmx_mpi]}\nsoftware: {modules: [gromacs]}\n"
    assert judge(loaded, machine=machine) == []


def test_a_torch_job_may_see_to_its_gpus_by_one_rank(judge: Judge) -> None:
    text = "launch: {kind: %s, command: [x]}\nresources: {partition: gpu, gpus_per_node: 8, "
    assert judge(text % "torch" + "tasks_per_node: 1}") == []
    assert judge(text % "command" + "tasks_per_node: 2}") == []
    assert codes(judge(text % "torch" + "tasks_per_node: 2}")) == ["gpus-idle"]


def test_a_late_directive_is_named_at_its_line_of_the_template(judge: Judge) -> None:
    template = TemplateFact("/site/torch.sbatch.j2", "{% block x %}\n\n#SBATCH --mem={{ size }}\n")
    found = judge(
        "resources: {nodes: 1}",
        machine={"templates": (template,)},
        script=lambda text: f"{text}#SBATCH --mem=64G\n",
    )
    assert str(found[0].where) == "/site/torch.sbatch.j2:3:1"
    found = judge("resources: {nodes: 1}", script=lambda text: f"{text}#SBATCH --mem=64G\n")
    assert found[0].where is not None
    assert found[0].where.file == "job.sbatch"


def test_limits_are_a_value_that_nothing_changes(judge: Judge) -> None:
    first = judge("resources: {nodes: 99}")
    assert [problem.replace(where=None) for problem in judge("resources: {nodes: 99}")] == [
        problem.replace(where=None) for problem in first
    ]
