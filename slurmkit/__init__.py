"""slurmkit: from one YAML file to a running multi-node job on a Slurm cluster.

The public face is small and loads nothing heavy until it is used::

    import slurmkit

    run = slurmkit.submit(slurmkit.load("llama-finetune.yaml"))
    print(run.wait().state)
"""

# Not from typing: `slurmkit exec` runs this in every rank, and that import alone takes 3 ms.
TYPE_CHECKING = False

__version__ = "0.1.0"
__all__ = ["Run", "RunStatus", "SlurmkitError", "__version__", "find_run", "load", "submit"]

if TYPE_CHECKING:
    from slurmkit.api import Run, RunStatus, find_run, load, submit
    from slurmkit.errors import SlurmkitError


def __getattr__(name: str) -> object:  # PEP 562: `slurmkit exec` must not pay for pydantic
    if name == "SlurmkitError":
        from slurmkit.errors import SlurmkitError  # noqa: PLC0415

        return SlurmkitError
    if name in __all__:
        from slurmkit import api  # noqa: PLC0415

        return getattr(api, name)
    raise AttributeError(f"module 'slurmkit' has no attribute {name!r}")
