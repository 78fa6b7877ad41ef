"""Where site.yaml is found and how its mistakes are named."""

from pathlib import Path

import pytest

from slurmkit.errors import InvalidInputError
from slurmkit.site import lookup
from slurmkit.site.describe import describe
from slurmkit.site.lookup import find_site, user_path
from slurmkit.site.models import Site


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Give an environment in which no site.yaml is found."""
    monkeypatch.setattr(lookup, "SYSTEM_PATH", tmp_path / "etc" / "site.yaml")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return {"XDG_CONFIG_HOME": str(tmp_path / "config")}


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_with_none_there_are_defaults(nowhere: dict[str, str]) -> None:
    found = find_site(None, nowhere)
    assert found.site == Site()
    assert (found.path, found.folder, found.origin) == (None, None, "defaults")
    assert found.source.locate("name") is not None or found.source.root is None


def test_the_nearest_wins(tmp_path: Path, nowhere: dict[str, str]) -> None:
    system = write(lookup.SYSTEM_PATH, "name: system")
    assert find_site(None, nowhere).path == system
    user = write(tmp_path / "config/slurmkit/site.yaml", "name: user")
    assert find_site(None, nowhere).path == user
    variable = write(tmp_path / "variable/site.yaml", "name: variable")
    environ = {**nowhere, "SLURMKIT_SITE": str(variable.parent)}
    assert find_site(None, environ).path == variable
    assert find_site("", environ).origin == "$SLURMKIT_SITE"
    named = write(tmp_path / "named/alpha.yaml", "name: named")
    found = find_site(str(named), environ)
    assert (found.path, found.folder, found.origin) == (named, named.parent, "--site")
    assert found.site.name == "named"


def test_home_stands_in_for_an_unset_or_relative_config_folder(
    tmp_path: Path, nowhere: dict[str, str]
) -> None:
    expected = tmp_path / "home/.config/slurmkit/site.yaml"
    assert user_path({}) == expected
    assert user_path({"XDG_CONFIG_HOME": "relative"}) == expected
    assert user_path({"XDG_CONFIG_HOME": ""}) == expected


@pytest.mark.parametrize("origin", ["--site", "$SLURMKIT_SITE"])
def test_a_named_site_must_exist(tmp_path: Path, nowhere: dict[str, str], origin: str) -> None:
    missing = str(tmp_path / "missing.yaml")
    explicit = missing if origin == "--site" else None
    with pytest.raises(InvalidInputError) as caught:
        find_site(explicit, {**nowhere, "SLURMKIT_SITE": missing})
    problem = caught.value.problems[0]
    assert problem.code == "no-file"
    assert missing in problem.message
    assert origin in problem.message
    with pytest.raises(InvalidInputError):  # a folder without the file
        find_site(str(tmp_path), nowhere)


FULL = """\
name: alpha
partitions:
  gpu: {node_type: dgx, default: true, default_time: 4h}
  cpu: {}
node_types:
  dgx: {gpus: 8, gpu_type: h100, cpus: 112, memory: 2000G, topology: dgx-h100}
tiers:
  production: {qos: high, partition: gpu}
  training: {qos: normal, preemptible: true}
default_account: research
env: {A: 010}
env_presets:
  nccl: {NCCL_DEBUG: WARN}
presets_for: {torch: [nccl]}
modules: {system: tmod, init: /etc/profile.d/modules.sh, purge: false, default: [slurm]}
container_runtime: apptainer
run_root: /scratch/$USER/runs
signal: {name: TERM, lead_s: 60}
sbatch_from_compute_nodes: true
mpi: pmix
sbatch: [--mail-type=FAIL]
"""


def test_a_full_site(tmp_path: Path) -> None:
    site = find_site(str(write(tmp_path / "site.yaml", FULL))).site
    assert site.env == {"A": "010"}
    assert site.partitions["gpu"].default_time == "4h"
    assert site.node_types["dgx"].gpus == 8
    assert site.tiers["training"].preemptible
    assert site.presets_for == {"torch": ["nccl"]}
    assert site.signal.lead_s == 60


CASES = [
    ("»nmae: x", "nmae", "unknown-key", "Did you mean 'name'?"),
    ("»gpus: 8", "gpus", "unknown-key", "Allowed here"),
    ("partitions: {a: {»nodetype: x}}", "partitions.a.nodetype", "unknown-key", "node_type"),
    ("partitions: »[a]", "partitions", "wrong-type", "a mapping of names"),
    ("node_types: {a: {cpus: »0}}", "node_types.a.cpus", "not-allowed", "at least 1"),
    ("node_types: {a: {memory: »lots}}", "node_types.a.memory", "not-allowed", "is not a size"),
    ("tiers: {a: »{}}", "tiers.a.qos", "missing-key", "'qos' is missing"),
    ("env: {»1A: x}", "env.1A", "bad-name", "not a variable name"),
    ("env: {A: »~}", "env.A", "wrong-type", "has no value"),
    ("env: {RANK: »1}", "env.RANK", "reserved-name", "slurmkit sets it"),
    ("env_presets: {a: {»A B: x}}", "env_presets.a.A B", "bad-name", "not a variable name"),
    ("env_presets: {a: {SLURM_JOB_ID: »1}}", "env_presets.a.SLURM_JOB_ID", "reserved-name", ""),
    ("presets_for: {»torhc: [a]}", "presets_for.torhc", "bad-name", "Did you mean 'torch'?"),
    ("presets_for: {torch: [»nccl]}", "presets_for.torch.0", "unknown-name", "env_presets"),
    (
        "env_presets: {nccl: {A: x}}\npresets_for: {torch: [»ncl]}",
        "presets_for.torch.0",
        "unknown-name",
        "Did you mean 'nccl'?",
    ),
    ("partitions: {a: {node_type: »x}}", "partitions.a.node_type", "unknown-name", "node_types"),
    (
        "partitions: {a: {}}\ntiers: {t: {qos: q, partition: »b}}",
        "tiers.t.partition",
        "unknown-name",
        "no 'b' under partitions",
    ),
    (
        "partitions: {a: {default: true}, b: {default: »true}}",
        "partitions.b.default",
        "impossible",
        "a is the default already",
    ),
    (
        "partitions: {a: {default: true}, b: {}}\ndefault_partition: »b",
        "default_partition",
        "impossible",
        "Keep one of the two.",
    ),
    ("modules: {system: »lmodd}", "modules.system", "not-allowed", "'lmod'"),
    ("container_runtime: »docker", "container_runtime", "not-allowed", "pyxis or apptainer"),
    ("signal: {lead_s: »70000}", "signal.lead_s", "not-allowed", "from 0 to 65535"),
    ("run_root: »''", "run_root", "not-allowed", "must not be empty"),
    ("sbatch: [»'--export=A=1']", "sbatch.0", "refused-option", "cannot be set"),
    ("default_time: »soon", "default_time", "not-allowed", "not a duration"),
    ("»- a", "", "bad-yaml", "got a list"),
]


@pytest.mark.parametrize(("text", "key", "code", "words"), CASES, ids=[case[0] for case in CASES])
def test_place_key_and_code(tmp_path: Path, text: str, key: str, code: str, words: str) -> None:
    before, _, after = text.partition("»")
    path = write(tmp_path / "site.yaml", before + after)
    with pytest.raises(InvalidInputError) as caught:
        find_site(str(path))
    (problem,) = caught.value.problems
    lines = before.split("\n")
    assert str(problem.where) == f"{path}:{len(lines)}:{len(lines[-1]) + 1}"
    assert (problem.key, problem.code) == (key, code)
    assert words in f"{problem.message}\n{problem.hint}"


def test_a_site_may_set_options_that_jobs_have_keys_for(tmp_path: Path) -> None:
    path = write(tmp_path / "site.yaml", "sbatch: [--exclusive, --qos=normal]")
    assert find_site(str(path)).site.sbatch == ["--exclusive", "--qos=normal"]


def test_describe_says_where_each_part_comes_from(tmp_path: Path) -> None:
    path = write(tmp_path / "site.yaml", FULL)
    described = describe(find_site(str(path)))
    assert (described["path"], described["origin"]) == (str(path), "--site")
    keys = described["keys"]
    assert keys["name"] == {"value": "alpha", "from": f"{path}:1:7"}
    assert keys["partitions.gpu.default"] == {"value": True, "from": f"{path}:3:34"}
    assert keys["partitions.cpu.default"] == {"value": False, "from": "default"}
    assert keys["default_partition"] == {"value": None, "from": "default"}
    assert keys["presets_for.torch"]["value"] == ["nccl"]
