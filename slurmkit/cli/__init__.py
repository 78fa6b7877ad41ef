"""The command line: parse, call one function, print. No logic here, and nobody imports it."""

import gc
import os
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line that sys.argv holds; ends the process."""
    # Imports make many objects and hardly any garbage, so looking for it early is time lost.
    gc.set_threshold(100_000)
    _leave(_run())


def _run() -> int:
    from slurmkit.yamlfile.plugins import skip_plugin_search

    skip_plugin_search()
    from slurmkit.cli.app import app
    from slurmkit.cli.output import print_error
    from slurmkit.errors import SlurmkitError

    try:
        app(prog_name="slurmkit")
    except SlurmkitError as error:
        print_error(error, as_json=_wants_json(sys.argv))
        return error.exit_code
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `slurmkit logs RUN | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:  # a full disk, a folder that may not be read
        about = f"{error.filename}: " if error.filename else ""
        print_error(SlurmkitError(f"{about}{error.strerror or error}"))
        return 1
    return 0


def _wants_json(argv: list[str]) -> bool:
    own = argv[: argv.index("--")] if "--" in argv else argv
    return "--json" in own


def _leave(code: int) -> NoReturn:
    """End the process without taking its modules apart, a seventh of a short command's time."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        pass
    except OSError as error:  # a full disk behind `> file`
        os.write(2, f"slurmkit: cannot write the output: {error.strerror}\n".encode())
        code = code or 1
    os._exit(code)
