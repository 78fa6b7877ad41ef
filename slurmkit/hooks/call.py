"""Load hooks and call them, so that an error always has the hook's name."""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from slurmkit.errors import SlurmkitError
from slurmkit.hooks.discover import chosen
from slurmkit.hooks.values import EndedJob, EndedTask, Task
from slurmkit.reserved import why_reserved

if TYPE_CHECKING:
    import pluggy

# A hook is somebody else's code: whatever it raises is reported with its name. SystemExit, too: a
# check that calls sys.exit(0) must not end a task as if its program had run.
_ANYTHING = (Exception, SystemExit)


def before_task(env: dict[str, str], task: Task) -> None:
    """Call ``node_init`` on local rank 0 and ``task_init``, and apply what they change.

    Args:
        env: the program's environment, which is changed in place.
        task: the task; its own ``environment`` is not read.

    Raises:
        SlurmkitError: a hook could not be loaded, or refuses the task.
    """
    where = f"{task.host}: rank {task.rank}"
    manager = _load(chosen(env), where)
    view = MappingProxyType(env)  # later hooks see what earlier ones have set
    task = task.replace(environment=view)
    if task.local_rank == 0:
        for name, call in _calls(manager, "node_init"):
            try:
                call(task=task)
            except _ANYTHING as error:
                raise _refusal(where, "node_init", name, error) from error
    for name, call in _calls(manager, "task_init"):
        try:
            answers = call(task=task)
            for answer in answers:
                _apply(env, answer)
        except _ANYTHING as error:
            raise _refusal(where, "task_init", name, error) from error


def after_job(
    env: Mapping[str, str],
    tasks: Iterable[EndedTask],
    job: EndedJob,
    warn: Callable[[str], None],
) -> None:
    """Call ``task_exit`` for each task and ``job_exit``; what fails is reported and no more.

    Args:
        env: says which hooks there are.
        tasks: the tasks that failed.
        job: the attempt that has ended.
        warn: is told what failed.
    """
    try:
        manager = _load(chosen(env), job.host)
    except SlurmkitError as error:
        warn(f"{error.message} ({error.hint})" if error.hint else error.message)
        return
    for task in tasks:
        _call_all(manager, "task_exit", {"task": task}, job.host, warn)
    _call_all(manager, "job_exit", {"job": job}, job.host, warn)


def _call_all(
    manager: "pluggy.PluginManager",
    hook: str,
    arguments: Mapping[str, object],
    host: str,
    warn: Callable[[str], None],
) -> None:
    for name, call in _calls(manager, hook):
        try:
            call(**arguments)
        except _ANYTHING as error:
            warn(str(_refusal(host, hook, name, error)))


def _load(names: list[str], where: str) -> "pluggy.PluginManager":
    """Return a manager with these plugins, of which the first is called first."""
    try:
        from slurmkit.hooks.spec import new_manager  # noqa: PLC0415 (imports pluggy)
    except ModuleNotFoundError as error:
        if error.name != "pluggy":
            raise
        raise SlurmkitError(
            f"{where}: the hooks {', '.join(names)} need pluggy, which is not installed",
            hint="pip install 'slurmkit[hooks]', or set SLURMKIT_HOOKS to nothing",
        ) from error
    manager = new_manager()
    for name in reversed(names):  # pluggy calls what was registered last first
        try:
            manager.register(_plugin(name), name)
            manager.check_pending()
        except _ANYTHING as error:
            raise SlurmkitError(
                f"{where}: the hook {name} cannot be loaded: {_in_words(error)}"
            ) from error
    return manager


def _plugin(name: str) -> object:
    from importlib import import_module  # noqa: PLC0415

    module, _, attribute = name.partition(":")
    found: Any = import_module(module)
    for part in attribute.split(".") if attribute else ():
        found = getattr(found, part)
    return found() if isinstance(found, type) else found


def _calls(
    manager: "pluggy.PluginManager", hook: str
) -> list[tuple[str, Callable[..., list[Any]]]]:
    """Return each plugin's own call of a hook, in pluggy's order.

    One call for all would not tell whose exception it is, and an exit hook would keep the next
    from being called.
    """
    order = [impl.plugin_name for impl in reversed(getattr(manager.hook, hook).get_hookimpls())]
    calls: list[tuple[str, Callable[..., list[Any]]]] = []
    for name in order:
        others = [plugin for other, plugin in manager.list_name_plugin() if other != name]
        calls.append((name, manager.subset_hook_caller(hook, others)))
    return calls


def _apply(env: dict[str, str], changes: object) -> None:
    if not isinstance(changes, Mapping):
        raise TypeError(f"it returned {changes!r}, no mapping of variables")
    for name, value in changes.items():
        if not isinstance(name, str) or not name or "=" in name or "\0" in name:
            raise ValueError(f"{name!r} is no name of a variable")
        why = why_reserved(name)
        if why:
            raise ValueError(f"it may not set {name}: {why}")
        if value is None:
            env.pop(name, None)
        elif isinstance(value, str) and "\0" not in value:
            env[name] = value
        else:
            raise TypeError(f"the value of {name} must be text or None, not {value!r}")


def _refusal(where: str, hook: str, name: str, error: BaseException) -> SlurmkitError:
    return SlurmkitError(f"{where}: the hook {name} failed in {hook}: {_in_words(error)}")


def _in_words(error: BaseException) -> str:
    """Return an exception in one line: among those of many ranks nobody finds the next."""
    if isinstance(error, SlurmkitError):
        text = f"{error.message} ({error.hint})" if error.hint else error.message
    else:
        text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return " ".join(text.split())
