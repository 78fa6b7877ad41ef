"""The slurmkit program: what compute nodes run is dispatched before anything heavy is imported."""

import sys


def main() -> int:
    """Run the command line in sys.argv and return its exit code."""
    args = sys.argv[1:]
    command = args[0] if args else ""
    try:
        if command == "exec":
            from slurmkit.launch.main import main as exec_main  # noqa: PLC0415

            return exec_main(args[1:])
        if command == "supervise":
            from slurmkit.supervise.main import main as supervise_main  # noqa: PLC0415

            return supervise_main(args[1:])
        if command == "agent":
            from slurmkit.supervise.agent import main as agent_main  # noqa: PLC0415

            return agent_main(args[1:])
        if args[:2] == ["health", "prolog"]:
            from slurmkit.health.prolog import main as prolog_main  # noqa: PLC0415

            return prolog_main(args[2:])
        if args[:2] == ["health", "program"]:
            from slurmkit.api.health_node import main as health_main  # noqa: PLC0415

            return health_main(args[2:])
        from slurmkit.cli import main as cli_main  # noqa: PLC0415

        return cli_main()
    except _slurmkit_error() as error:
        sys.stderr.write(f"slurmkit: error: {error}\n")
        return error.exit_code


def _slurmkit_error() -> "type[SlurmkitError]":
    """Return the base of our errors; evaluated, and its module loaded, only after a raise."""
    from slurmkit.errors import SlurmkitError  # noqa: PLC0415

    return SlurmkitError


TYPE_CHECKING = False
if TYPE_CHECKING:
    from slurmkit.errors import SlurmkitError

if __name__ == "__main__":
    sys.exit(main())
