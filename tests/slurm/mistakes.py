"""Mistakes in job.yaml: what check says of each, and what sbatch does with it.

``#!`` marks the line where the problem has to be. What sbatch ``takes`` would have waited for ever,
started too early, or failed.
"""

from dataclasses import dataclass

REFUSES, TAKES, DEPENDS = "refuses", "takes", "depends on the release"


@dataclass(frozen=True)
class Mistake:
    """One job.yaml (its name and a harmless command are added), and what sbatch does with it."""

    code: str
    job: str
    sbatch: str
    warning: bool = False


def resources(text: str) -> str:
    return "resources:\n" + "".join(f"  {line}\n" for line in text.split("; "))


MISTAKES = {
    # the partition
    "partition-name": Mistake("partition-unknown", resources("partition: debgu #!"), REFUSES),
    "partition-list": Mistake("partition-unknown", resources("partition: debug,lng #!"), REFUSES),
    "partition-down": Mistake("partition-down", resources("partition: closed #!; time: 5m"), TAKES),
    "partition-drained": Mistake("partition-closed", resources("partition: drained #!"), REFUSES),
    "time": Mistake("time-over-partition", resources("partition: debug; time: 2h #!"), TAKES),
    "no-time": Mistake("time-missing", "resources: {partition: small} #!\n", TAKES, warning=True),
    # nodes
    "nodes": Mistake("nodes-over-partition", resources("time: 5m; nodes: 5 #!"), TAKES),
    "max-nodes": Mistake(
        "nodes-over-limit", resources("partition: small; nodes: 2 #!; time: 5m"), TAKES
    ),
    "min-nodes": Mistake(
        "nodes-under-limit", resources("partition: large; nodes: 1 #!; time: 5m"), TAKES
    ),
    "spares": Mistake(
        "spares-over-partition",
        resources("nodes: 3; spares: 2 #!") + "resilience: {on_node_failure: spare}\n",
        TAKES,
    ),
    "exclude": Mistake(
        "exclude-leaves-too-few", resources('nodes: 2; exclude: "node[1-3]" #!'), REFUSES
    ),
    "exclude-name": Mistake("host-unknown", resources("exclude: nod1 #!"), REFUSES),
    "nodelist-name": Mistake("host-unknown", resources("nodelist: node9 #!"), REFUSES),
    "nodelist-partition": Mistake(
        "host-not-in-partition",
        resources("partition: small; nodelist: node4 #!; time: 5m"),
        REFUSES,
    ),
    "together": Mistake(
        "no-fitting-nodes", resources("nodes: 3; memory: 500G; constraint: rack2 #!"), REFUSES
    ),
    # one node
    "gpus": Mistake("gpus-over-node", resources("gpus_per_node: 9 #!"), REFUSES),
    "gpu-type": Mistake("gpu-type-unknown", resources('gpus_per_node: "a100:1" #!'), REFUSES),
    "task": Mistake("cpus-per-task-over-node", resources("cpus_per_task: 65 #!"), REFUSES),
    "tasks": Mistake(
        "cpus-over-node", resources("cpus_per_task: 5; tasks_per_node: 13 #!"), REFUSES
    ),
    "memory": Mistake("memory-over-node", resources("memory: 600G #!"), REFUSES),
    "memory-per-cpu": Mistake(
        "memory-over-node", resources("tasks_per_node: 64; memory: 9G/cpu #!"), REFUSES
    ),
    "memory-limit": Mistake(
        "memory-over-limit", resources("partition: small; memory: 200G #!; time: 5m"), TAKES
    ),
    "cpu-limit": Mistake(
        "cpus-per-task-over-node",
        resources("partition: small; cpus_per_task: 33 #!; memory: 1G; time: 5m"),
        REFUSES,
    ),
    # places
    "constraint": Mistake("constraint-unknown", resources("constraint: rack1|rack9 #!"), REFUSES),
    "constraint-partition": Mistake(
        "constraint-not-in-partition",
        resources("partition: small; constraint: rack2 #!; time: 5m"),
        REFUSES,
    ),
    "reservation": Mistake("reservation-unknown", resources("reservation: wrkshop #!"), REFUSES),
    "reservation-size": Mistake(
        "reservation-too-small", resources("nodes: 2; reservation: ours #!; time: 5m"), TAKES
    ),
    "reservation-time": Mistake(
        "reservation-too-short",
        resources("partition: long; time: 3h #!; reservation: ours"),
        TAKES,
    ),
    # who pays
    "account": Mistake(
        "account-not-in-partition",
        resources("partition: paid; account: physics #!; time: 5m"),
        TAKES,
    ),
    # the cluster
    "licence": Mistake("license-unknown", resources("licenses: matlb #!"), REFUSES),
    "licences": Mistake("license-too-many", resources('licenses: "matlab:3" #!'), REFUSES),
    "array": Mistake("array-too-large", "array: 0-1001 #!\n", REFUSES),
    "sweep": Mistake(
        "array-too-large",
        "launch: {command: [echo, '{sweep.a}', '{sweep.b}']}\n"
        f"sweep: #!\n  a: {list(range(40))}\n  b: {list(range(30))}\n",
        REFUSES,
    ),
    "after-nobody": Mistake("dependency-unknown", "after:\n  - 999999 #!\n", DEPENDS),
    "after-failure": Mistake("dependency-never-met", "after:\n  - FAILED_JOB #!\n", TAKES),
    # what only this machine knows: sbatch never looks
    "workdir": Mistake(
        "workdir-missing", "launch:\n  command: [hostname]\n  workdir: wrok #!\n", TAKES
    ),
    "program": Mistake("program-missing", "launch:\n  command: [pyhton3, x.py] #!\n", TAKES),
    "program-path": Mistake("program-missing", "launch:\n  command: [./solve] #!\n", TAKES),
    "program-mode": Mistake(
        "program-not-executable", "launch:\n  command: [./notes.txt] #!\n", TAKES
    ),
    "script-file": Mistake(
        "script-file-missing", "launch:\n  command: [python3, -u, trian.py] #!\n", TAKES
    ),
    "venv": Mistake("venv-missing", "software:\n  venv: .venv #!\n", TAKES),
    "image": Mistake(
        "image-missing",
        "software:\n  container:\n    image: ./torch.sqsh #!\n    runtime: pyxis\n",
        TAKES,
    ),
    "runtime": Mistake(
        "program-missing",
        "software:\n  container:\n    image: docker://debian\n    runtime: apptainer #!\n",
        TAKES,
    ),
    "pyxis": Mistake(
        "pyxis-missing",
        "software:\n  container:\n    image: docker://debian\n    runtime: pyxis #!\n",
        TAKES,
        warning=True,
    ),
    "secret-variable": Mistake("secret-missing", "secrets:\n  - NOBODY_SET_THIS #!\n", TAKES),
    "secret-file": Mistake(
        "secret-exposed", "secrets:\n  - name: TOKEN #!\n    file: open-token\n", TAKES
    ),
    "setup": Mistake("setup-syntax", "software:\n  setup: ['if true; then'] #!\n", TAKES),
    "node-local": Mistake(
        "path-node-local",
        "launch:\n  command: [hostname]\n  workdir: /tmp #!\n",
        TAKES,
        warning=True,
    ),
    "long-value": Mistake("string-too-long", f"env:\n  BIG: {'x' * 140_000} #!\n", TAKES),
    "path": Mistake("env-path", "env:\n  PATH: /nowhere/bin #!\n", TAKES),
    "directive": Mistake(
        "directive-unknown", "sbatch:\n  - --mail-tpye=END #!\n", REFUSES, warning=True
    ),
}
