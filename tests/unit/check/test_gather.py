"""What is found on this machine: real files, real permissions, a real PATH."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from slurmkit.check import Facts, check_job, gather_facts
from slurmkit.check.filesystems import FileSystems
from slurmkit.check.probes import (
    conda_environments,
    module_command,
    module_fact,
    program_fact,
    run_root_fact,
    secret_fact,
)
from slurmkit.errors import Problem
from slurmkit.plan.planner import Context, make_plan
from slurmkit.site.models import Site
from slurmkit.spec.loader import Job
from slurmkit.spec.models import SecretSource

Look = Callable[..., Facts]


@pytest.fixture
def look(job_of: Callable[[str], Job], tmp_path: Path) -> Look:
    """Return a function from YAML text to what is found; ``problems`` judges it offline."""

    def gather(text: str, **more: object) -> Facts:
        job = job_of(text)
        root = tmp_path / "runs"
        plan = make_plan(job.spec, Site(), None, Context(str(job.base_dir), str(root)))
        return gather_facts(job, plan, root, **more)  # type: ignore[arg-type]

    return gather


@pytest.fixture
def problems(job_of: Callable[[str], Job], tmp_path: Path) -> Callable[[str], list[Problem]]:
    """Return a function from YAML text to the errors that need no cluster."""

    def check(text: str) -> list[Problem]:
        job = job_of(text)
        root = tmp_path / "runs"
        plan = make_plan(job.spec, Site(), None, Context(str(job.base_dir), str(root)))
        found = check_job(job, plan, Site(), None, gather_facts(job, plan, root), "")
        return [problem for problem in found if not problem.warning]

    return check


def executable(path: Path, mode: int = 0o755) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n", encoding="utf-8")
    path.chmod(mode)
    return path


def test_a_job_that_has_everything(
    problems: Callable[[str], list[Problem]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    executable(work / ".venv" / "bin" / "python")
    (work / ".venv" / "bin" / "activate").write_text("", encoding="utf-8")
    (work / "train.py").write_text("", encoding="utf-8")
    token = tmp_path / "token"
    token.write_text("s3cret\n", encoding="utf-8")
    token.chmod(0o600)
    monkeypatch.setenv("WANDB_API_KEY", "another")
    text = (
        "launch: {command: [python, -u, train.py], workdir: work}\n"
        "software: {venv: work/.venv, setup: ['export A=1']}\n"
        "secrets: [WANDB_API_KEY, {name: HF_TOKEN, file: token}]\n"
    )
    assert problems(text) == []


def test_a_job_that_has_nothing(
    problems: Callable[[str], list[Problem]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    (tmp_path / "tokem").write_text("", encoding="utf-8")
    text = (
        "launch: {command: [pythom3, train.py], workdir: wrok}\n"
        "software: {venv: .venv}\n"
        "secrets: [WANDB_API_KEY, {name: HF_TOKEN, file: token}]\n"
    )
    (tmp_path / "work").mkdir()
    found = {problem.code: problem for problem in problems(text)}
    assert set(found) == {"workdir-missing", "program-missing", "venv-missing", "secret-missing"}
    assert found["workdir-missing"].hint == "Did you mean 'work'?"
    assert found["program-missing"].hint.startswith("Did you mean 'python")


def test_paths_start_from_the_yaml_file(
    look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "train.py").write_text("", encoding="utf-8")
    facts = look("launch: {command: [python3, train.py], workdir: work}\n")
    assert facts.script_file is not None
    assert facts.script_file.kind == "file"
    workdir = facts.path("launch.workdir")
    assert workdir is not None
    assert (workdir.path, workdir.kind) == (str(tmp_path / "work"), "folder")


def test_home_is_filled_in(look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "envs").mkdir()
    facts = look("software: {venv: ~/envs}\n")
    venv = facts.path("software.venv")
    assert venv is not None
    assert (venv.path, venv.kind, facts.venv_python) == (str(tmp_path / "envs"), "folder", False)


def test_a_venv_whose_python_is_gone(look: Look, tmp_path: Path) -> None:
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "activate").write_text("", encoding="utf-8")
    (tmp_path / "venv" / "bin" / "python").symlink_to("/usr/bin/python2.0")
    assert look("software: {venv: venv}\n").venv_python is False


def test_the_program_may_come_from_the_venv(look: Look, tmp_path: Path) -> None:
    executable(tmp_path / "venv" / "bin" / "my-trainer")
    facts = look("launch: {command: [my-trainer]}\nsoftware: {venv: venv}\n")
    assert facts.programs[0].found == str(tmp_path / "venv" / "bin" / "my-trainer")


def test_nothing_inside_an_image_is_looked_for(look: Look, tmp_path: Path) -> None:
    (tmp_path / "x.sif").write_text("", encoding="utf-8")
    facts = look(
        "launch: {command: [only-in-image]}\n"
        "software: {container: {image: x.sif, runtime: apptainer, mounts: ['/no/data:/data']}}\n"
    )
    assert [program.name for program in facts.programs] == ["apptainer"]
    image = facts.path("software.container.image")
    mount = facts.path("software.container.mounts.0")
    assert image is not None
    assert mount is not None
    assert (image.kind, mount.kind) == ("file", "missing")
    registry = look("software: {container: {image: 'docker://x', runtime: pyxis}}\n")
    assert registry.path("software.container.image") is None


def test_launchers_are_looked_for(look: Look) -> None:
    mpi = look("launch: {kind: mpi, launcher: mpirun, command: [./solve]}\n")
    assert [program.name for program in mpi.programs] == ["mpirun", "./solve"]
    torch = look("launch: {kind: torch, launcher: torchrun, command: [./train]}\n")
    assert [program.name for program in torch.programs] == ["torchrun", "./train"]
    python = look("launch: {kind: torch, launcher: torchrun, command: [python3, train.py]}\n")
    assert [program.name for program in python.programs] == ["python3"]


def test_a_program_by_path_starts_from_the_workdir(tmp_path: Path) -> None:
    executable(tmp_path / "bin" / "solve")
    executable(tmp_path / "bin" / "notes", mode=0o644)
    assert program_fact("k", "bin/solve", tmp_path, []).found == str(tmp_path / "bin" / "solve")
    assert program_fact("k", "./bin/solv", tmp_path, []).near == "bin/solve"
    fact = program_fact("k", "bin/notes", tmp_path, [])
    assert fact.found
    assert fact.executable is False
    assert program_fact("k", "bin", tmp_path, []).found == "", "a folder is no program"


def test_syntax_of_setup_lines(look: Look) -> None:
    assert look("software: {setup: ['if true; then', 'echo', 'fi']}\n").setup_complaint == ""
    assert "syntax error" in look("software: {setup: ['echo (']}\n").setup_complaint


def test_templates_of_people_and_only_those(look: Look, tmp_path: Path) -> None:
    from slurmkit.resources import shipped_dir  # noqa: PLC0415

    own = tmp_path / "templates"
    (own / "sbatch").mkdir(parents=True)
    (own / "sbatch" / "command.sbatch.j2").write_text("mine", encoding="utf-8")
    facts = look("resources: {nodes: 1}\n", template_dirs=[own, shipped_dir("templates")])
    assert [template.text for template in facts.templates] == ["mine"]


def test_who_and_when(look: Look) -> None:
    facts = look("resources: {nodes: 1}\n")
    assert facts.uid == os.getuid()
    assert abs(facts.now - time.time()) < 60
    assert facts.environ_bytes > 100
    assert facts.arg_max >= 128 * 1024


class TestRunRoot:
    def test_it_need_not_exist(self, tmp_path: Path) -> None:
        fact = run_root_fact(tmp_path / "a" / "b", FileSystems())
        assert (fact.parent, fact.writable) == (str(tmp_path), True)
        assert not (tmp_path / "a").exists()
        assert fact.free_bytes is not None

    def test_a_file_in_the_way(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_text("", encoding="utf-8")
        assert run_root_fact(tmp_path / "a" / "b", FileSystems()).writable is False

    def test_a_read_only_file_system(self) -> None:
        assert run_root_fact(Path("/proc/slurmkit"), FileSystems()).writable is False or (
            os.access("/proc", os.W_OK)
        )


class TestSecrets:
    def test_of_a_file(self, tmp_path: Path) -> None:
        path = tmp_path / "token"
        path.write_text("\n", encoding="utf-8")
        path.chmod(0o640)
        fact = secret_fact(2, SecretSource(name="T", file="token"), tmp_path, {})
        assert (fact.key, fact.mode, fact.empty, fact.present) == ("secrets.2", 0o640, True, True)
        assert fact.owner == os.getuid()
        missing = secret_fact(0, SecretSource(name="T", file="no"), tmp_path, {})
        assert missing.present is False

    def test_of_the_environment(self, tmp_path: Path) -> None:
        source = SecretSource(name="T", env="S")
        assert secret_fact(0, source, tmp_path, {"S": "value"}).empty is False
        assert secret_fact(0, source, tmp_path, {"S": ""}).empty is True
        assert secret_fact(0, source, tmp_path, {"T": "value"}).present is False

    def test_no_value_is_kept(self, tmp_path: Path) -> None:
        fact = secret_fact(0, SecretSource(name="T"), tmp_path, {"T": "hunter2"})
        assert "hunter2" not in repr(fact)


class TestModules:
    def test_in_the_module_path(self, tmp_path: Path) -> None:
        (tmp_path / "cuda").mkdir()
        (tmp_path / "cuda" / "12.4.lua").write_text("", encoding="utf-8")
        (tmp_path / "gcc").write_text("", encoding="utf-8")
        environ = {"MODULEPATH": f"/none:{tmp_path}"}
        assert module_fact("", "cuda/12.4", environ).found
        assert module_fact("", "cuda", environ).found
        assert module_fact("", "gcc", environ).found
        missing = module_fact("", "cuda/12.5", environ)
        assert (missing.found, missing.near) == (False, "cuda/12.4")
        assert module_fact("", "cuda", {}).found is None

    def test_the_command(self, tmp_path: Path) -> None:
        assert module_command("", {"BASH_FUNC_module%%": "() { :; }"})
        assert module_command(str(executable(tmp_path / "modules.sh")), {})
        assert not module_command("/no/such/file", {"BASH_FUNC_module%%": "() { :; }"})


def test_conda_itself_is_looked_for(
    look: Look,
    problems: Callable[[str], list[Problem]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CONDA_EXE", raising=False)
    monkeypatch.setenv("PATH", str(executable(tmp_path / "bin" / "hostname").parent))
    assert [problem.message for problem in problems("software: {conda: torch}\n")] == [
        "there is no program 'conda' on PATH"
    ]
    executable(tmp_path / "bin" / "conda")
    assert problems("software: {conda: torch}\n") == []
    monkeypatch.setenv("CONDA_EXE", "/opt/conda/bin/conda")
    names = [program.name for program in look("software: {conda: torch}\n").programs]
    assert names == ["hostname"]


def test_conda_environments(tmp_path: Path) -> None:
    (tmp_path / "conda" / "envs" / "torch").mkdir(parents=True)
    (tmp_path / ".conda").mkdir()
    (tmp_path / ".conda" / "environments.txt").write_text("/x/y/jax\n", encoding="utf-8")
    environ = {"CONDA_EXE": str(tmp_path / "conda" / "bin" / "conda")}
    assert conda_environments(environ, tmp_path) == ["base", "torch", "jax"]
    assert conda_environments({}, tmp_path) is None


class TestFileSystems:
    MOUNTS = (
        "overlay / overlay rw 0 0",
        "tmpfs /tmp tmpfs rw 0 0",
        "nfs:/home /home nfs4 rw 0 0",
        "nfs:/tmp /tmp/shared nfs4 rw 0 0",
        "tmpfs /fast\\040disk tmpfs rw 0 0",
        "/dev/vda /tmp/bound ext4 rw 0 0",
        "tmpfs /scratch tmpfs rw 0 0",
        "lustre /scratch lustre rw 0 0",
    )

    @pytest.mark.parametrize(
        ("path", "kind", "local"),
        [
            ("/data/x", "overlay", False),
            ("/tmp/x", "tmpfs", True),
            ("/var/tmp/x", "overlay", True),
            ("/home/user1", "nfs4", False),
            ("/tmp/shared/x", "nfs4", False),
            ("/tmp/bound/x", "ext4", False),
            ("/fast disk/x", "tmpfs", True),
            ("/scratch/x", "lustre", False),
        ],
    )
    def test_which_are_of_one_machine(self, path: str, kind: str, local: bool) -> None:
        systems = FileSystems(self.MOUNTS)
        assert systems.type_of(path) == kind
        assert systems.is_node_local(path) is local

    def test_of_this_machine(self) -> None:
        assert FileSystems().type_of("/")
