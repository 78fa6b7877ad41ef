"""Pydantic without its search for plugins.

Before its first validator pydantic reads the metadata of every installed distribution to find
plugins, none of which concern slurmkit's models. That takes 17 ms, more than all the rest of
reading a job.yaml.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

_LOADER = "pydantic.plugin._loader"


def skip_plugin_search() -> None:
    """Spare this process the search; for programs of ours, which have no other models.

    Should pydantic look elsewhere one day, the search takes place again.
    """
    if _LOADER not in sys.modules:
        no_plugins = ModuleType(_LOADER)
        no_plugins.get_plugins = tuple  # type: ignore[attr-defined]
        sys.modules[_LOADER] = no_plugins


@contextmanager
def without_plugin_search() -> Iterator[None]:
    """Spare it for the models that are built here; later ones get their plugins."""
    searched = _LOADER in sys.modules
    skip_plugin_search()
    try:
        yield
    finally:
        if not searched:
            del sys.modules[_LOADER]
