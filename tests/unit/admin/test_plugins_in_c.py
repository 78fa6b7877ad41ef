"""The C side without Slurm: its unit tests and a short fuzz run, under sanitizers."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from slurmkit.launch.ports import candidates
from slurmkit.resources import shipped_dir

SOURCE = shipped_dir("plugins") / "spank"

pytestmark = pytest.mark.skipif(
    not shutil.which("make") or not shutil.which("cc"), reason="needs make and a C compiler"
)


@pytest.mark.parametrize("target", ["test", "fuzz"])
def test_parsers_under_sanitizers(target: str, tmp_path: Path) -> None:
    done = subprocess.run(
        ["make", f"--directory={SOURCE}", f"OUT={tmp_path}", "FUZZ_SECONDS=3", target],
        env=os.environ | {"MAKEFLAGS": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_function_that_slurmstepd_must_not_call() -> None:
    forbidden = r"(?<![\w.])(exit|popen|system|fork|vfork|setenv|putenv|strcpy|strcat|sprintf)\s*\("
    for path in [
        *SOURCE.glob("common/*.c"),
        *SOURCE.glob("rank/*.c"),
        *SOURCE.glob("affinity/*.c"),
    ]:
        code = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
        assert not re.findall(forbidden, code), path


def test_rank_plugin_and_exec_begin_at_the_same_port(tmp_path: Path) -> None:
    """The C hash is the one of slurmkit.launch.ports."""
    main = tmp_path / "port.c"
    main.write_text(
        f"""#include <stdio.h>
#include "{SOURCE}/rank/values.h"
int main(void)
{{
    struct sk_rank_args args;
    sk_rank_parse_args(0, NULL, &args);
    for (uint32_t job = 1; job < 4000; job += 37)
        printf("%u\\n", sk_rank_port(&args, job, job % 5));
    return 0;
}}
"""
    )
    program = tmp_path / "port"
    files = [str(main), f"{SOURCE}/rank/values.c", f"{SOURCE}/common/text.c"]
    subprocess.run(["cc", "-std=c11", "-o", program, *files], check=True, timeout=60)
    said = subprocess.run([program], capture_output=True, text=True, check=True, timeout=10).stdout
    ours = [next(candidates(16384, 32767, job * 64 + job % 5)) for job in range(1, 4000, 37)]
    assert list(map(int, said.split())) == ours
