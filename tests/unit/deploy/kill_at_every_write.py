"""Run an install and a rollback again and again, each killed one write later than the one before.

Started by test_deploy.py as a program of its own, because it forks and kills. Prints JSON.
"""

import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slurmkit.errors import UsageError
from slurmkit.site.deploy import Machine, audit, read_folder

_WRITES = ("open", "write", "fsync", "replace", "rename", "unlink", "mkdir", "rmdir", "chmod")
_WRITES += ("fchmod", "fchown")


def die_at(count: int) -> None:
    """Make this process die by SIGKILL right before its write number `count`, from 0."""
    left = [count]

    def wrapped(call: Callable[..., Any]) -> Callable[..., Any]:
        def deadly(*args: Any, **kwargs: Any) -> Any:
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return call(*args, **kwargs)

        return deadly

    for name in _WRITES:
        setattr(os, name, wrapped(getattr(os, name)))


def picture(root: Path) -> dict[str, tuple[str, int]]:
    """Every file and folder of a root but our own: content and mode."""
    found = {}
    for path in sorted(root.rglob("*")):
        if "var/lib/slurmkit" in str(path) or path in (root / "var", root / "var/lib"):
            continue
        content = path.read_bytes().hex() if path.is_file() else "folder"
        found[str(path.relative_to(root))] = (content, path.stat().st_mode)
    return found


def mixed(root: Path, before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Files that are neither the old nor the new one; temporary names of ours are nobody's."""
    now = {name: value for name, value in picture(root).items() if "slurmkit-new" not in name}
    known = {**before, **after}
    return [
        name for name in {*now, *known} if now.get(name) not in (before.get(name), after.get(name))
    ]


def written_down(root: Path) -> list[str]:
    """What the log has: each change once, whoever finished it."""
    return [entry.action for entry in audit.entries(root)]


def run(machine: Machine, action: str, site: Path) -> None:
    if action == "install":
        machine.install(read_folder(site), force=True)
    else:
        machine.rollback()


def main() -> None:
    start, site, work = (Path(word) for word in sys.argv[1:4])
    runs = {"install": 0, "rollback": 0}
    finished = undone = 0
    for action in runs:
        base = work / f"{action}-base"
        shutil.copytree(start, base)
        if action == "rollback":
            run(Machine(base), "install", site)
        before = picture(base)
        done = work / f"{action}-done"
        shutil.copytree(base, done)
        run(Machine(done), action, site)
        after = picture(done)
        for count in range(10_000):
            root = work / f"{action}-{count}"
            shutil.copytree(base, root)
            child = os.fork()
            if child == 0:
                die_at(count)
                run(Machine(root), action, site)
                os._exit(0)
            _, status = os.waitpid(child, 0)
            bad = mixed(root, before, after)
            assert not bad, (action, count, bad)
            was_journal = Machine(root).interrupted
            # The next call, whatever it is, ends what was begun: a second install changes nothing.
            if action == "install":
                run(Machine(root), "install", site)
                assert picture(root) == after, (action, count)
                assert Machine(root).changes(read_folder(site)) == []
                run(Machine(root), "rollback", site)
                assert picture(root) == picture(start), (action, count)
                assert written_down(root) == ["install", "rollback"], (action, count)
            else:
                # Finished by the next call, which then finds nothing to take back; or undone.
                with contextlib.suppress(UsageError):
                    run(Machine(root), "rollback", site)
                assert picture(root) == after, (action, count)
                assert written_down(root) == ["install", "rollback"], (action, count)
            finished += was_journal
            undone += not was_journal
            shutil.rmtree(root)
            if os.WIFEXITED(status):
                assert os.WEXITSTATUS(status) == 0
                break
            runs[action] += 1
    print(json.dumps({**runs, "finished": finished, "undone": undone}))


main()
