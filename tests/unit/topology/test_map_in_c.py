"""The plugin's own parser reads the map that Python writes."""

import shutil
import subprocess
from pathlib import Path

import pytest

from slurmkit.topology.export_map import plugin_map

SPANK = Path(__file__).parents[3] / "plugins" / "spank"
PROGRAM = """
#include <stdio.h>
#include "affinity/map.h"
int main(void)
{
    static char text[SK_MAP_MAX_BYTES];
    static struct sk_map map;
    size_t size = fread(text, 1, sizeof(text) - 1, stdin);

    if (sk_map_parse(&map, text, size) != 0)
        return fprintf(stderr, "%s\\n", map.error), 1;
    for (size_t i = 0; i < map.num_gpus; i++)
        printf("%s %u %s %s %s %zu\\n", map.host, map.gpus[i].index, map.gpus[i].pci,
               map.gpus[i].uuid, map.gpus[i].nics, sk_set_count(&map.gpus[i].cpus));
    return 0;
}
"""


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    compiler = shutil.which("cc")
    if not compiler:
        pytest.skip("there is no C compiler")
    folder = tmp_path_factory.mktemp("map")
    (folder / "main.c").write_text(PROGRAM)
    sources = [folder / "main.c", SPANK / "affinity/map.c", SPANK / "common/text.c"]
    flags = ["-std=c11", "-D_GNU_SOURCE", f"-I{SPANK}"]
    subprocess.run([compiler, *flags, "-o", folder / "reader", *sources], check=True, timeout=60)
    return folder / "reader"


@pytest.mark.parametrize("name", ["dgx-h100", "p5", "b300-interleaved", "gb200", "numa-minus-one"])
def test_the_plugin_reads_what_the_exporter_writes(node, reader, name):
    source = node(name)
    gpus = tuple(gpu.replace(uuid=f"GPU-{gpu.index}") for gpu in source.gpus)
    text = plugin_map(source.replace(gpus=gpus))
    done = subprocess.run(
        [reader], input=text, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split(" ") for line in done.stdout.splitlines()]
    assert [(row[0], int(row[1]), row[2], row[3]) for row in rows] == [
        (source.host, gpu.index, gpu.pci, gpu.uuid) for gpu in gpus
    ]
    assert all(row[4] and int(row[5]) > 0 for row in rows)
