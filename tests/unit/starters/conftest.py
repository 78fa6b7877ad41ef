"""The starters' programs as modules, loaded from their files."""

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from slurmkit.resources import shipped_dir

STARTERS = shipped_dir("templates") / "starters"
LAUNCHER_PREFIXES = ("SLURM", "OMPI_", "PMI", "MASTER_", "RANK", "WORLD_", "LOCAL_", "NODE_RANK")


@pytest.fixture(scope="session")
def llama_files() -> Path:
    return STARTERS / "llama-finetune"


@pytest.fixture(scope="session")
def programs(llama_files: Path) -> SimpleNamespace:
    """The modules llama, hf and train; they go by these names only while they load."""
    names = ("llama", "hf", "train")
    sys.path.insert(0, str(llama_files))
    try:
        return SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    finally:
        sys.path.remove(str(llama_files))
        for name in names:
            sys.modules.pop(name, None)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Two cores and several test workers: more threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def tiny(programs: SimpleNamespace) -> SimpleNamespace:
    """A configuration with every size different, so that a mixed-up one cannot pass."""
    return programs.llama.LlamaConfig(
        vocab_size=259,
        hidden_size=24,
        intermediate_size=40,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        tie_word_embeddings=False,
    )


@pytest.fixture
def clean_env() -> dict[str, str]:
    """The environment without what a launcher around the tests may have left in it."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(LAUNCHER_PREFIXES)}
    return kept | {"OMP_NUM_THREADS": "1"}
