"""Where this machine's Slurm keeps plugins and plugstack.conf, and which release it is."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from slurmkit.errors import SlurmkitError

_TIMEOUT_S = 10.0
_PLUGIN_DIRS = (
    "usr/lib/*/slurm-wlm",
    "usr/lib64/slurm",
    "usr/lib/*/slurm",
    "usr/lib/slurm",
    "usr/local/lib/slurm",
    "opt/slurm/lib/slurm",
)
_CONF_DIRS = ("etc/slurm", "etc/slurm-llnl", "usr/local/etc", "opt/slurm/etc")
_VERSION = re.compile(r"\d+\.\d+(?:\.\d+)?")
_SETTING = re.compile(r"^(\w+)\s*=\s*(.+?)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Places:
    """What install and check work on, as paths on this machine.

    Attributes:
        root: the file system's root: ``/``, or that of an image.
        plugin_dir: where slurmd and srun load plugins from.
        plugstack: plugstack.conf, whether it exists or not.
        slurm_conf: slurm.conf, whether it exists or not; Slurm reads Lua scripts from beside it.
    """

    root: Path
    plugin_dir: Path
    plugstack: Path
    slurm_conf: Path

    @property
    def manifest(self) -> Path:
        """The file that remembers what was installed."""
        return self.root / "var/lib/slurmkit/plugins.json"

    def inside(self, path: Path) -> str:
        """Return a path as a program inside the root sees it."""
        return f"/{path.relative_to(self.root)}"


def find_places(
    root: Path = Path("/"),
    plugin_dir: Path | None = None,
    plugstack: Path | None = None,
    slurm_conf: Path | None = None,
) -> Places:
    """Return the places: those given, else those Slurm names, else the usual ones.

    Args:
        root: the root to look in; Slurm is asked only where it is ``/``.
        plugin_dir: the folder of plugins, as seen inside the root.
        plugstack: plugstack.conf, as seen inside the root.
        slurm_conf: slurm.conf, as seen inside the root.

    Raises:
        SlurmkitError: no folder of plugins is found.
    """
    root = root.resolve()
    settings = _settings() if root == Path("/") else {}
    if plugin_dir is None and settings.get("PluginDir"):
        plugin_dir = Path(settings["PluginDir"].split(":")[0])
    if plugstack is None and settings.get("PlugStackConfig"):
        plugstack = Path(settings["PlugStackConfig"])
    if slurm_conf is None and settings.get("SLURM_CONF"):
        slurm_conf = Path(settings["SLURM_CONF"])
    found_dir = _below(root, plugin_dir) if plugin_dir else _first(root, _PLUGIN_DIRS)
    if found_dir is None or not found_dir.is_dir():
        where = f"{found_dir} is no folder" if found_dir else f"none of the usual ones below {root}"
        raise SlurmkitError(
            f"Slurm's plugin folder was not found: {where}",
            hint="say --plugin-dir; `scontrol show config` prints it as PluginDir",
        )
    if slurm_conf is None:
        folder = _first(root, _CONF_DIRS) or root / "etc/slurm"
        conf = folder / "slurm.conf"
    else:
        conf = _below(root, slurm_conf)
    # By default plugstack.conf lies beside slurm.conf.
    stack = _below(root, plugstack) if plugstack else conf.with_name("plugstack.conf")
    return Places(root, found_dir, stack, conf)


def running_version(root: Path) -> str:
    """Return the release of the Slurm on this machine, or in this image; empty for none."""
    chroot = [] if root == Path("/") else ["chroot", str(root)]
    for program in ("slurmd", "srun"):
        try:
            done = subprocess.run(
                [*chroot, program, "-V"],
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except OSError:
            continue
        match = _VERSION.search(done.stdout) if done.returncode == 0 else None
        if match:
            return match[0]
    return ""


def _settings() -> dict[str, str]:
    """Return what a controller that answers says about its configuration; empty without one."""
    if not shutil.which("scontrol"):
        return {}
    try:
        done = subprocess.run(
            ["scontrol", "show", "config"],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {}
    return parse_settings(done.stdout) if done.returncode == 0 else {}


def parse_settings(text: str) -> dict[str, str]:
    """Return the settings that are paths in what ``scontrol show config`` prints; pure.

    A setting that nobody made is printed as ``(null)``.
    """
    return {name: value for name, value in _SETTING.findall(text) if value.startswith("/")}


def _below(root: Path, path: Path) -> Path:
    return root / str(path).lstrip("/")


def _first(root: Path, patterns: tuple[str, ...]) -> Path | None:
    return next((p for pattern in patterns for p in sorted(root.glob(pattern))), None)
