import pytest

from slurmkit.topology.discover import discover
from slurmkit.topology.nvml import add_nvml, sysfs_address


@pytest.mark.parametrize(
    ("bus_id", "address"),
    [("00000000:1B:00.0", "0000:1b:00.0"), ("00010000:00:00.0", "10000:00:00.0")],
)
def test_nvmls_addresses_become_those_of_sysfs(bus_id, address):
    assert sysfs_address(bus_id) == address


def test_without_nvml_the_node_stays_as_it_is_and_a_note_says_why():
    found = discover()
    if found.gpus:
        pytest.skip("this machine has a GPU")
    enriched = add_nvml(found)
    assert enriched.replace(notes=found.notes) == found
    assert "NVML" in enriched.notes[-1]
