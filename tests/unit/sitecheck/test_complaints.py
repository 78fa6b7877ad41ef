"""What slurmctld says, by file and line; the messages are recorded from 22.05, 24.11 and 26.05."""

import pytest

from slurmkit.site.generate.release import Release
from slurmkit.sitecheck import compare, complaints
from slurmkit.sitecheck.candidate import Candidate
from slurmkit.sitecheck.config import Cluster, read_cluster

SLURM = """ClusterName=alpha
SlurmctldHost=ctl
KillWait=30
PreemptMode=SUSPEND
SelectType=select/cons_tress
JobSubmitPlugins=lua
PrologSlurmctld=/etc/slurm/prolog.sh
KillWait=60
NodeName=n[1-4] Sockets=2 CoresPerSocket=4 CPUs=9 RealMemory=8000
NodeName=big CPUs=8 RealMemory=8000 CoreSpecCount=8
PartitionName=debug Nodes=n[1-5] MaxTime=10
PartitionName=debug Nodes=big
"""
TOPOLOGY = """SwitchName=s1 Nodes=n[1-2]
SwitchName=s2 Nodes=n[2-4]
SwitchName=s3 Switches=s[1-2]
SwitchName=s1 Nodes=big
"""
CGROUP = "ConstrainCores=perhaps\nConstrainCore=yes\n"


@pytest.fixture
def cluster() -> Cluster:
    texts = {"slurm.conf": SLURM, "topology.conf": TOPOLOGY, "cgroup.conf": CGROUP}
    found = read_cluster(Candidate.of(texts), Release(24, 11))
    assert found
    return found


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (
            'Parse error in file /etc/slurm/slurm.conf line 9: " CPUs=9 RealMemory=8000"',
            "slurm.conf:9:44",
        ),
        ("_parse_next_key: Parsing error at unrecognized key: ConstrainCore", "cgroup.conf:2:1"),
        ('"perhaps" is not a valid option for "ConstrainCores"', "cgroup.conf:1:16"),
        ("Can't find plugin for select/cons_tress", "slurm.conf:5:12"),
        ("KillWait 1 specified more than once, latest value used", "slurm.conf:8:1"),
        ("PreemptMode=SUSPEND requires GANG too", "slurm.conf:4:13"),
        ("Invalid PrologSlurmctld(`/etc/slurm/prolog.sh`): Permission denied", "slurm.conf:7:17"),
        ("NodeNames=big CoreSpecCount=8 is invalid, reset to 1", "slurm.conf:10:1"),
        ('_find_node_record: lookup failure for node "n5"', "slurm.conf:11:27"),
        (
            "_build_single_partitionline_info: duplicate entry for partition debug",
            "slurm.conf:12:1",
        ),
        ("Switch (s1) has already been defined", "topology.conf:4:1"),
        ("Switch configuration s3 has invalid child (s4)", "topology.conf:3:1"),
        ("job_submit/lua: Unable to stat /etc/slurm/job_submit.lua", "slurm.conf:6:18"),
        ("AccountingStorageHost needs to be specified", "slurm.conf:1:1"),
        ("something is wrong", "None"),
    ],
)
def test_a_complaint_is_placed(cluster: Cluster, text: str, place: str) -> None:
    where = complaints.locate(cluster, text)
    assert str(where).replace("/etc/slurm/", "") == place


def test_what_every_slurmctld_says_is_no_complaint() -> None:
    log = (
        "slurmctld: error: Configured MailProg is invalid",
        "slurmctld: error: Could not open node state file /x/node_state: No such file or directory",
        "slurmctld: Running as primary controller",
        "[2026-11-21T15:35:01.743] error: KillWait 1 specified more than once",
        "slurmctld: fatal: Unable to process configuration file",
    )
    said = complaints.complaints(log)
    assert [complaint.level for complaint in said] == ["error", "fatal"]


@pytest.mark.parametrize(
    "start",
    [
        "slurmctld: ",
        "[2026-11-21T15:35:01.743] ",
        "Nov 21 18:41:46.946684    46 slurmctld    0x7f35807ae380: ",  # LogTimeFormat=thread_id
        "[Nov 21 18:41:47.428655    46 slurmctld    0x7f1cef9ff500] ",
    ],
)
def test_a_line_of_the_log_starts_as_log_time_format_says(start: str) -> None:
    (said,) = complaints.complaints((f"{start}error: KillWait 1 specified more than once",))
    assert said == complaints.Complaint("error", "KillWait 1 specified more than once")


@pytest.mark.parametrize(
    "text",
    [
        "power_save program /opt/bin/suspend not executable",
        "power_save module disabled, invalid SuspendProgram /opt/bin/suspend",
        "Invalid ResumeProgram PowerAction __resumeprog__ (/opt/bin/resume)",
    ],
)
def test_programs_that_only_the_controller_has_are_not_missed(text: str) -> None:
    assert complaints.complaints((f"slurmctld: error: {text}",)) == []


def test_what_follows_is_left_out_and_silence_is_told(cluster: Cluster) -> None:
    log = (
        "slurmctld: error: KillWait 1 specified more than once, latest value used",
        "slurmctld: fatal: Unable to process configuration file",
    )
    (problem,) = complaints.problems(cluster, log, up=False, without_accounts=False)
    assert problem.code == "slurmctld-error"
    (alone,) = complaints.problems(cluster, log[1:], up=False, without_accounts=False)
    assert alone.code == "slurmctld-fatal"
    (silent,) = complaints.problems(
        cluster, ("slurmctld: hello",), up=False, without_accounts=False
    )
    assert silent.code == "slurmctld-silent"
    assert "hello" in silent.message


CONFIG = """Configuration data as of 2026-11-21T15:33:10
KillWait                = 30 sec
SelectType              = select/cons_tres
JobSubmitPlugins        = lua
"""
NODES = (
    "NodeName=n1 CPUTot=8 RealMemory=8000 Weight=1 ThreadsPerCore=1 Gres=(null)\n"
    "NodeName=big CPUTot=8 RealMemory=4000 Weight=1 ThreadsPerCore=1 Gres=(null)\n"
)
PARTITIONS = "PartitionName=debug MaxTime=00:10:00 TotalNodes=1\n"


def test_what_slurmctld_changed_is_named(cluster: Cluster) -> None:
    found = compare.problems(cluster, CONFIG, NODES, PARTITIONS)
    told = {(str(p.where).replace("/etc/slurm/", ""), p.key) for p in found}
    assert ("slurm.conf:8:10", "KillWait") in told
    assert ("slurm.conf:10:32", "RealMemory") in told
    assert ("slurm.conf:11:27", "Nodes") in told
    assert not any(p.key == "JobSubmitPlugins" for p in found)
    assert not any(p.key == "MaxTime" for p in found)


def test_a_node_that_is_not_there_is_named(cluster: Cluster) -> None:
    found = compare.problems(cluster, "", NODES.splitlines()[0], "")
    assert [p.message for p in found if p.code == "node-not-taken"] == ["big: unknown to slurmctld"]
