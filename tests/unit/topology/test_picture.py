from xml.etree import ElementTree

import pytest

from slurmkit.topology.bandwidth import pairs, wrong_binding_costs
from slurmkit.topology.picture import draw
from slurmkit.topology.picture_svg import draw_svg
from slurmkit.topology.profile import load_profile

NODES = ["dgx-h100", "p5", "dgx-b300", "b300-interleaved", "gb200", "numa-minus-one"]


def test_the_picture_of_a_dgx():
    lines = draw(load_profile("dgx-h100"))
    assert lines[0].startswith("dgx-h100 (profile): 8 GPUs, 12 NICs, 112 cores, 2 threads each")
    text = "\n".join(lines)
    assert "NUMA node 0: 56 cores, CPUs 0-55,112-167" in text
    assert "GPU 6 0000:d1:00.0 NVIDIA H100 80GB HBM3  PIX    50 GB/s  mlx5_10" in text
    assert "mlx5_10  SYS    SYS    SYS    SYS    NODE   NODE   PIX    NODE" in text
    assert "mlx5_1: unknown, not for collectives" in text


@pytest.mark.parametrize("name", NODES)
def test_every_node_can_be_drawn(node, name):
    topology = node(name)
    text = "\n".join(draw(topology))
    assert all(f"GPU {gpu.index}" in text for gpu in topology.gpus)
    picture = ElementTree.fromstring(draw_svg(topology))
    words = " ".join(element.text or "" for element in picture.iter())
    assert all(f"GPU {gpu.index}" in words for gpu in topology.gpus)
    assert all(nic.name in words for nic in topology.nics)


def test_colours_only_when_asked():
    assert "\033" not in "\n".join(draw(load_profile("p5")))
    assert "\033[31m" in "\n".join(draw(load_profile("p5"), colour=True))


def test_names_are_escaped_in_svg(node):
    topology = node("gb200").replace(host="<a&b>")
    assert ElementTree.fromstring(draw_svg(topology)) is not None


def test_pairs_and_costs():
    dgx = load_profile("dgx-h100")
    table = pairs(dgx)
    assert len(table) == 8 * 12
    first = table[0]
    assert (first.distance, first.bandwidth_gbs, first.gpudirect) == ("PIX", 50.0, True)
    assert not any(pair.gpudirect for pair in table if pair.distance in ("NODE", "SYS"))
    costs = wrong_binding_costs(dgx)
    assert costs[0].startswith("All 8 ranks on one NIC: 400 Gb/s for the node instead of 3200 Gb/s")


def test_the_firmwares_distances_give_the_cost_of_far_memory(node):
    assert "2.1 times" in wrong_binding_costs(node("b300-interleaved"))[-1]


def test_a_node_without_gpus_can_be_drawn():
    topology = load_profile("dgx-h100").replace(gpus=(), nics=())
    assert draw(topology)[0].startswith("dgx-h100 (profile): 0 GPUs, 0 NICs")
    assert draw_svg(topology).startswith("<svg")
    assert draw_svg(topology.replace(numa=())).startswith("<svg")
