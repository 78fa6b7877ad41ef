"""The commands as a user starts them."""

import json
import os
import subprocess
import sys

import pytest

from slurmkit.topology.fake_sysfs import write_sysfs
from slurmkit.topology.nccl_xml import from_nccl_xml


def topo(*args, code=0):
    result = subprocess.run(
        [sys.executable, "-m", "slurmkit", "topo", *map(str, args)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "COLUMNS": "100"},
    )
    assert result.returncode == code, result.stderr
    return result


def test_import_then_plan(tmp_path, fixture_dir):
    imported = json.loads(
        topo("import", fixture_dir / "hgx-h100.nccl.xml", "--format", "nccl", "--json").stdout
    )
    assert imported["gpus"][7]["pci"] == "0000:d8:00.0"
    path = tmp_path / "node.json"
    path.write_text(json.dumps(imported))
    plans = json.loads(topo("plan", "--topology", path, "--ranks", 8, "--json").stdout)
    assert [plan["local_rank"] for plan in plans] == list(range(8))
    first = plans[0]
    assert first["gpu"] == {"index": 0, "pci": "0000:0f:00.0"}
    assert (first["numa"], first["cpus"]) == (0, "0-13,112-125")
    assert (first["nics"], first["distance"]) == (["mlx5_0", "mlx5_1"], "PXB")
    assert first["env"]["NCCL_IB_HCA"].startswith("=mlx5_0,")


def test_plan_within_a_mask_as_a_table():
    lines = topo("plan", "--profile", "dgx-h100", "--ranks", 2, "--cpus", "0-3,112-115").stdout
    assert lines.splitlines()[1].split() == ["0", "0", "0", "0-1,112-113", "mlx5_0", "PIX"]


def test_an_infeasible_plan_fails_and_says_why():
    result = topo("plan", "--profile", "dgx-h100", "--ranks", 8, "--cpus", "0-1", code=1)
    assert "expected" in result.stderr
    assert "Traceback" not in result.stderr


def test_show_with_json_and_svg(tmp_path):
    svg = tmp_path / "node.svg"
    data = json.loads(topo("show", "--profile", "dgx-h100", "--json", "--svg", svg).stdout)
    assert len(data["pairs"]) == 96
    assert data["pairs"][0] == {
        "gpu": 0, "nic": "mlx5_0", "distance": "PIX", "bandwidth_gbs": 50.0, "gpudirect": True,
    }  # fmt: skip
    assert svg.read_text().startswith("<svg")


def test_show_this_machine():
    assert "NUMA node" in topo("show").stdout


def test_export_and_verify_of_a_root(node, tmp_path):
    write_sysfs(node("dgx-h100"), tmp_path / "root")
    out = tmp_path / "topo.xml"
    topo("export", "--root", tmp_path / "root", "--format", "nccl", "--output", out)
    assert len(from_nccl_xml(out.read_text()).gpus) == 8
    assert sorted(path.name for path in tmp_path.iterdir()) == ["root", "topo.xml"]
    lines = topo("export", "--root", tmp_path / "root", "--format", "gres").stdout.splitlines()
    assert lines[0] == "Name=gpu Type=h100 File=/dev/nvidia[0-3] Cores=0-55"
    assert topo("export", "--root", tmp_path / "root", "--plugin").stdout.startswith(
        "slurmkit-map 1 dgx-h100\n"
    )
    named = topo("export", "--root", tmp_path / "root", "--plugin", "--host", "node17").stdout
    assert named.startswith("slurmkit-map 1 node17\n")
    verdict = json.loads(
        topo("verify", "--root", tmp_path / "root", "--profile", "dgx-h100", "--json").stdout
    )
    assert verdict == {
        "host": "dgx-h100", "profile": "dgx-h100", "matches": True, "differences": [],
    }  # fmt: skip
    topo("verify", "--root", tmp_path / "root", "--profile", "hgx-h100", code=1)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["show", "--profile", "dgx-x"], "no profile 'dgx-x'"),
        (["show", "--profile", "p5", "--root", "/"], "exclude each other"),
        (["show", "--root", "/nonexistent"], "holds no sys folder"),
        (["export", "--profile", "p5", "--format", "yaml"], "no format"),
        (["export", "--profile", "p5", "--format", "sysfs"], "needs --output"),
        (["import", "/nonexistent.xml"], "cannot read"),
        (["plan", "--profile", "p5", "--ranks", "8", "--cpus", "x"], "not a list of CPUs"),
        (["plan", "--profile", "p5", "--ranks", "8", "--nccl-version", "x"], "not a version"),
    ],
)
def test_mistakes_are_usage_errors(args, message):
    assert message in topo(*args, code=2).stderr


def test_the_map_keeps_the_sites_rules() -> None:
    options = ("--reserved-cores", "2", "--smt", "avoid", "--memory", "bind")
    lines = topo("export", "--plugin", "--profile", "dgx-h100", *options).stdout.splitlines()
    assert lines[1].startswith("gpu 0 0000:1b:00.0 cpus=2-15 mems=0 policy=bind ")
    assert (
        "mems" not in topo("export", "--plugin", "--profile", "dgx-h100", "--memory", "none").stdout
    )
