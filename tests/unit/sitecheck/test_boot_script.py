"""The script of the room: shell that can be read, and in which no value of a site is a command."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from slurmkit.site.generate.release import Release
from slurmkit.sitecheck import boot, boot_script, without_accounts
from slurmkit.sitecheck.candidate import Candidate
from slurmkit.sitecheck.config import Cluster, read_cluster

HOSTILE = """ClusterName=a
SlurmctldHost=$(touch${IFS}/tmp/x)
SlurmUser=`id`
StateSaveLocation="/x'; touch /tmp/y; '"
SlurmctldLogFile=/var/log/$(id)/log
AuthInfo=socket=/run/$(id)/s
NodeName=n1
"""


def cluster(text: str) -> Cluster:
    found = read_cluster(Candidate.of({"slurm.conf": text}), Release(24, 11))
    assert found
    return found


def script(text: str) -> str:
    room = boot._room(cluster(text))
    return boot_script.outer_script(Path("/"), boot_script.inner_script(room), ["192.0.2.7"])


def test_it_is_shell() -> None:
    done = subprocess.run(
        ["sh", "-n"], check=False, input=script(HOSTILE), text=True, capture_output=True
    )
    assert done.stderr == ""
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not on this machine")
    room = boot_script.inner_script(boot._room(cluster(HOSTILE)))
    done = subprocess.run(
        ["shellcheck", "--shell=sh", "--exclude=SC2016", "-"],
        check=False,
        input=room,
        text=True,
        capture_output=True,
    )
    assert done.stdout == ""


def test_a_value_of_a_site_is_never_a_command() -> None:
    """What comes from the site is one word each, as it is written, for the shell's own rules."""
    inner = boot_script.inner_script(boot._room(cluster(HOSTILE)))
    words = shlex.split(inner)
    assert "/x'; touch /tmp/y; '" in words
    assert "`id`" in words
    assert "--socket=/run/$(id)/s" in words
    # Taken apart, the script has none of these left outside of single quotes.
    bare = re.sub(r"'[^']*'", "", inner.replace("'\"'\"'", ""))
    assert "touch" not in bare
    assert "`" not in bare
    assert "$(id)" not in bare


def test_parts_come_apart() -> None:
    mark = boot_script.MARK
    text = f"noise\n{mark}log\na\nb\n{mark}config\nc\n{mark}end up\nlate words of slurmctld\n"
    parts = boot_script.split_parts(text)
    assert parts["log"] == "a\nb\n"
    assert parts["config"] == "c\n"
    assert parts["end"].startswith("up\n")


CONF = """ClusterName=a
SlurmctldHost=b
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageEnforce=limits
AccountingStorageTRES=gres/gpu
PriorityWeightTRES=cpu=1,gres/gpu=2
NodeName=n1
PartitionName=p Nodes=n1 QOS=q TRESBillingWeights="GRES/gpu=1" AllowQos=a State=UP
"""


def test_without_accounts_each_line_stays_where_it_is() -> None:
    candidate, left = without_accounts.rewrite(cluster(CONF))
    lines = candidate.files["/etc/slurm/slurm.conf"].text.splitlines()
    assert len(lines) == len(CONF.splitlines())
    assert left
    assert lines[2] == "AccountingStorageType=accounting_storage/none"
    assert lines[3:5] == ["#", "#"]
    assert lines[5] == "PriorityWeightTRES=cpu=1"
    assert lines[7].split() == [
        *("PartitionName=p", "Nodes=n1", "TRESBillingWeights=cpu=1", "State=UP"),
    ]
    plain = cluster("ClusterName=a\nSlurmctldHost=b\n")
    assert without_accounts.rewrite(plain) == (plain.candidate, ())


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [("24.11", "24.11.5"), ("24.11.1", "24.11.5"), ("23.11", None), ("27.05", None)],
)
def test_the_slurmctld_of_the_release_is_chosen(wanted: str, chosen: str | None) -> None:
    known = [
        boot.Engine(Release.parse(text), Path("/"), text)
        for text in ("22.05.8", "24.11.5", "26.05.5")
    ]
    found = boot.choose(known, Release.parse(wanted))
    assert (found.place if found else None) == chosen
    assert boot.choose([], Release.parse(wanted)) is None


def test_names_have_addresses_and_others_are_nowhere() -> None:
    text = CONF.replace("SlurmctldHost=b", "SlurmctldHost=b(192.0.2.1)\nSlurmctldHost=c")
    hosts = dict(line.split()[::-1] for line in boot._etc_hosts(cluster(text)).splitlines())
    assert hosts["b"].startswith("10.254.")
    assert hosts["n1"].startswith("10.254.")
    assert hosts["c"].startswith("10.253.")
    assert "192.0.2.1" not in hosts


def test_a_large_cluster_has_more_time_to_start() -> None:
    small, large = (boot._room(cluster(f"{CONF}NodeName=m[1-{n}]\n")).wait_s for n in (4, 8000))
    assert small < 6
    assert large > 20  # where 26.05 takes 7 s
