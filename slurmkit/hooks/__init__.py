"""A site's own checks in the life of a job: what it imports to write one.

Nothing here costs anything until it is used: ``slurmkit exec`` passes by on every rank.
"""

TYPE_CHECKING = False

__all__ = ["EndedJob", "EndedTask", "Task", "hookimpl"]

if TYPE_CHECKING:
    from slurmkit.hooks.spec import hookimpl
    from slurmkit.hooks.values import EndedJob, EndedTask, Task


def __getattr__(name: str) -> object:  # PEP 562: pluggy only where somebody has a hook
    if name == "hookimpl":
        from slurmkit.hooks.spec import hookimpl  # noqa: PLC0415

        return hookimpl
    if name in __all__:
        from slurmkit.hooks import values  # noqa: PLC0415

        return getattr(values, name)
    raise AttributeError(f"module 'slurmkit.hooks' has no attribute {name!r}")
