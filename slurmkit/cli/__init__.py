"""The command line: parse, call one function, print. No logic here, and nobody imports it."""

import os
import sys


def main() -> int:
    """Run the command line that sys.argv holds and return the exit code."""
    from slurmkit.yamlfile.plugins import skip_plugin_search

    skip_plugin_search()
    from slurmkit.cli.app import app
    from slurmkit.cli.output import print_error
    from slurmkit.errors import SlurmkitError

    try:
        app(prog_name="slurmkit")
    except SlurmkitError as error:
        print_error(error)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `slurmkit logs RUN | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return 0
