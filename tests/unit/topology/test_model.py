import pytest

from slurmkit.topology.distance import distance
from slurmkit.topology.model import Gpu, Link, Nic, NumaNode, Port, name_key, pci_key

RC, OTHER_RC = "pci0000:15", "pci0000:37"


def test_values_are_frozen_compared_and_hashed():
    node = NumaNode(0, frozenset({1}))
    assert node == NumaNode(index=0, cpus=frozenset({1}))
    assert hash(node) == hash(node.replace(memory_mib=None))
    assert node != node.replace(memory_mib=1)
    with pytest.raises(AttributeError, match="frozen"):
        node.index = 2
    with pytest.raises(TypeError, match="needs cpus"):
        NumaNode(0)
    with pytest.raises(TypeError, match="no field colour"):
        NumaNode(0, frozenset(), colour=1)


@pytest.mark.parametrize(
    ("gpu_path", "nic_path", "numa", "expected"),
    [
        ((RC, "sw0"), (RC, "sw0"), 0, "PIX"),
        ((RC, "top", "a"), (RC, "top", "b"), 0, "PXB"),
        ((RC, "top", "a"), (RC, "top"), 0, "PXB"),
        ((RC, "sw0"), (RC, "sw1"), 0, "PHB"),
        ((RC,), (RC,), 0, "PHB"),
        ((RC, "sw0"), (OTHER_RC, "sw1"), 0, "NODE"),
        ((RC, "sw0"), (OTHER_RC, "sw1"), 1, "SYS"),
        ((), (), 0, "NODE"),
        ((), (), None, "SYS"),
        ((RC, "sw0"), (OTHER_RC, "sw1"), None, "SYS"),
        ((RC, "sw0"), (RC, "sw0"), None, "PIX"),
    ],
)
def test_distance_classes(gpu_path, nic_path, numa, expected):
    gpu = Gpu(0, "0000:1b:00.0", 0, path=gpu_path)
    nic = Nic("mlx5_0", "0000:18:00.0", numa, path=nic_path)
    assert distance(gpu, nic) == expected


def test_two_functions_of_one_device_are_next_to_each_other():
    gpu = Gpu(0, "0000:1b:00.0", 0, path=(RC,))
    assert distance(gpu, Nic("mlx5_0", "0000:1b:00.1", 0, path=(RC,))) == "PIX"


@pytest.mark.parametrize(
    ("speed", "expected"), [(2.5, 4.0), (16.0, 31.5), (32.0, 63.0), (64.0, 121)]
)
def test_bandwidth_of_sixteen_lanes(speed, expected):
    assert Link(speed, 16).bandwidth_gbs == pytest.approx(expected, rel=0.01)
    assert Link(speed, None).bandwidth_gbs is None


def test_a_nic_is_active_when_one_port_is_or_nothing_is_known():
    nic = Nic("mlx5_0", "", 0)
    down, up = Port(1, "DOWN", 10.0), Port(2, "ACTIVE", 400.0)
    assert nic.active
    assert nic.replace(ports=(down, up)).active
    assert nic.replace(ports=(down, up)).rate_gbps == 400.0
    assert not nic.replace(ports=(down,)).active


def test_devices_sort_by_number():
    assert sorted(["mlx5_10", "mlx5_9", "mlx5_0"], key=name_key) == ["mlx5_0", "mlx5_9", "mlx5_10"]
    assert pci_key("0000:9a:00.0") < pci_key("0000:a1:00.0") < pci_key("0001:00:00.0")
