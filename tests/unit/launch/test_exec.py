"""``slurmkit exec`` as a real process: what the program gets, and what a user is told."""

import os
import signal
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from slurmkit.rundir.secretfile import write_secrets

Env = dict[str, str]
Run = Callable[..., "subprocess.CompletedProcess[bytes]"]

_SHOW = (
    "import os, sys\n"
    "sys.stdout.buffer.write(b'\\0'.join(map(os.fsencode, sys.argv[1:])) + b'\\0END\\0')\n"
    "sys.stdout.buffer.write(b'\\0'.join(k + b'=' + v for k, v in os.environb.items()))\n"
)
_ODD = [
    b"plain",
    b"two words",
    b" lead and trail ",
    b"a,b;c&d|e",
    b'it\'s "quoted" `id`',
    b"$HOME ${x} $(id)",
    b"line\nline\r\n",
    "grüße 🚀".encode(),
    b"back\\slash\\",
    b"",
    b"--leading",
    b"-x",
    b"100%s %j",
    b"\xff\xfe not utf-8",
    b"*?[a-z]{b,c}~",
]


def _shown(stdout: bytes) -> tuple[list[bytes], dict[bytes, bytes]]:
    argv, env = stdout.split(b"\0END\0", 1)
    return argv.split(b"\0"), dict(entry.split(b"=", 1) for entry in env.split(b"\0"))


def test_the_program_gets_its_place(run_exec: Run, task_env: Env) -> None:
    done = run_exec("--", "python3", "-c", _SHOW, env=task_env)
    _, env = _shown(done.stdout)
    assert (env[b"RANK"], env[b"WORLD_SIZE"], env[b"LOCAL_RANK"]) == (b"0", b"2", b"0")
    assert (env[b"MASTER_ADDR"], env[b"MASTER_PORT"]) == (b"node1", b"17000")
    assert done.stderr == b""


def test_any_argument_and_value_arrives_unchanged(run_exec: Run, task_env: Env) -> None:
    given = {f"ODD_{n}": value for n, value in enumerate(_ODD)}
    done = run_exec("--", "python3", "-c", _SHOW, *_ODD, env={**task_env, **given})
    argv, env = _shown(done.stdout)
    assert argv == _ODD
    assert {name: env[name.encode()] for name in given} == given


def test_values_of_files_and_secrets_arrive_unchanged(
    run_exec: Run, task_env: Env, tmp_path: Path
) -> None:
    given = {f"ODD_{n}": os.fsdecode(value) for n, value in enumerate(_ODD)}
    write_secrets(tmp_path, given)
    (tmp_path / "more").write_text("export FROM_FILE='yes'\nRANK='99'\n")
    env = {**task_env, "SLURMKIT_RUN_DIR": str(tmp_path)}
    done = run_exec("--env-file", "more", "--", "python3", "-c", _SHOW, env=env)
    _, seen = _shown(done.stdout)
    assert {name: os.fsdecode(seen[name.encode()]) for name in given} == given
    assert seen[b"FROM_FILE"] == b"yes"
    assert seen[b"RANK"] == b"0"  # a file cannot tell a task that it is another


@pytest.mark.parametrize("value", ["C", "POSIX"])
def test_pythons_own_locale_does_not_leak(run_exec: Run, task_env: Env, value: str) -> None:
    done = run_exec("--", "env", env={**task_env, "LANG": value})
    assert b"LC_CTYPE" not in done.stdout


def test_the_users_own_locale_stays(run_exec: Run, task_env: Env) -> None:
    done = run_exec("--", "env", env={**task_env, "LC_CTYPE": "C.UTF-8"})
    assert b"LC_CTYPE=C.UTF-8" in done.stdout


def test_signals_are_as_a_program_expects_them(run_exec: Run, task_env: Env) -> None:
    done = run_exec("--", "grep", "SigIgn", "/proc/self/status", env=task_env)
    ignored = int(done.stdout.split()[1], 16)
    assert not ignored & 1 << (signal.SIGPIPE - 1)
    assert not ignored & 1 << (signal.SIGXFSZ - 1)


def test_the_program_takes_the_place_of_exec(run_exec: Run, task_env: Env) -> None:
    done = run_exec("--", "sh", "-c", "kill -SEGV $$", env=task_env)
    assert done.returncode == -signal.SIGSEGV


def test_rank_0_of_a_bare_srun_keeps_its_port(run_exec: Run, task_env: Env, tmp_path: Path) -> None:
    env = {n: v for n, v in task_env.items() if not n.startswith(("MASTER", "SLURMKIT"))}
    script = "grep -c slurmkit/port/$MASTER_PORT /proc/net/unix"
    done = run_exec("--", "sh", "-c", script, env=env)
    assert done.stdout == b"1\n"
    assert list((tmp_path / ".cache/slurmkit/rendezvous").iterdir())


def test_one_launcher_per_node(run_exec: Run, task_env: Env) -> None:
    env = {**task_env, "SLURM_STEP_NUM_TASKS": "1", "SLURM_STEP_TASKS_PER_NODE": "1"}
    done = run_exec("--per-node", "--", "python3", "-c", _SHOW, env=env)
    _, seen = _shown(done.stdout)
    assert seen[b"PET_RDZV_ENDPOINT"] == b"node1:17000"
    assert seen[b"NODE_RANK"] == seen[b"GROUP_RANK"] == b"0"
    assert not {b"RANK", b"LOCAL_RANK", b"WORLD_SIZE", b"OMPI_COMM_WORLD_RANK"} & set(seen)


def test_one_launcher_per_node_refuses_two(run_exec: Run, task_env: Env) -> None:
    done = run_exec("--per-node", "--", "true", env=task_env)
    assert done.returncode == 2
    assert b"this node has 2 tasks, not one" in done.stderr


def test_a_wrong_variable_is_one_message_from_rank_0(run_exec: Run, task_env: Env) -> None:
    del task_env["SLURM_LOCALID"]
    done = run_exec("--", "true", env=task_env)
    assert (done.returncode, done.stdout) == (2, b"")
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("slurmkit: error: SLURM_LOCALID is not set (")
    other = run_exec("--", "true", env={**task_env, "SLURM_PROCID": "1"})
    assert (other.returncode, other.stdout, other.stderr) == (2, b"", b"")


def test_another_runs_secrets_are_not_applied(run_exec: Run, task_env: Env, tmp_path: Path) -> None:
    """A job that was submitted from inside a run inherits its variables."""
    write_secrets(tmp_path, {"TOKEN": "s3cret"})
    env = {**task_env, "SLURMKIT_RUN_DIR": str(tmp_path), "SLURMKIT_INCARNATION": "6.0.abcd"}
    done = run_exec("--", "sh", "-c", 'echo "<$TOKEN>"', env=env)
    assert done.stdout == b"<>\n"


def test_without_a_launcher_it_says_so(run_exec: Run) -> None:
    done = run_exec("--", "true", env={})
    assert done.returncode == 2
    assert b"this is no task of a Slurm step or of mpirun" in done.stderr


@pytest.mark.parametrize(
    ("program", "code", "words"),
    [
        ("no-such-program", 127, "not found in PATH="),
        ("./no-such-program", 127, "no such program"),
        ("./plain", 126, "not executable"),
        (".", 126, "not executable"),
        ("./bad-interpreter", 127, "its interpreter (the #! line) does not exist"),
        ("./no-interpreter", 126, "not a program: it has no #! line"),
    ],
)
def test_a_program_that_cannot_start_is_said_once_per_node(
    run_exec: Run, task_env: Env, tmp_path: Path, program: str, code: int, words: str
) -> None:
    (tmp_path / "plain").write_text("x")
    for name, text in (("bad-interpreter", "#!/none\n"), ("no-interpreter", "echo x\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(stat.S_IRWXU)
    done = run_exec("--", program, env=task_env)
    assert done.returncode == code
    (line,) = done.stderr.decode().splitlines()
    assert f"cannot run {program}: " in line
    assert words in line
    other = run_exec("--", program, env={**task_env, "SLURM_PROCID": "1", "SLURM_LOCALID": "1"})
    assert (other.returncode, other.stderr) == (code, b"")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], "no program"),
        (["--"], "no program"),
        (["--what", "--", "true"], "no option --what"),
        (["--env-file"], "no option --env-file"),
        (["--env-file", "/none", "--", "true"], "cannot read the environment file /none"),
    ],
)
def test_a_wrong_command_line(run_exec: Run, task_env: Env, args: list[str], words: str) -> None:
    done = run_exec(*args, env=task_env)
    assert done.returncode == 2
    assert words in done.stderr.decode()


def test_the_separator_may_be_left_out(run_exec: Run, task_env: Env) -> None:
    done = run_exec("echo", "--", "-n", env=task_env)
    assert done.stdout == b"-- -n\n"


def test_help(run_exec: Run) -> None:
    done = run_exec("--help", env={})
    assert done.returncode == 0
    assert done.stdout.startswith(b"Usage: slurmkit exec")


def test_it_imports_next_to_nothing(run_exec: Run, task_env: Env) -> None:
    env = {**task_env, "PYTHONVERBOSE": "1"}
    said = run_exec("--", "true", env=env).stderr.decode()
    for module in ("dataclasses", "typing", "json", "subprocess", "pathlib", "socket", "logging"):
        assert f"import '{module}'" not in said
