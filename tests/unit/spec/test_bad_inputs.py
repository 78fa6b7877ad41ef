"""Every mistake is named with its exact place, key and code; `»` marks the place."""

from pathlib import Path

import pytest

from slurmkit.errors import InvalidInputError, Problem
from slurmkit.spec.loader import load

NEEDED = "name: demo\nlaunch: {command: [python, train.py]}\n"
NAMED = "name: demo\n"

# (text before which NEEDED stands unless it starts with "!", key, code, a part of message or hint)
CASES = [
    # sections and keys
    ("»resource: {nodes: 2}", "resource", "unknown-key", "Did you mean 'resources'?"),
    ("»nodes: 2", "nodes", "unknown-key", "'nodes' belongs under resources."),
    ("resources:\n  »node: 2", "resources.node", "unknown-key", "Did you mean 'nodes'?"),
    ("resources:\n  »gpu-per-node: 2", "resources.gpu-per-node", "unknown-key", "gpus_per_node"),
    ("resources: {nodes: 2, »Time: 4h}", "resources.Time", "unknown-key", "Did you mean 'time'?"),
    ("resources:\n  »command: [a]", "resources.command", "unknown-key", "belongs under launch"),
    ("resources:\n  »zzz: 1", "resources.zzz", "unknown-key", "Allowed here: nodes, gpus_per_node"),
    ("checkpoint:\n  »async_: true", "checkpoint.async_", "unknown-key", "'async'"),
    ("after: {run: x, »wen: ok}", "after.wen", "unknown-key", "Did you mean 'when'?"),
    ("secrets: [{name: A, »flie: x}]", "secrets.0.flie", "unknown-key", "'file'"),
    ("software: {container: {»imgae: x, image: y}}", "software.container.imgae", "unknown-key", ""),
    ("array: {indices: 0-9, »limits: 3}", "array.limits", "unknown-key", "'limit'"),
    ("resources: »4", "resources", "wrong-type", "expected keys of its own (nodes, "),
    ("resources: »[nodes]", "resources", "wrong-type", "got a list"),
    ("»resources:\n  - nodes: 2", "resources", "wrong-type", "got a list"),
    ("resources:\n  nodes: 2\n  »nodes: 3", "", "duplicate-key", "first at line 4, column 3"),
    ("»name: other", "", "duplicate-key", "first at line 1, column 1"),
    # missing
    ("!»name: demo", "launch.command", "missing-key", "a list such as [python, train.py]"),
    ("!name: demo\n»launch:\n  kind: mpi", "launch.command", "missing-key", ""),
    ("!name: demo\nlaunch: »{kind: mpi}", "launch.command", "missing-key", ""),
    ("!»launch: {command: [a]}", "name", "missing-key", "'name' is missing"),
    ("!launch: {command: [a]}\n»name:", "name", "missing-key", ""),
    ("software: {container: »{runtime: pyxis}}", "software.container.image", "missing-key", ""),
    ("after: [»{when: ok}]", "after.0.run", "missing-key", ""),
    # numbers
    ("resources: {nodes: »two}", "resources.nodes", "wrong-type", "a whole number of at least 1"),
    ("resources: {nodes: »0}", "resources.nodes", "not-allowed", "at least 1, got 0"),
    ("resources: {nodes: »-3}", "resources.nodes", "not-allowed", "got -3"),
    ("resources: {nodes: »1.5}", "resources.nodes", "wrong-type", "got 1.5"),
    ("resources: {nodes: »'2'}", "resources.nodes", "wrong-type", "Remove the quotes."),
    ("resources: {nodes: »010}", "resources.nodes", "wrong-type", "Write 10, without leading"),
    ("resources: {nodes: »true}", "resources.nodes", "wrong-type", "got true"),
    ("resources: {spares: »-1}", "resources.spares", "not-allowed", "at least 0"),
    ("resilience: {heartbeat_s: »0}", "resilience.heartbeat_s", "not-allowed", "above 0"),
    ("resources: {exclusive: »yes}", "resources.exclusive", "wrong-type", "Write true."),
    ("resources: {exclusive: »Off}", "resources.exclusive", "wrong-type", "Write false."),
    ("resources: {exclusive: »1}", "resources.exclusive", "wrong-type", "true or false"),
    # words
    ("!name: a\nlaunch: {command: [a], kind: »tosch}", "launch.kind", "not-allowed", "'torch'"),
    ("affinity: »stritc", "affinity", "not-allowed", "off, warn or strict"),
    ("after: [{run: a, when: »never}]", "after.0.when", "not-allowed", "ok, any, notok or start"),
    ("resilience: {then: [stop, »reque]}", "resilience.then.1", "not-allowed", "'requeue'"),
    ("!name: »''\nlaunch: {command: [a]}", "name", "not-allowed", "must not be empty"),
    ("!name: »a/b\nlaunch: {command: [a]}", "name", "not-allowed", "'/'"),
    ("!name: ».a\nlaunch: {command: [a]}", "name", "not-allowed", "'.'"),
    ("!name: »2024\nlaunch: {command: [a]}", "name", "not-allowed", "cannot be told from a job id"),
    ("!name: »[a]\nlaunch: {command: [a]}", "name", "wrong-type", "expected text, got a list"),
    ('!name: »"a\\nb"\nlaunch: {command: [a]}', "name", "not-allowed", "single line"),
    ("resources: {partition: »a b}", "resources.partition", "not-allowed", "holds a space"),
    ("resources: {time: »5 parsecs}", "resources.time", "not-allowed", "is not a duration"),
    ("resources: {time: »0}", "resources.time", "not-allowed", "no time at all"),
    ("resources: {time: »1.5}", "resources.time", "wrong-type", "expected a duration"),
    ("resources: {memory: »64X}", "resources.memory", "not-allowed", "is not a size"),
    ("resources: {memory: »4G/core}", "resources.memory", "not-allowed", "only cpu or gpu"),
    ("resources: {gpus_per_node: »h100}", "resources.gpus_per_node", "not-allowed", "h100:8"),
    ("resources: {gpus_per_node: »h100:0}", "resources.gpus_per_node", "not-allowed", "none"),
    ("resources: {nodelist: »'n[1-'}", "resources.nodelist", "not-allowed", "node[01-16,20]"),
    ("checkpoint: {every: »soon}", "checkpoint.every", "not-allowed", "is not a duration"),
    ("checkpoint: {every: »0}", "checkpoint.every", "not-allowed", "at least 1"),
    ("resilience: {hang: »never}", "resilience.hang", "not-allowed", "is not a duration"),
    # lists
    (
        "!name: a\nlaunch: {command: »python train.py --lr 0.1}",
        "launch.command",
        "wrong-type",
        "Write a list: [python, train.py, --lr, 0.1].",
    ),
    ("!name: a\nlaunch: {command: »[]}", "launch.command", "not-allowed", "must not be empty"),
    ("!name: a\nlaunch: {command: [»'']}", "launch.command.0", "not-allowed", "name is empty"),
    ("!name: a\nlaunch: {command: [a, »~]}", "launch.command.1", "wrong-type", "no value"),
    ("!name: a\nlaunch: {command: [a, »[b]]}", "launch.command.1", "wrong-type", "got a list"),
    (
        "!name: a\nlaunch: {command: [a, »{sweep.lr}]}",
        "launch.command.1",
        "wrong-type",
        'Put it in quotes: "{sweep.lr}".',
    ),
    ("sbatch: »--mail-type=END", "sbatch", "wrong-type", "Write a list: ["),
    ("software: {modules: [»a b]}", "software.modules.0", "not-allowed", "holds a space"),
    # env and secrets
    ("env: {»1X: a}", "env.1X", "bad-name", "not a variable name"),
    ("env:\n  »A-B: a", "env.A-B", "bad-name", "letters, digits"),
    ("env:\n  »X:", "env.X", "wrong-type", 'Write "" for an empty text'),
    ("env: {X: »null}", "env.X", "wrong-type", "has no value"),
    ("env: {X: »[a]}", "env.X", "wrong-type", "expected text, got a list"),
    ('env: {X: »"a\\0b"}', "env.X", "not-allowed", "NUL"),
    ("env: »[X=1]", "env", "wrong-type", "a mapping of names to texts"),
    ("secrets: [»9A]", "secrets.0", "not-allowed", "not a variable name"),
    ("secrets: »TOKEN", "secrets", "wrong-type", "Write a list: [TOKEN]."),
    ("env: {A: x}\nsecrets: [»A]", "secrets.0", "impossible", "stands under env, too"),
    ("secrets: [A, »A]", "secrets.1", "impossible", "twice"),
    ("secrets: [»{name: A, file: x, env: B}]", "secrets.0", "impossible", "two sources"),
    ("env: {RANK: »3}", "env.RANK", "reserved-name", "slurmkit sets it for every task"),
    ("env: {MASTER_ADDR: »h}", "env.MASTER_ADDR", "reserved-name", "slurmkit sets it"),
    ("env: {SLURM_JOB_ID: »3}", "env.SLURM_JOB_ID", "reserved-name", "Slurm sets it"),
    ("secrets: [»OMPI_COMM_WORLD_RANK]", "secrets.0", "reserved-name", "slurmkit sets it"),
    # arrays and sweeps
    ("array: »0-x", "array", "not-allowed", "not a set of indices"),
    ("array: »9-0", "array", "not-allowed", "runs backwards; write 0-9"),
    ("array: »0-9%0", "array", "not-allowed", "not a set of indices"),
    ("array: {indices: »0-9%4}", "array.indices", "not-allowed", "limit: 4"),
    ("array: »0-5000000", "array", "not-allowed", "no array index above 4000000"),
    ("»array:\n- 1", "array", "wrong-type", "got a list"),
    ("array: »0-3\nsweep: {a: ['1']}", "array", "impossible", "a sweep is an array itself"),
    ("sweep: {lr: »0.1}", "sweep.lr", "wrong-type", "a list of texts"),
    ("sweep: {lr: »[]}", "sweep.lr", "not-allowed", "must not be empty"),
    ("sweep: »{}", "sweep.matrix", "not-allowed", "must not be empty"),
    ("sweep: {lr: [a, »null]}", "sweep.lr.1", "wrong-type", "has no value"),
    ("sweep: {»1r: [a]}", "sweep.1r", "bad-name", "not a variable name"),
    ("sweep: {lr: [a], limit: »0}", "sweep.limit", "not-allowed", "at least 1"),
    ("sweep: {lr: [a], LR: »[b]}", "sweep.matrix.LR", "impossible", "both become SWEEP_LR"),
    (
        "!name: a\nlaunch: {command: [a, »'{sweep.rl}']}\nsweep: {lrr: [a], rll: [b]}",
        "launch.command.1",
        "unknown-name",
        "it has lrr, rll",
    ),
    (
        "!name: a\nlaunch: {command: [a, »'{sweep.lr}']}",
        "launch.command.1",
        "unknown-name",
        "there is no sweep",
    ),
    # combinations
    (
        "!name: a\nlaunch: {kind: mpi, launcher: »torchrun, command: [a]}",
        "launch.launcher",
        "impossible",
        "Use srun or mpirun for kind mpi",
    ),
    (
        "!name: a\nlaunch: {kind: command, launcher: »mpirun, command: [a]}",
        "launch.launcher",
        "impossible",
        "Use srun for kind command",
    ),
    (
        "!name: a\nlaunch: {kind: torch, launcher: torchrun, command: [»torchrun, a]}",
        "launch.command.0",
        "impossible",
        "torchrun already",
    ),
    ("resources: {memory: »80G/gpu}", "resources.memory", "impossible", "no GPUs"),
    (
        "resources: {nodes: 2, nodelist: »'n[1-3]'}",
        "resources.nodelist",
        "impossible",
        "names 3 hosts, and the job has 2 nodes",
    ),
    (
        "resources: {nodes: 2, nodelist: 'n[1-2]', exclude: »[n2, n3]}",
        "resources.exclude",
        "impossible",
        "excludes n2",
    ),
    ("software: {venv: a, conda: »b}", "software.conda", "impossible", "exclude each other"),
    (
        "software: {container: {image: a, mounts: ['/a:/b', »'a:b']}}",
        "software.container.mounts.1",
        "not-allowed",
        "is not a mount",
    ),
    (
        "software: {container: {image: a, mounts: ['/a:/b', »'/c:/b']}}",
        "software.container.mounts.1",
        "impossible",
        "entry 0 mounts already",
    ),
    (
        "after: [{run: a, when: ok}, »{run: a, when: notok}]",
        "after.1",
        "impossible",
        "Keep one of the two.",
    ),
    (
        "resilience: {on_node_failure: »spare}",
        "resilience.on_node_failure",
        "impossible",
        "no spare node",
    ),
    (
        "resilience: {on_node_failure: stop, then: [»requeue]}",
        "resilience.then.0",
        "impossible",
        "nothing comes after stop",
    ),
    # directives
    ("sbatch: [»--nodes=3]", "sbatch.0", "duplicate-option", "Set resources.nodes instead."),
    ("sbatch: [»-N3]", "sbatch.0", "duplicate-option", "resources.nodes"),
    ("sbatch: [»-p gpu]", "sbatch.0", "duplicate-option", "resources.partition"),
    ("sbatch: [»--part=gpu]", "sbatch.0", "duplicate-option", "resources.partition"),
    ("sbatch: [»--hold --time=3]", "sbatch.0", "duplicate-option", "resources.time"),
    ("sbatch: [»'--gres=gpu:4']", "sbatch.0", "duplicate-option", "resources.gpus_per_node"),
    (
        "resources: {gpus_per_node: 2}\nsbatch: [»'--gres=nvme:1']",
        "sbatch.0",
        "refused-option",
        "the last",
    ),
    ("sbatch: [»'--export=ALL,A=1']", "sbatch.0", "refused-option", "Put the variables under env."),
    ("sbatch: [--hold, »--output=x]", "sbatch.1", "refused-option", "slurmkit logs"),
    ("sbatch: [»--comment=x]", "sbatch.0", "refused-option", "submitted twice"),
    ("sbatch: [»mail-type=END]", "sbatch.0", "refused-option", "is not an option of sbatch"),
    ("sbatch: [»'#SBATCH --hold']", "sbatch.0", "refused-option", "Write --hold."),
    ("sbatch: [»'--mail-user=\"a']", "sbatch.0", "refused-option", "quote"),
    ("sbatch: [»--no-requeue]", "sbatch.0", "duplicate-option", "on_node_failure: stop"),
    # extends
    ("extends: »missing.yaml", "", "no-file", "there is no file"),
    ("extends: [»missing.yaml]", "", "no-file", "there is no file"),
    ("extends: »~nobody-here/x.yaml", "", "no-file", "there is no file"),
    ('extends: »"a\\0b"', "", "no-file", "cannot be read"),
    ("extends: »/", "", "no-file", "is a folder"),
    ("extends: »{a: b}", "extends", "bad-extends", "name of a YAML file"),
    ("extends: »job.yaml", "extends", "bad-extends", "job.yaml -> job.yaml"),
    # YAML
    ("env:\n»\tX: 1", "", "bad-yaml", "a tab indents this line"),
    ("resources: {nodes: 2\n»", "", "bad-yaml", "not YAML"),
    ("env:\n  X: a»: b", "", "bad-yaml", "Put the value in quotes"),
    ("env:\n  X: »@a", "", "bad-yaml", "Put the value in quotes"),
    ("env:\n  X: »*a", "", "bad-yaml", "no &a before"),
    ("env: &e\n  X: »*e", "", "bad-yaml", "inside the value that it names"),
    ("env:\n  X: »!!python/name:os.system ''", "", "bad-yaml", "the tag !!python/name"),
    ("env:\n  <<: »a", "", "bad-yaml", "'<<' takes a mapping"),
    ("env:\n  ? »[a]\n  : b", "", "bad-yaml", "a key must be a name"),
    ("»---\nname: b", "", "bad-yaml", "a second document"),
    ("env:\n  X: a»\x07b", "", "bad-encoding", "control character"),
    ("env: " + "[" * 31 + "»[]" + "]" * 31, "", "bad-yaml", "nested more than"),
    ("!»", "", "empty-file", "the file is empty"),
    ("!»- a", "", "bad-yaml", "got a list"),
    ("!»hello", "", "bad-yaml", "got 'hello'"),
]


def one_problem(path: Path) -> Problem:
    with pytest.raises(InvalidInputError) as caught:
        load(path)
    errors = [problem for problem in caught.value.problems if not problem.warning]
    assert len(errors) == 1, caught.value
    return errors[0]


@pytest.mark.parametrize(("text", "key", "code", "words"), CASES, ids=[case[0] for case in CASES])
def test_place_key_and_code(tmp_path: Path, text: str, key: str, code: str, words: str) -> None:
    text = text[1:] if text.startswith("!") else NEEDED + text
    before, _, after = text.partition("»")
    path = tmp_path / "job.yaml"
    path.write_text(before + after)
    problem = one_problem(path)
    assert problem.where is not None
    lines = before.split("\n")
    expected = (str(path), len(lines), len(lines[-1]) + 1)
    assert (problem.where.file, problem.where.line, problem.where.column) == expected, problem
    assert (problem.key, problem.code) == (key, code), problem
    assert words in f"{problem.message}\n{problem.hint}"


def test_all_problems_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(
        "name: a/b\nresources:\n  nodes: two\n  nodez: 3\nlaunch:\n  command: a b\nzzz: 1\n"
    )
    with pytest.raises(InvalidInputError) as caught:
        load(path)
    assert [problem.key for problem in caught.value.problems] == [
        "name",
        "resources.nodes",
        "resources.nodez",
        "launch.command",
        "zzz",
    ]


def test_the_message_reads_well(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(NEEDED + "resources:\n  node: 4\n")
    with pytest.raises(InvalidInputError) as caught:
        load(path)
    assert str(caught.value) == (
        f"{path}:4:3: resources.node: unknown key 'node' in resources\n    Did you mean 'nodes'?"
    )


@pytest.mark.parametrize(
    ("data", "line", "column", "words"),
    [
        (b"name: a\nlaunch: \xff", 2, 9, "byte 0xff is not UTF-8"),
        ("name: ä".encode("latin-1"), 1, 7, "Save the file as UTF-8."),
        ("name: a".encode("utf-16"), 1, 1, "UTF-16"),
        (b"name: a\r\nenv: \x00", 2, 6, "control character"),
        (b"#" * (1 << 20) + b"##", 1, 1, "more than 1048576 bytes"),
        (b"", 1, 1, "the file is empty"),
        (b"# only a comment\n", 1, 1, "the file is empty"),
    ],
)
def test_encodings(tmp_path: Path, data: bytes, line: int, column: int, words: str) -> None:
    path = tmp_path / "job.yaml"
    path.write_bytes(data)
    problem = one_problem(path)
    assert problem.where is not None
    assert (problem.where.line, problem.where.column) == (line, column)
    assert words in f"{problem.message}\n{problem.hint}"


def test_aliases_that_explode_are_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [" + ", ".join(["x"] * 10) + "]"]
    for level in range(1, 12):
        items = ", ".join([f"*a{level - 1}"] * 10)
        lines.append(f"a{level}: &a{level} [{items}]")
    path = tmp_path / "job.yaml"
    path.write_text("\n".join(lines))
    problem = one_problem(path)
    assert problem.code == "too-large"
    assert problem.where is not None
    assert problem.where.line > 3


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "llama.yaml").write_text(NEEDED)
    problem = one_problem(tmp_path / "lama.yaml")
    assert problem.code == "no-file"
    assert problem.hint == "Did you mean 'llama.yaml'?"
    problem = one_problem(tmp_path)
    assert "is a folder" in problem.message
    problem = one_problem(tmp_path / "no" / "where.yaml")
    assert "no folder" in problem.hint


def test_warnings_do_not_stop_a_job(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(
        "name: demo\nlaunch:\n  command: [srun, a]\n"
        "env:\n  P: $HOME/x\n  PATH: /x\n  SLURM_CPU_BIND: none\n  L: '{sweep.lr}'\n"
        "sweep:\n  lr: [a, a]\nafter: demo\nresources: {spares: 1}\n"
    )
    job = load(path)
    assert all(problem.warning for problem in job.warnings)
    assert [(problem.key, problem.code) for problem in job.warnings] == [
        ("launch.command.0", "unlikely"),
        ("env.P", "unlikely"),
        ("env.PATH", "unlikely"),
        ("env.SLURM_CPU_BIND", "unlikely"),
        ("env.L", "unlikely"),
        ("sweep.matrix.lr", "unlikely"),
        ("sweep.matrix.lr", "unlikely"),
        ("after.0", "unlikely"),
        ("resources.spares", "unlikely"),
    ]
    assert str(job.warnings[0].where) == f"{path}:3:13"
