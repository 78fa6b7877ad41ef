"""Secrets: none in the files, and owners and modes that keep the others from being read."""

from functools import partial
from pathlib import PurePosixPath

from slurmkit.errors import Location
from slurmkit.sitecheck import registry
from slurmkit.sitecheck.config import Cluster
from slurmkit.sitecheck.registry import Problems, rule

fault = partial(registry.fault, group="Secrets")

IN_FILE = fault(
    "secret-in-site",
    "A key is among the files of the site; whoever reads the site can be anybody on the cluster.",
    "Remove it, make a new one on the machines, and list it under secrets: in install.yaml.",
)
PASSWORD = fault(
    "password-in-slurm-conf",
    "slurm.conf, which everybody reads, holds a password.",
    "Keep it in slurmdbd.conf with mode 0600, or use a socket.",
)
DBD_MODE = fault(
    "dbd-mode",
    "slurmdbd.conf can be read by others; slurmdbd refuses to start then.",
    'Set permissions: {/etc/slurm/slurmdbd.conf: {mode: "0600", owner: slurm}} in install.yaml.',
)
DBD_OWNER = fault(
    "dbd-owner",
    "slurmdbd.conf does not belong to SlurmUser; slurmdbd refuses to start then.",
    "Set its owner in install.yaml to the SlurmUser of slurmdbd.conf.",
)
OPEN = fault(
    "secret-open",
    "install.yaml lets others read a secret.",
    'Use mode "0400", or "0600".',
)
MUNGE = fault(
    "munge-owner",
    "The key of munge does not belong to munge, which refuses to start then.",
    "Set owner: munge.",
)

_NAMES = ("munge.key", "slurm.key", "jwt_hs256.key", "auth_slurm.key", "slurm.jwks")
_MARKS = tuple(f"-----BEGIN {kind}PRIVATE KEY".encode() for kind in ("", "RSA ", "EC ", "OPENSSH "))


@rule
def keys(cluster: Cluster) -> Problems:
    """Whether the site holds keys."""
    for path, file in cluster.candidate.files.items():
        name = PurePosixPath(path).name
        marked = next((mark for mark in _MARKS if mark in file.content), None)
        if name in _NAMES or marked:
            line = file.content[: file.content.find(marked)].count(b"\n") + 1 if marked else 1
            yield IN_FILE(f"{path} is a key", Location(file.shown, line, 1))


@rule
def passwords(cluster: Cluster) -> Problems:
    """Whether slurm.conf holds passwords."""
    for name in ("AccountingStoragePass", "JobCompPass"):
        pair = cluster.slurm.pair(name)
        # With munge, AccountingStoragePass is the path of a socket (slurm.conf(5)).
        if pair and pair.value and not pair.value.startswith("/"):
            yield PASSWORD(f"{name} is set", pair.where, key=name)


@rule
def slurmdbd(cluster: Cluster) -> Problems:
    """Whether slurmdbd.conf is its daemon's alone."""
    found, conf = cluster.candidate.conf("slurmdbd.conf"), cluster.conf("slurmdbd.conf")
    if found is None or conf is None:
        return
    path, file = found
    password = conf.pair("StoragePass")
    if path in cluster.candidate.rules.permissions:
        first = cluster.candidate.rule_place("permissions", path)
    else:
        first = password.where if password else Location(file.shown, 1, 1)
    if file.mode & 0o077:
        problem = DBD_MODE(f"{path} would have mode {file.mode:04o}", first)
        # Outside of a site folder the modes of a checkout say little.
        yield problem if cluster.candidate.is_site else problem.replace(warning=True)
    elif cluster.candidate.is_site:
        user = conf.value("SlurmUser", "root")
        if file.owner != user:
            yield DBD_OWNER(f"{path} would belong to {file.owner}, and SlurmUser is {user}", first)


@rule
def declared(cluster: Cluster) -> Problems:
    """Whether install.yaml keeps secrets closed."""
    for path, permission in cluster.candidate.rules.secrets.items():
        place = cluster.candidate.rule_place("secrets", path)
        mode = int(permission.mode, 8)
        if mode & 0o077:
            yield OPEN(f"{path}: mode {permission.mode}", place)
        if PurePosixPath(path).name == "munge.key" and permission.owner not in ("munge", "root"):
            yield MUNGE(f"{path}: owner {permission.owner}", place)
