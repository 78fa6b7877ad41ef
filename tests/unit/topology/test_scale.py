import pytest

from slurmkit.errors import UsageError
from slurmkit.topology.affinity import Request, plan_ranks
from slurmkit.topology.discover import discover
from slurmkit.topology.fake_sysfs import write_sysfs
from slurmkit.topology.model import NumaNode, Topology
from slurmkit.topology.profile import load_profile, profile_names
from slurmkit.topology.scale import scale_to_cpus


def machine(cores, threads=1):
    smt = tuple(tuple(core + cores * t for t in range(threads)) for core in range(cores))
    cpus = frozenset(range(cores * threads))
    return Topology("laptop", "sysfs", cpus, smt, (NumaNode(0, cpus, 16_000),))


@pytest.mark.parametrize("name", profile_names())
@pytest.mark.parametrize("threads", [1, 2])
def test_a_scaled_node_has_the_cpus_of_the_machine(name, threads):
    profile, real = load_profile(name), machine(5, threads)
    scaled = scale_to_cpus(profile, real)
    assert scaled.cpus_online == real.cpus_online
    shares = [node.cpus for node in scaled.numa]
    assert [len(share) for share in shares] == [2 * threads, 3 * threads]
    assert all(set(core) <= share or not set(core) & share for core in real.smt for share in shares)
    assert (scaled.gpus, scaled.nics) == (profile.gpus, profile.nics)


def test_two_ranks_on_two_cores_are_planned_on_both_nodes():
    scaled = scale_to_cpus(load_profile("dgx-h100"), machine(2), num_gpus=2)
    assert [(gpu.index, gpu.pci) for gpu in scaled.gpus] == [
        (0, "0000:1b:00.0"),
        (1, "0000:9d:00.0"),
    ]
    plans = plan_ranks(scaled, Request(num_ranks=2))
    assert [(sorted(plan.cpus), plan.distance) for plan in plans] == [([0], "PIX"), ([1], "PIX")]


def test_a_scaled_node_can_be_written_and_discovered(tmp_path):
    scaled = scale_to_cpus(load_profile("dgx-h100"), machine(4, 2), num_gpus=4)
    write_sysfs(scaled, tmp_path)
    found = discover(str(tmp_path))
    assert (found.smt, found.numa, len(found.gpus)) == (scaled.smt, scaled.numa, 4)


def test_what_cannot_be_scaled_is_refused():
    with pytest.raises(UsageError, match="cannot be shared"):
        scale_to_cpus(load_profile("dgx-h100"), machine(1))
    with pytest.raises(UsageError, match="has 8 GPUs, not 9"):
        scale_to_cpus(load_profile("dgx-h100"), machine(4), num_gpus=9)
    assert scale_to_cpus(load_profile("dgx-h100"), machine(4), num_gpus=0).gpus == ()
