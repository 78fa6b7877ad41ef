"""The hooks that there are; imports pluggy, so nobody imports this where no hook is installed."""

from collections.abc import Mapping

import pluggy

from slurmkit.hooks.values import EndedJob, EndedTask, Task

_PROJECT = "slurmkit"
hookspec = pluggy.HookspecMarker(_PROJECT)
hookimpl = pluggy.HookimplMarker(_PROJECT)


class Specs:
    """When each hook is called, and what becomes of its answer."""

    @hookspec
    def node_init(self, task: Task) -> None:
        """Called once per node and step, in the task of local rank 0, before its program starts.

        The node's other tasks do not wait for it. What it raises ends that task with exit code 1.
        """

    @hookspec
    def task_init(self, task: Task) -> Mapping[str, str | None] | None:
        """Called in every task before its program starts; on local rank 0 after ``node_init``.

        What it raises ends the task with exit code 1.

        Returns:
            Changes of the environment; None removes a variable.
        """

    @hookspec
    def task_exit(self, task: EndedTask) -> None:
        """Called on the batch host for each failed task, in order, once the launcher has ended."""

    @hookspec
    def job_exit(self, job: EndedJob) -> None:
        """Called on the batch host after the launcher has ended, whatever the exit code."""


def new_manager() -> pluggy.PluginManager:
    """Return a plugin manager that knows the hooks and has no plugin yet."""
    manager = pluggy.PluginManager(_PROJECT)
    manager.add_hookspecs(Specs)
    return manager
