"""Generation: pure, by release, and nothing in it that the release does not know."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from slurmkit.errors import InvalidInputError, Location, SlurmkitError, UsageError
from slurmkit.resources import shipped_dir
from slurmkit.site import folders, generation
from slurmkit.site.deploy.folder import read_folder
from slurmkit.site.generate import SUPPORTED, File, Release, generate
from slurmkit.site.generate.checked import keywords, unknown
from slurmkit.site.lookup import read_site
from slurmkit.site.models import Site
from slurmkit.yamlfile.reader import read_document
from slurmkit.yamlfile.validate import build

SITES = shipped_dir("site-configs")
NAMES = ("dgx-h100", "hgx-b300-roce", "sandbox")
SMALL = """
name: Small one
node_types:
  gpu: {nodes: "n[1-4]", gpus: 8, gpu_type: h100, sockets: 2, cores: 48, threads: 2, memory: 1000G}
  cpu: {nodes: "c[1-2]", cores: 32, sockets: 2, memory: 256G}
partitions:
  gpu: {node_type: gpu, default: true, default_time: 1h, max_time: 2d}
  cpu: {node_type: cpu}
"""


def _site(text: str = "", base: str = SMALL) -> Site:
    return build(Site, read_document((base + text).encode(), "site.yaml"))


def _shipped(name: str) -> Site:
    return read_site(SITES / name / "site.yaml").site


def _made(site: Site, release: str = "24.11") -> dict[str, File]:
    return dict(generate(site, Release.parse(release)))


def _slurm_conf(site: Site, release: str = "24.11") -> dict[str, str]:
    text = _made(site, release)["/etc/slurm/slurm.conf"].text
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {line.partition("=")[0]: line.partition("=")[2] for line in lines}


def test_the_shipped_sites_are_these() -> None:
    assert folders.shipped_sites() == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_committed_files_equal_their_generation(name: str) -> None:
    done = generation.run(str(SITES / name), check=True)
    assert done.differences == [], "run slurmkit site generate site-configs/NAME and commit"
    made = {f"/{path.relative_to(SITES / name / 'files')}" for path in _files(name)}
    assert made == set(_made(_shipped(name), done.slurm_version))


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_site_can_be_installed(name: str) -> None:
    site = read_folder(SITES / name)
    assert "/etc/slurmkit/site.yaml" in site.files
    assert "/etc/munge/munge.key" in site.secrets
    assert (SITES / name / "README.md").is_file()
    if "/etc/slurm/slurmdbd.conf" in site.files:  # slurmdbd refuses one that others may read
        assert site.files["/etc/slurm/slurmdbd.conf"].permission.mode == "0600"


@pytest.mark.parametrize("release", SUPPORTED, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_no_release_is_told_what_it_does_not_know(name: str, release: Release) -> None:
    files = generate(_shipped(name), release)
    assert unknown(files, release) == []
    read = list(keywords("slurm.conf", files["/etc/slurm/slurm.conf"].text))
    assert len(read) > 50  # the reader reads


def test_the_reader_finds_what_is_unknown() -> None:
    text = "ClusterName=a\nNodeName=n1 CPUs=1 Colour=red\nPrologTimeout=5\n# Nothing=1\n"
    files = {"/etc/slurm/slurm.conf": File(text), "/etc/other.conf": File("Wrong=1\n")}
    assert unknown(files, Release.parse("24.11")) == [
        "/etc/slurm/slurm.conf:2: Slurm 24.11 does not know Colour",
        "/etc/slurm/slurm.conf:3: Slurm 24.11 does not know PrologTimeout",
    ]


def test_a_line_of_the_sites_own_must_be_known_too() -> None:
    site = _site('slurm: {lines: ["MetricsType=metrics/openmetrics"]}\n')
    assert "MetricsType" in _slurm_conf(site, "25.11")
    with pytest.raises(UsageError, match=r"slurm.conf:\d+: Slurm 22.05 does not know MetricsType"):
        _made(site, "22.05")


@pytest.mark.parametrize("name", NAMES)
def test_the_same_site_gives_the_same_bytes(name: str) -> None:
    release = Release.parse("24.11")
    assert generate(_shipped(name), release) == generate(_shipped(name), release)


@pytest.mark.parametrize(
    ("release", "delay", "timeouts", "job_ids"),
    [("22.05", False, False, False), ("25.11", True, True, False), ("26.05", True, True, True)],
)
def test_differences_between_releases(
    release: str, delay: bool, timeouts: bool, job_ids: bool
) -> None:
    conf = _slurm_conf(_site(), release)
    assert ("requeue_delay=10" in conf["SchedulerParameters"]) is delay
    assert ("PrologTimeout" in conf) is timeouts
    assert ("PrologEpilogTimeout" in conf) is not timeouts
    cgroup = _made(_site(), release)["/etc/slurm/cgroup.conf"].text
    assert ("CgroupJobIdPaths=yes" in cgroup) is job_ids
    assert "CgroupAutomount" not in cgroup


@pytest.mark.parametrize(("release", "line"), [("22.05", ""), ("24.11", "CgroupPlugin=disabled")])
def test_without_cgroups(release: str, line: str) -> None:
    site = _site("slurm: {confine: false}\n")
    text = _made(site, release)["/etc/slurm/cgroup.conf"].text
    assert [part for part in text.splitlines() if not part.startswith("#")] == ([line] * bool(line))
    assert _slurm_conf(site, release)["ProctrackType"] == "proctrack/linuxproc"
    assert "Contain" not in _slurm_conf(site, release)["PrologFlags"]


@pytest.mark.parametrize(
    ("wanted", "release", "line"),
    [
        ("nvidia", "24.11", "AutoDetect=nvidia"),
        ("nvidia", "23.11", "AutoDetect=nvml"),
        ("nvml", "26.05", "AutoDetect=nvml"),
        ("profile", "24.11", "NodeName=n[1-4] Name=gpu Type=h100 File=/dev/nvidia[0-7]"),
        ("off", "24.11", "NodeName=n[1-4] Name=gpu Type=h100 Count=8"),
    ],
)
def test_gpus_are_found_as_asked_for(wanted: str, release: str, line: str) -> None:
    files = _made(_site(f"slurm: {{gpu_detection: {wanted}}}\n"), release)
    assert line in files["/etc/slurm/gres.conf"].text.splitlines()


def test_a_profile_brings_sockets_and_the_cores_near_each_gpu() -> None:
    files = _made(_shipped("dgx-h100"))
    assert "Sockets=2 CoresPerSocket=56 ThreadsPerCore=2" in files["/etc/slurm/slurm.conf"].text
    assert "File=/dev/nvidia[4-7] Cores=56-111" in files["/etc/slurm/gres.conf"].text
    nccl = files["/etc/slurmkit/nccl/dgx.xml"].text
    assert nccl.count("<gpu ") == 8


@pytest.mark.parametrize(
    ("keys", "counts"),
    [
        ("sockets: 1", "Sockets=1 CoresPerSocket=112 ThreadsPerCore=2"),
        ("threads: 1", "Sockets=2 CoresPerSocket=56 ThreadsPerCore=1"),
        ("cores: 48", "Sockets=2 CoresPerSocket=48 ThreadsPerCore=2"),
    ],
)
def test_what_differs_from_the_profile_leaves_the_node_its_cores(keys: str, counts: str) -> None:
    base = f"node_types: {{a: {{nodes: n1, memory: 1000G, topology: dgx-h100, {keys}}}}}\n"
    assert counts in _made(_site(base=base))["/etc/slurm/slurm.conf"].text


@pytest.mark.parametrize(
    ("release", "file"),
    [("22.05", "topology.conf"), ("24.11", "topology.conf"), ("25.11", "topology.yaml")],
)
def test_switches_become_the_file_that_the_release_reads(release: str, file: str) -> None:
    files = _made(_shipped("dgx-h100"), release)
    assert [path for path in files if "/topology." in path] == [f"/etc/slurm/{file}"]
    plugin = "TopologyPlugin=topology/tree" in files["/etc/slurm/slurm.conf"].text
    assert plugin is (file == "topology.conf")


def test_shares_of_a_node_are_the_default_of_its_partition() -> None:
    text = _made(_site())["/etc/slurm/slurm.conf"].text
    assert (
        "PartitionName=gpu Nodes=n[1-4] Default=YES DefaultTime=01:00:00 MaxTime=2-00:00:00" in text
    )
    assert "DefCpuPerGPU=24 DefMemPerGPU=128000 State=UP" in text
    assert "PartitionName=cpu Nodes=c[1-2] MaxTime=UNLIMITED DefMemPerCPU=4096 State=UP" in text


def test_own_lines_replace_ours_and_their_reason() -> None:
    site = _site('slurm: {lines: ["KillWait=5", "DownNodes=n1 State=DOWN"]}\n')
    text = _made(site)["/etc/slurm/slurm.conf"].text
    assert re.findall(r"^KillWait=.*$", text, re.MULTILINE) == ["KillWait=5"]
    assert "Between TERM and KILL" not in text
    assert text.rstrip().endswith("DownNodes=n1 State=DOWN")


def test_own_words_of_the_scheduler_replace_ours() -> None:
    site = _site("slurm: {scheduler: [bf_window=60, defer]}\n")
    words = _slurm_conf(site)["SchedulerParameters"].split(",")
    assert "bf_window=60" in words
    assert "defer" in words
    assert sum(word.startswith("bf_window") for word in words) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\n", "names no nodes"),
        ("node_types: {a: {nodes: n1, cores: 4}}\n", "node_types.a.memory is missing"),
        ("node_types: {a: {nodes: n1, memory: 4G}}\n", "node_types.a.cores is missing"),
        (
            "node_types: {a: {nodes: n1, memory: 4G, cores: 4, cpus: 8}}\n",
            "node_types.a.cpus is 8, and 1 sockets with 4 cores of 1 threads have 4",
        ),
        (
            "node_types: {a: {nodes: n1, memory: 4G, topology: dgx-h100, gpus: 9}}\n",
            "node_types.a.gpus is 9, and a dgx-h100 has 8 GPUs",
        ),
        (
            "node_types: {a: {nodes: n1, memory: 4G, cores: 4}, b: {}}\n"
            "partitions: {p: {node_type: b}}\n",
            "node_types.b.nodes is missing",
        ),
        (
            "node_types: {a: {nodes: 'n[1-3]', memory: 4G, cores: 4},"
            " b: {nodes: 'n[3-4]', memory: 4G, cores: 4}}\n",
            "n3 stands under node_types.a and node_types.b",
        ),
        (
            "node_types: {a: {nodes: 'n1,n1', memory: 4G, cores: 4}}\n",
            "n1 stands twice in node_types.a.nodes",
        ),
        (
            "node_types: {a: {nodes: n1, memory: 4G, cores: 4}}\n"
            "partitions: {p: {node_type: a, nodes: n2}}\n",
            "partitions.p.nodes has n2, which is not among node_types.a",
        ),
    ],
)
def test_says_what_is_missing(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        _made(_site(text, base=""))


@pytest.mark.parametrize("name", NAMES)
def test_scripts_are_shell(name: str) -> None:
    scripts = [path for path in _files(name) if path.read_bytes().startswith(b"#!")]
    assert scripts
    for path in scripts:
        assert path.stat().st_mode & 0o111, path
        done = subprocess.run(
            ["bash", "-n", path], capture_output=True, text=True, timeout=20, check=False
        )
        assert done.returncode == 0, done.stderr
        if shutil.which("shellcheck"):
            done = subprocess.run(
                ["shellcheck", path], capture_output=True, text=True, timeout=60, check=False
            )
            assert done.returncode == 0, done.stdout


def test_values_reach_the_task_prolog_as_they_are() -> None:
    site = _site('env: {GREETING: "it\'s $HOME; rm"}\n')
    script = _made(site)["/etc/slurm/task-prolog.sh"].text
    done = subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, timeout=10, check=False
    )
    assert done.stdout == "export GREETING=it's $HOME; rm\n"
    done = subprocess.run(
        ["sh", "-c", script],
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
        env={"GREETING": ""},
    )
    assert done.stdout == ""  # what a job has set stays, also when it is empty


def test_the_policy_is_lua_that_the_checker_takes() -> None:
    lua = next((path for name in ("lua", "lua5.4", "lua5.1") if (path := shutil.which(name))), None)
    if lua is None:
        pytest.skip("there is no lua")
    checker = shipped_dir("plugins") / "lua/check_policy.lua"
    for name in NAMES:
        policy = SITES / name / "files/etc/slurm/slurmkit_policy.lua"
        done = subprocess.run(
            [lua, checker, policy], capture_output=True, text=True, timeout=20, check=False
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", 'gpu_time_limit = "off"'),  # the GPU partition has a default_time
        ("default_time: 1h\n", 'gpu_time_limit = "off"'),
        ("roles: {administrators: [user1]}\n", 'operators = { uids = { 0 }, users = { "user1" } }'),
        ("", 'gpu_partitions = { "gpu" }'),
    ],
)
def test_the_policy_follows_the_site(text: str, line: str) -> None:
    assert line in _made(_site(text))["/etc/slurm/slurmkit_policy.lua"].text


def test_gpu_jobs_need_a_time_where_slurm_gives_none() -> None:
    site = _site(base=SMALL.replace("default_time: 1h, ", ""))
    policy = _made(site)["/etc/slurm/slurmkit_policy.lua"].text
    assert 'gpu_time_limit = "require"' in policy


ALONE = "node_types: {gpu: {nodes: n1, gpus: 8, cores: 64, memory: 1000G}}\n"


@pytest.mark.parametrize(
    ("base", "gpu_partitions", "limit"),
    [
        # No partitions at all: the one that is made is of GPU nodes, and has no DefaultTime.
        (ALONE, '"batch"', "require"),
        # One without a node_type is of all nodes; with nodes it is of their types.
        (ALONE + "partitions: {all: {default_time: 1h}}\n", '"all"', "off"),
        (SMALL + "  some: {nodes: 'n1,c1'}\n", '"gpu"', "require"),
        (SMALL + "  some: {nodes: 'n[1-2]', default_time: 1h}\n", '"gpu", "some"', "off"),
        (SMALL + "  some: {nodes: c2}\n", '"gpu"', "off"),
    ],
)
def test_gpu_partitions_are_those_of_gpu_nodes(base: str, gpu_partitions: str, limit: str) -> None:
    policy = _made(_site(base=base))["/etc/slurm/slurmkit_policy.lua"].text
    assert f"gpu_partitions = {{ {gpu_partitions} }}" in policy
    assert f'gpu_time_limit = "{limit}"' in policy


@pytest.mark.parametrize("lua", ["lua5.1", "lua5.3", "lua5.4"])
def test_names_reach_the_policy_as_they_are(lua: str, tmp_path: Path) -> None:
    if shutil.which(lua) is None:
        pytest.skip(f"there is no {lua}")
    tiers = 'slurm: {database: db}\ntiers: {"R&D \\"d\'été\\" \\\\": {qos: high}}\n'
    path = tmp_path / "policy.lua"
    path.write_text(_made(_site(tiers))["/etc/slurm/slurmkit_policy.lua"].text)
    print_names = f"for name in pairs(dofile('{path}').tiers) do print(name) end"
    done = subprocess.run(
        [lua, "-e", print_names], capture_output=True, text=True, timeout=10, check=False
    )
    assert (done.stdout, done.stderr) == ('R&D "d\'été" \\\n', "")


def test_a_default_time_is_no_longer_than_the_longest() -> None:
    site = _site(
        "default_time: 4h\nslurm: {database: db}\ntiers: {a: {qos: a, limits: {max_time: 30m}}}\n",
        base=SMALL.replace("cpu: {node_type: cpu}", "cpu: {node_type: cpu, max_time: 2h}"),
    )
    files = _made(site)
    assert "DefaultTime=02:00:00 MaxTime=02:00:00" in files["/etc/slurm/slurm.conf"].text
    assert 'default_time = "00:30:00"' in files["/etc/slurm/slurmkit_policy.lua"].text


def test_tiers_of_the_policy_go_by_qos_or_else_by_a_partition_of_their_own() -> None:
    tiers = (
        "tiers: {a: {qos: high, partition: gpu},"
        " b: {qos: low, partition: gpu, preemptible: true}}\n"
    )
    both = _made(_site("slurm: {database: db}\n" + tiers))["/etc/slurm/slurmkit_policy.lua"].text
    assert both.count("qos =") == 2
    assert "requeue = true" in both
    one = _made(_site(tiers))["/etc/slurm/slurmkit_policy.lua"].text
    assert "qos =" not in one
    assert one.count('partition = "gpu"') == 1


def test_no_policy_where_none_is_wanted() -> None:
    files = _made(_site("slurm: {policy: false}\n"))
    assert not [path for path in files if path.endswith(".lua")]
    assert "JobSubmitPlugins" not in files["/etc/slurm/slurm.conf"].text


@pytest.mark.parametrize(
    ("text", "present", "absent"),
    [
        (
            "container_runtime: pyxis\n",
            "/etc/enroot/enroot.conf",
            "/etc/profile.d/slurmkit-apptainer.sh",
        ),
        (
            "container_runtime: apptainer\n",
            "/etc/profile.d/slurmkit-apptainer.sh",
            "/etc/enroot/enroot.conf",
        ),
        ("fabric: roce-800\n", "/etc/sysctl.d/90-slurmkit.conf", "/etc/slurm/slurmdbd.conf"),
        ("slurm: {database: db}\n", "/etc/slurm/slurmdbd.conf", "/etc/sysctl.d/90-slurmkit.conf"),
        (
            "slurm: {spank: 'off'}\n",
            "/etc/slurm/plugstack.conf",
            "/etc/slurm/plugstack.conf.d/slurmkit.conf",
        ),
        (
            "modules: {init: /usr/share/lmod/init}\n",
            "/etc/profile.d/slurmkit-modules.sh",
            "/etc/slurm/elastic/resume.sh",
        ),
        (
            "elastic: {driver: /bin/d, nodes: 'n[3-4]'}\n",
            "/etc/slurm/elastic/resume.sh",
            "/etc/profile.d/slurmkit-modules.sh",
        ),
    ],
)
def test_files_come_with_what_needs_them(text: str, present: str, absent: str) -> None:
    files = _made(_site(text))
    assert present in files
    assert absent not in files


def test_nodes_that_come_and_go_have_a_line_of_their_own() -> None:
    site = _site("elastic: {driver: /bin/d, nodes: 'n[3-4]', present: false}\n")
    text = _made(site)["/etc/slurm/slurm.conf"].text
    assert re.search(r"^NodeName=n\[1-2\] .* State=UNKNOWN$", text, re.MULTILINE)
    assert re.search(r"^NodeName=n\[3-4\] .* State=CLOUD$", text, re.MULTILINE)


def test_a_roce_host_answers_for_its_own_addresses_alone() -> None:
    files = _made(_shipped("hgx-b300-roce"), "25.11")
    assert "arp_ignore = 1" in files["/etc/sysctl.d/90-slurmkit.conf"].text
    assert "arp_ignore" not in _made(_shipped("dgx-h100"))["/etc/sysctl.d/90-slurmkit.conf"].text


def test_a_site_folder_can_be_made_of_a_shipped_one(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    done = generation.run("dgx-h100", output=folder, version="26.05")
    assert done.written
    assert done.slurm_version == "26.05"
    assert (folder / "files/etc/slurm/topology.yaml").is_file()
    assert generation.run(str(folder), version="26.05").differences == []
    changed = generation.run(str(folder), version="22.05").differences
    assert ("/etc/slurm/topology.yaml", "stale") in [(item.path, item.kind) for item in changed]
    assert not (folder / "files/etc/slurm/topology.yaml").exists()
    with pytest.raises(UsageError, match="exists"):
        generation.run("dgx-h100", output=folder)


def test_an_edit_by_hand_is_not_lost(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    generation.run("sandbox", output=folder)
    conf = folder / "files/etc/slurm/slurm.conf"
    conf.write_text(conf.read_text() + "KillWait=1\n")
    own = folder / "files/etc/motd"
    own.write_text("hello\n")
    with pytest.raises(UsageError, match=r"edited by hand, .*: /etc/slurm/slurm.conf"):
        generation.run(str(folder))
    found = generation.run(str(folder), check=True).differences
    assert [(item.path, item.kind) for item in found] == [("/etc/slurm/slurm.conf", "edited")]
    generation.run(str(folder), force=True)
    assert "KillWait=1" not in conf.read_text()
    assert own.read_text() == "hello\n"  # what nobody generated is nobody's but its author's


def test_what_was_written_by_hand_before_is_not_lost(tmp_path: Path) -> None:
    conf = tmp_path / "files/etc/slurm/slurm.conf"
    conf.parent.mkdir(parents=True)
    conf.write_text("ClusterName=mine\n")
    (tmp_path / "site.yaml").write_text(SMALL)
    with pytest.raises(UsageError, match=r"edited by hand, .*: /etc/slurm/slurm.conf"):
        generation.run(str(tmp_path))
    assert conf.read_text() == "ClusterName=mine\n"
    generation.run(str(tmp_path), force=True)
    assert generation.run(str(tmp_path), check=True).differences == []


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_a_broken_record_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(SMALL)
    (tmp_path / "generated.json").write_text(text)
    with pytest.raises(SlurmkitError, match=r"generated\.json is broken"):
        generation.run(str(tmp_path))


def test_an_edited_file_that_is_no_longer_generated_stays(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    generation.run("dgx-h100", output=folder, version="24.11")
    topology = folder / "files/etc/slurm/topology.conf"
    topology.write_text("SwitchName=mine Nodes=dgx[01-64]\n")
    done = generation.run(str(folder / "site.yaml"), version="25.11")
    assert "stale" not in [item.kind for item in done.differences]
    assert topology.read_text().startswith("SwitchName=mine")
    assert generation.run(str(folder), version="25.11", check=True).differences == []


def test_a_script_that_lost_its_mode_is_written_anew(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    generation.run("sandbox", output=folder)
    script = folder / "files/etc/slurm/task-prolog.sh"
    script.chmod(0o644)
    found = generation.run(str(folder)).differences
    assert [(item.path, item.kind) for item in found] == [("/etc/slurm/task-prolog.sh", "outdated")]
    assert script.stat().st_mode & 0o100


@pytest.mark.parametrize("name", NAMES)
def test_the_rules_of_the_shipped_sites_are_those_that_are_made(name: str, tmp_path: Path) -> None:
    files = _made(_shipped(name))
    assert folders.write_rules(tmp_path, files)
    assert (tmp_path / "install.yaml").read_text() == (SITES / name / "install.yaml").read_text()
    (tmp_path / "install.yaml").write_text("secrets: {}\n")
    assert not folders.write_rules(tmp_path, files)  # once there, it is people's
    assert (tmp_path / "install.yaml").read_text() == "secrets: {}\n"


def test_a_shipped_site_is_not_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        with pytest.raises(UsageError, match="shipped site"):
            generation.run("dgx-h100")
        (tmp_path / "dgx-h100").mkdir(exist_ok=True)  # a folder of that name is no site by itself


def test_old_releases_are_refused() -> None:
    with pytest.raises(UsageError, match=r"older than 22\.05"):
        generation.run("dgx-h100", version="21.08", check=True)


def _files(name: str) -> list[Path]:
    return [path for path in (SITES / name / "files").rglob("*") if path.is_file()]


def test_release_texts_are_checked_where_they_are_written() -> None:
    with pytest.raises(InvalidInputError, match=r"slurm.version") as caught:
        _site("slurm: {version: newest}\n")
    assert caught.value.problems[0].where == Location("site.yaml", 9, 18)
