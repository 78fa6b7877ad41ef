"""Plugins in a sandbox: built for its Slurm, loaded by its plugstack.conf."""

import shutil
import subprocess
from pathlib import Path

import pytest

from slurmkit.admin import Headers, build, find_headers
from slurmkit.admin.headers import parse_version
from slurmkit.errors import SlurmkitError
from slurmkit.sandbox import Sandbox

RANK, AFFINITY = "spank_slurmkit_rank.so", "spank_slurmkit_affinity.so"


def built_plugins(root_dir: Path | None, folder: Path) -> Path:
    """Build for this machine's Slurm, or that of a root file system; skip where it cannot be."""
    output = folder / "built"
    build(headers(root_dir, folder), output)
    return output


def headers(root_dir: Path | None, folder: Path) -> Headers:
    """Find the headers of this machine's Slurm, or fetch those of a root file system, or skip."""
    if not shutil.which("make") or not shutil.which("cc"):
        pytest.skip("needs make and a C compiler")
    try:
        return find_headers() if root_dir is None else _fetched(root_dir, folder)
    except SlurmkitError as error:
        pytest.skip(error.message)


def _fetched(root_dir: Path, folder: Path) -> Headers:
    """Unpack the headers of the root file system's own Debian release."""
    if (root_dir / "usr/include/slurm/spank.h").is_file():
        path = root_dir / "usr/include"
        return Headers(path, parse_version((path / "slurm/slurm_version.h").read_text()))
    options = {
        "Dir::State::Lists": root_dir / "var/lib/apt/lists",
        "Dir::Etc::sourcelist": root_dir / "etc/apt/sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::Cache": folder / "cache",
        "APT::Sandbox::User": "root",
    }
    done = subprocess.run(
        [
            *("apt-get", "download"),
            *(word for name, value in options.items() for word in ("-o", f"{name}={value}")),
            "libslurm-dev",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    packages = list(folder.glob("libslurm-dev*.deb"))
    if done.returncode != 0 or not packages:
        pytest.skip(f"headers of that Slurm cannot be fetched: {done.stderr.strip()[-200:]}")
    unpacked = folder / "headers"
    subprocess.run(["dpkg-deb", "-x", packages[0], unpacked], check=True, timeout=60)
    return find_headers([unpacked / "usr"])


def load(cluster: Sandbox, *lines: str) -> None:
    """Let every launch from now on load these plugins."""
    path = cluster.layout.slurm_conf_path.with_name("plugstack.conf")
    temporary = cluster.layout.state_dir / "plugstack.new"
    temporary.write_text("".join(f"{line}\n" for line in lines))
    temporary.replace(path)
