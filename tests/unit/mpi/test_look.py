"""Which MPI a program uses: its file, its library, its Python, the tools on PATH."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from slurmkit.api.mpi import answer, describe_mpi
from slurmkit.api.schemas import schema_of
from slurmkit.errors import UsageError
from slurmkit.launch.labels import task_label
from slurmkit.launch.messages import hydra_exits
from slurmkit.launch.mpi import before_program
from slurmkit.launch.variables import Placement
from slurmkit.mpi import guard
from slurmkit.mpi.elf import family_of, needed
from slurmkit.mpi.found import Found
from slurmkit.mpi.look import Look, launcher_of, look, pmi_libraries
from slurmkit.mpi.match import mismatch
from slurmkit.mpi.report import Report, mpirun_options

ENV = {"PATH": os.environ["PATH"], "OMPI_ALLOW_RUN_AS_ROOT": "1"}
SOURCE = """
#include <mpi.h>
#include <stdio.h>
int main(int argc, char **argv)
{
    int size;
    MPI_Init(&argc, &argv);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    printf("a world of %d\\n", size);
    MPI_Finalize();
    return 0;
}
"""


@pytest.fixture(scope="module", params=["openmpi", "mpich"])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = f"mpicc.{request.param}"
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "program.c").write_text(SOURCE)
    built = folder / request.param
    subprocess.run([compiler, "-o", built, folder / "program.c"], check=True, timeout=60)
    return built


def test_a_programs_libraries_are_those_that_readelf_shows(program: Path) -> None:
    names = needed(str(program))
    assert family_of(names) == program.name
    if shutil.which("readelf"):
        command = ["readelf", "-d", program]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        shown = [
            line.rpartition("[")[2].strip("]") for line in said.splitlines() if "NEEDED" in line
        ]
        assert list(names) == shown


@pytest.mark.parametrize("cut", [0, 3, 16, 63, 64, 200, 4000])
def test_a_broken_file_names_no_library(program: Path, tmp_path: Path, cut: int) -> None:
    (tmp_path / "cut").write_bytes(program.read_bytes()[:cut])
    assert isinstance(needed(str(tmp_path / "cut")), tuple)
    assert needed(__file__) == ()


@pytest.mark.parametrize(
    ("names", "family"),
    [
        (("libmpi.so.40", "libc.so.6"), "openmpi"),
        (("libmpi_mpifh.so.40", "libmpi.so.40"), "openmpi"),
        (("libmpi.so.12", "libc.so.6"), "mpich"),
        (("libmpifort.so.12", "libmpi.so.12"), "mpich"),
        (("libmpich.so.12",), "mpich"),
        (("libmpi_cray.so.12",), "mpich"),
        (("libc.so.6", "libm.so.6"), ""),
    ],
)
def test_the_family_by_the_names_of_libraries(names: tuple[str, ...], family: str) -> None:
    assert family_of(names) == family


def test_the_library_itself_is_asked(program: Path) -> None:
    seen = look([str(program)], ENV, Path("/"))
    assert seen.certain
    assert seen.found is not None
    assert seen.found.family == program.name
    assert seen.found.library.startswith("/")
    started = launcher_of(seen.found, ENV)
    assert started is not None
    assert started[1].family == program.name


def test_mpi4py_is_asked_in_the_programs_own_python() -> None:
    pytest.importorskip("mpi4py")
    seen = look([sys.executable, "train.py"], ENV, Path("/"))
    assert seen.certain
    assert seen.found is not None
    assert seen.found.source == "mpi4py"
    assert Path(seen.found.library).exists()


def test_what_cannot_be_looked_through_is_not_certain(tmp_path: Path) -> None:
    seen = look(["bash", "run.sh"], ENV, tmp_path)
    assert not seen.certain
    assert look(["./missing"], {"PATH": str(tmp_path)}, tmp_path) == Look(None, absent=True)
    assert not look([], {"PATH": str(tmp_path)}, tmp_path).absent


def test_a_missing_library_is_named(program: Path, tmp_path: Path) -> None:
    old = b"libmpi.so.40" if program.name == "openmpi" else b"libmpich.so.12"
    new = old[:-2] + b"99"
    broken = tmp_path / "broken"
    broken.write_bytes(program.read_bytes().replace(old, new))
    broken.chmod(0o755)
    assert look(["./broken"], ENV, tmp_path).missing == new.decode()


@pytest.mark.parametrize("launcher", ["srun", "mpirun"])
def test_a_program_that_is_not_there_is_named(launcher: str) -> None:
    refusal = describe_mpi(["./none"], launcher=launcher, plugins="  none\n  pmi2\n").refusal
    assert refusal is not None
    assert refusal.reason.startswith(f"there is no program ./none on {os.uname().nodename}, in /")


def test_slurms_pmi_libraries_are_found(tmp_path: Path) -> None:
    (tmp_path / "libpmi2.so.0").touch()
    (tmp_path / "libpmi.so").touch()
    assert pmi_libraries({}, [tmp_path / "none", tmp_path]) == {
        "pmi2": str(tmp_path / "libpmi2.so.0"),
        "pmi1": str(tmp_path / "libpmi.so"),
    }
    named = {"I_MPI_PMI_LIBRARY": "/opt/slurm/lib/libpmi.so"}
    assert pmi_libraries(named, [tmp_path]) == {"pmi1": "/opt/slurm/lib/libpmi.so"}


@pytest.mark.parametrize(
    ("family", "speaks", "env", "wrong"),
    [
        ("openmpi", ("pmix",), {"PMIX_NAMESPACE": "slurm.pmix.1.0", "PMIX_RANK": "0"}, False),
        ("openmpi", ("pmix",), {"PMI_FD": "11", "PMI_RANK": "0"}, True),
        ("openmpi", ("pmix",), {}, True),
        ("mpich", ("pmi2", "pmi1"), {"PMI_FD": "11"}, False),
        ("mpich", ("pmi2", "pmi1"), {"PMI_PORT": "n1:3000"}, False),
        ("mpich", ("pmi2", "pmi1"), {"PMIX_RANK": "0"}, True),
        ("mpich", ("pmi2", "pmi1"), {"PMI_RANK": "0", "PMI_SIZE": "4"}, True),
        ("mpich", (), {"PMIX_RANK": "0"}, False),
        ("mpich", (), {}, True),
        ("", (), {}, False),
    ],
)
def test_a_rank_without_its_pmi_is_lost(
    family: str, speaks: tuple[str, ...], env: dict[str, str], wrong: bool
) -> None:
    assert bool(mismatch(family, speaks, env)) == wrong


def place(world_size: int = 4) -> Placement:
    return Placement(0, world_size, 0, min(2, world_size), 0, max(1, world_size // 2))


def test_exec_refuses_what_would_not_meet(program: Path) -> None:
    with pytest.raises(UsageError, match="would not meet"):
        before_program({"PATH": ENV["PATH"]}, place(), str(program))
    before_program({}, place(1), str(program))
    before_program({"SLURMKIT_MPI_CHECK": "off"}, place(), str(program))
    with pytest.raises(UsageError, match="mpirun has started 2 ranks, and the job asked for 4"):
        before_program({"SLURMKIT_MPI_RANKS": "4"}, place(2), "bash")


def test_exec_preloads_the_guard(tmp_path: Path) -> None:
    (tmp_path / "guard.so").touch()
    path = str(tmp_path / "guard.so")
    env = {"SLURMKIT_MPI_GUARD": path, "LD_PRELOAD": "/lib/mine.so"}
    before_program(env, place(), "bash")
    assert env["LD_PRELOAD"] == f"{path}:/lib/mine.so"
    assert env["SLURMKIT_MPI_WORLD"] == "4"
    for value in ("off", str(tmp_path / "gone.so")):
        env = {"SLURMKIT_MPI_GUARD": value}
        before_program(env, place(), "bash")
        assert "LD_PRELOAD" not in env


@pytest.fixture(scope="module")
def built_guard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = guard.build(tmp_path_factory.mktemp("guard"))
    if built is None:
        pytest.skip("no C compiler on this machine")
    return built


def _ended(command: list[object], env: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(word) for word in command],
        check=False,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(("expected", "code"), [("1", 0), ("4", 1), ("", 0)])
def test_the_guard_ends_a_world_that_is_too_small(
    program: Path, built_guard: Path, expected: str, code: int
) -> None:
    env = {**ENV, "LD_PRELOAD": str(built_guard), "SLURMKIT_MPI_WORLD": expected, "RANK": "0"}
    done = _ended([program], env)
    assert done.returncode == code, done.stderr
    assert ("a world of 1" in done.stdout) == (code == 0)
    complaint = "error: 4 ranks were started, but MPI sees a world of 1"
    assert (complaint in done.stderr) == (code == 1)


def test_the_guard_finds_mpi4pys_library(built_guard: Path) -> None:
    """Python opens it for itself alone, so that no usual lookup sees it."""
    pytest.importorskip("mpi4py")
    env = {**ENV, "LD_PRELOAD": str(built_guard), "SLURMKIT_MPI_WORLD": "3"}
    command = [sys.executable, "-c", "from mpi4py import MPI; print('started')"]
    done = _ended(command, env)
    assert done.returncode == 1
    assert "MPI sees a world of 1" in done.stderr
    assert done.stdout == ""


def test_without_a_compiler_there_is_no_guard(tmp_path: Path) -> None:
    assert guard.build(tmp_path, path=str(tmp_path)) is None
    (tmp_path / "cc").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "cc").chmod(0o755)
    assert guard.build(tmp_path, path=str(tmp_path)) is None
    assert [path.name for path in tmp_path.iterdir()] == ["cc"]


def test_the_guard_has_no_warnings(tmp_path: Path) -> None:
    compiler = guard.compiler()
    if compiler is None:
        pytest.skip("no C compiler on this machine")
    strict = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    command = [compiler, *strict, "-o", tmp_path / "guard.so", guard.source(), "-ldl"]
    subprocess.run(command, check=True, timeout=60)


@pytest.mark.parametrize(
    ("family", "major", "options"),
    [
        ("openmpi", 4, ["--tag-output", "--bind-to", "none"]),
        ("openmpi", 5, ["--output", "tag", "--bind-to", "none"]),
        ("mpich", 4, ["-prepend-rank", "-bind-to", "none"]),
        ("intel", 2021, ["-prepend-rank"]),
    ],
)
def test_the_options_of_each_mpirun(family: str, major: int, options: list[str]) -> None:
    assert mpirun_options(family, major, True) == options
    assert "none" not in mpirun_options(family, major, False)


def test_shell_lines_survive_odd_names(tmp_path: Path) -> None:
    odd = f"{tmp_path}/it's; $(touch {tmp_path}/ran)"
    report = Report(
        "x", "mpirun", Found("mpich", "4.0.2", ("pmi2",)), True, mpirun=odd, mpirun_family="mpich",
        guard=odd,
    )  # fmt: skip
    script = f"set -eu\n{report.exports(several_cpus=False)}\n" + (
        'printf "%s\\n" "$mpirun" "$SLURMKIT_MPI_GUARD" "$line_labels" "${mpirun_options[@]}"'
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [odd, odd, "hydra", "-prepend-rank"]
    assert not (tmp_path / "ran").exists()


def test_hydras_lines_and_last_words_are_understood() -> None:
    assert task_label(b"[13] text", "hydra") == (13, 5)
    assert task_label(b"[proxy:0:1@node2] text", "hydra") == (None, 0)
    said = (
        "=   BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES\n=   PID 281 RUNNING AT node2\n"
        "=   EXIT CODE: {}\n=   CLEANING UP REMAINING PROCESSES\n"
    )
    (exit_,) = hydra_exits(said.format(7))
    assert (exit_.host, exit_.exit_code, exit_.rank) == ("node2", 7, None)
    killed = (
        f"{said.format(9)}YOUR APPLICATION TERMINATED WITH THE EXIT STRING: Killed (signal 9)\n"
    )
    (exit_,) = hydra_exits(killed)
    assert (exit_.host, exit_.signal) == ("node2", "SIGKILL")
    assert hydra_exits("srun: error: node2") == []


def test_what_is_printed_for_programs_is_what_the_schema_says() -> None:
    for launcher in ("srun", "mpirun"):
        report = describe_mpi(["bash"], launcher=launcher, plugins="  none\n  pmi2\n")
        shown = json.loads(json.dumps(dataclasses.asdict(answer(report))))
        jsonschema.validate(shown, schema_of("mpi"))
        assert set(shown) == set(schema_of("mpi")["properties"])
