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


def make(output: Path, *arguments: str) -> str:
    """Run make and return what it says."""
    done = subprocess.run(
        ["make", f"--directory={SOURCE}", f"OUT={output}", *arguments],
        env=os.environ | {"MAKEFLAGS": ""},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_parsers_under_sanitizers(tmp_path: Path) -> None:
    assert "ok" in make(tmp_path, "test")
    assert "none went wrong" in make(tmp_path, "FUZZ_SECONDS=2", "mutate")


@pytest.mark.skipif(not shutil.which("clang"), reason="libFuzzer needs clang and libclang-rt-dev")
@pytest.mark.parametrize("seconds", [10, pytest.param(300, marks=pytest.mark.long)])
def test_parsers_under_libfuzzer(tmp_path: Path, seconds: int) -> None:
    said = make(tmp_path, f"FUZZ_SECONDS={seconds}", "fuzz")
    runs = re.search(r"stat::number_of_executed_units: (\d+)", said)
    assert runs
    assert int(runs[1]) > 1000
    assert not list(tmp_path.glob("crash-*"))


needs_headers = pytest.mark.skipif(
    not Path("/usr/include/slurm/spank.h").is_file(), reason="needs spank.h (libslurm-dev)"
)


@needs_headers
@pytest.mark.skipif(not shutil.which("rpmbuild"), reason="needs rpmbuild (package rpm)")
def test_the_rpm_holds_the_plugins_and_is_for_one_slurm(tmp_path: Path) -> None:
    make(tmp_path, "VERSION=1.2.3", "RPM_PLUGINDIR=/opt/slurm/lib/slurm", "rpm")
    (package,) = tmp_path.glob("slurmkit-spank-1.2.3-1.slurm*.rpm")
    series = package.name.partition(".slurm")[2].rsplit(".", 2)[0]

    def ask(*query: str) -> list[str]:
        command = ["rpm", "--query", "--package", *query, str(package)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        return done.stdout.splitlines()

    assert ask("--list") == [
        "/etc/slurm/plugstack.conf.d/slurmkit.conf",
        "/opt/slurm/lib/slurm/spank_slurmkit_affinity.so",
        "/opt/slurm/lib/slurm/spank_slurmkit_rank.so",
    ]
    assert ask("--configfiles") == ["/etc/slurm/plugstack.conf.d/slurmkit.conf"]
    assert {f"slurm >= {series}", f"slurm < {series}.99"} <= set(ask("--requires"))


@needs_headers
@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="needs dpkg-deb")
def test_the_debian_package_holds_the_plugins_and_their_lines(tmp_path: Path) -> None:
    make(tmp_path, "VERSION=1.2.3", "DEB_PLUGINDIR=/usr/lib/slurm-wlm", "deb")
    (package,) = tmp_path.glob("slurmkit-spank_1.2.3+slurm*.deb")
    unpacked = tmp_path / "unpacked"
    subprocess.run(["dpkg-deb", "--extract", package, unpacked], check=True, timeout=60)
    lines = (unpacked / "etc/slurm/plugstack.conf.d/slurmkit.conf").read_text().splitlines()
    for line in lines:
        kind, path = line.split()
        assert kind == "optional"
        assert (unpacked / path.lstrip("/")).is_file()
    assert len(lines) == 2


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
