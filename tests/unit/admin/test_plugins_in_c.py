"""The C side without Slurm: its unit tests and a short fuzz run, under sanitizers."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from slurmkit.launch.ports import candidates
from slurmkit.resources import shipped_dir
from slurmkit.topology.cpuset import format_cpulist
from slurmkit.topology.export_map import plugin_map
from slurmkit.topology.profile import load_profile

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


def test_c_reads_the_map_that_python_writes(tmp_path: Path) -> None:
    topology = load_profile("dgx-h100")
    text = plugin_map(topology)
    main = tmp_path / "read.c"
    main.write_text(
        f"""#include <stdio.h>
#include "{SOURCE}/affinity/map.h"
static struct sk_map map;
static char text[65536];
int main(void)
{{
    size_t size = fread(text, 1, sizeof(text) - 1, stdin);
    if (sk_map_parse(&map, text, size) != 0) {{
        puts(map.error);
        return 1;
    }}
    printf("%s\\n", map.host);
    for (size_t i = 0; i < map.num_gpus; i++) {{
        char cpus[256], mems[64];
        sk_set_format(&map.gpus[i].cpus, cpus, sizeof(cpus));
        sk_set_format(&map.gpus[i].mems, mems, sizeof(mems));
        const struct sk_gpu *gpu = &map.gpus[i];
        printf("%u %s %s %s %s\\n", gpu->index, gpu->pci, cpus, mems, gpu->nics);
    }}
    return 0;
}}
"""
    )
    program = tmp_path / "read"
    files = [str(main), f"{SOURCE}/affinity/map.c", f"{SOURCE}/common/text.c"]
    subprocess.run(["cc", "-std=c11", "-o", program, *files], check=True, timeout=60)
    done = subprocess.run(
        [program], input=text, capture_output=True, text=True, timeout=10, check=False
    )
    host, *lines = done.stdout.splitlines()
    assert (done.returncode, host) == (0, topology.host)
    assert len(lines) == len(topology.gpus) == 8
    for gpu, line in zip(topology.gpus, lines, strict=True):
        index, pci, cpus, mems, nics = line.split()
        written = next(row for row in text.splitlines() if row.startswith(f"gpu {index} "))
        assert (int(index), pci) == (gpu.index, gpu.pci)
        assert {f"cpus={cpus}", f"mems={mems}", f"nics={nics}"} <= set(written.split())
        assert mems == format_cpulist(frozenset({gpu.numa or 0}))


@pytest.mark.parametrize("slurmkit", [str(Path(sys.executable).with_name("slurmkit")), "/nowhere"])
def test_the_prolog_writes_a_map_once_and_never_fails(tmp_path: Path, slurmkit: str) -> None:
    table = tmp_path / "run/affinity.map"
    env = os.environ | {"SLURMKIT_MAP": str(table), "SLURMKIT": slurmkit}
    subprocess.run([SOURCE / "node/prolog-map.sh"], env=env, check=True, timeout=60)
    if slurmkit == "/nowhere":
        assert list(table.parent.iterdir()) == []
        return
    assert table.read_text().startswith("slurmkit-map 1 ")
    table.write_text("kept\n")
    subprocess.run([SOURCE / "node/prolog-map.sh"], env=env, check=True, timeout=60)
    assert table.read_text() == "kept\n"
