"""bench: measure what ranks can send each other."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slurmkit.api.bench import BenchJob
    from slurmkit.bench.values import BenchResult

app = typer.Typer(help="What ranks can send each other.", rich_markup_mode=None)

Sizes = Annotated[
    str,
    typer.Option("--sizes", metavar="LOW:HIGH[:FACTOR]", help="Sizes, or a list such as 8,4K,1M."),
]
Via = Annotated[str, typer.Option("--via", help="gloo, nccl, mpi, osu, or auto.")]
Nodes = Annotated[
    int | None, typer.Option("--nodes", "-N", help="Nodes. Default: 2, or the allocation's.", min=1)
]
Tasks = Annotated[
    int | None,
    typer.Option("--tasks-per-node", help="Ranks per node. Default: one per GPU.", min=1),
]
Gpus = Annotated[
    str | None, typer.Option("--gpus-per-node", help="GPUs of each node: 8, or h100:8.")
]
Partition = Annotated[str | None, typer.Option("--partition", "-p", help="Partition.")]
Nodelist = Annotated[str | None, typer.Option("--nodelist", "-w", help="Hosts to measure.")]
Time = Annotated[str | None, typer.Option("--time", "-t", help="Time limit. Default: the site's.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any key of a job: --set resources.qos=high."),
]
Like = Annotated[
    Path | None,
    typer.Option(
        "--like", metavar="JOB.yaml", help="Take resources, environment and software of a job."
    ),
]
Launcher = Annotated[
    str | None, typer.Option("--launcher", help="For MPI: srun or mpirun. Default: srun.")
]
OsuDir = Annotated[
    str | None, typer.Option("--osu-dir", help="Folder of OSU's programs. Default: on PATH.")
]
Repetitions = Annotated[
    int | None, typer.Option("--repetitions", help="Times each size. Default: by --seconds.")
]
WarmUp = Annotated[int, typer.Option("--warm-up", help="Repetitions before those that count.")]
Seconds = Annotated[float, typer.Option("--seconds", help="About how long each size may take.")]
RatedSpeed = Annotated[
    str,
    typer.Option(
        "--rated",
        metavar="RATE",
        help="A link's speed, 400Gb/s or 8x400Gb/s per node. Default: the site's or the NICs'.",
    ),
]
Local = Annotated[
    int | None, typer.Option("--local", metavar="N", help="N ranks here, without Slurm.", min=1)
]
Hosts = Annotated[
    Path | None,
    typer.Option("--hosts", metavar="HOSTS.yaml", help="On these hosts, by mpirun over SSH."),
]
SiteOption = Annotated[
    str | None, typer.Option("--site", metavar="PATH", help="site.yaml, or the folder it is in.")
]
Plot = Annotated[
    Path | None, typer.Option("--plot", help="Draw the result: a .png, .svg or .pdf file.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the script; start nothing.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Submit, and leave: see `bench show`.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def _measuring(
    operation: str, sizes_default: str, summary: str, seconds_default: float = 0.5
) -> None:
    """Add the command of one operation; all have the same options."""

    def command(
        sizes: Sizes = sizes_default,
        nodes: Nodes = None,
        tasks_per_node: Tasks = None,
        gpus_per_node: Gpus = None,
        partition: Partition = None,
        nodelist: Nodelist = None,
        time: Time = None,
        overrides: Overrides = None,
        like: Like = None,
        via: Via = "auto",
        launcher: Launcher = None,
        osu_dir: OsuDir = None,
        repetitions: Repetitions = None,
        warm_up: WarmUp = 5,
        seconds: Seconds = seconds_default,
        rated: RatedSpeed = "",
        local: Local = None,
        hosts: Hosts = None,
        site: SiteOption = None,
        plot: Plot = None,
        dry_run: DryRun = False,
        no_wait: NoWait = False,
        as_json: AsJson = False,
    ) -> None:
        from slurmkit.api.bench import Measurement, bench_job, in_allocation
        from slurmkit.bench.order import Order
        from slurmkit.bench.picture import check_picture
        from slurmkit.bench.sizes import parse_sizes

        if local is not None and (nodes or tasks_per_node or hosts):
            more = "it takes no --nodes, --tasks-per-node or --hosts"
            raise typer.BadParameter(f"all ranks are on this machine: {more}", param_hint="--local")
        if plot is not None:
            check_picture(plot)
        inside = in_allocation() and local is None and hosts is None
        if like is None and nodes is None:
            nodes = _default_nodes(hosts, inside=inside)
        keys = {
            "nodes": 1 if local else nodes,
            "tasks_per_node": local or tasks_per_node,
            "gpus_per_node": gpus_per_node,
            "partition": partition,
            "nodelist": nodelist,
            "time": time,
        }
        words = tuple(f"resources.{key}={value}" for key, value in keys.items() if value)
        order = Order(
            operation=operation,
            sizes=parse_sizes(sizes),
            warm_up=warm_up,
            repetitions=repetitions,
            budget_s=seconds,
            rated=rated,
        )
        wanted = Measurement(
            order, via, (*words, *(overrides or ())), launcher, like, site, osu_dir
        )
        bench = bench_job(wanted)
        if dry_run:
            _show_script(bench)
            return
        if local is not None or hosts is not None or inside:
            _show(_run_now(bench, hosts, inside=inside), plot, as_json)
        elif (result := _run_job(bench, wait=not no_wait)) is not None:
            _show(result, plot, as_json)

    command.__doc__ = summary
    app.command(operation)(command)


_measuring(
    "allreduce",
    "1K:64M",
    """Sum over all ranks.

    Inside an allocation it runs there; else it submits itself and waits.

    Example: slurmkit bench allreduce --nodes 2 --tasks-per-node 2
    """,
)
_measuring(
    "allgather",
    "1K:64M",
    """Gather from all ranks on all ranks.

    Example: slurmkit bench allgather --local 2 --sizes 1K:1M
    """,
)
_measuring(
    "p2p",
    "8:64M",
    """Messages between the first node and the last.

    Example: slurmkit bench p2p --nodes 2 --via mpi --plot p2p.png
    """,
)
_measuring(
    "matrix",
    "4M",
    """Messages between every pair of nodes; names the slow node, rail or pair.

    Pairs that share no node are measured at once. Exits 1 when something is slow.

    Example: slurmkit bench matrix --nodes 8 --tasks-per-node 8
    """,
    0.1,  # a round of a hundred or more
)


@app.command("show")
def show(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="Run, as for `slurmkit logs`, or bench.json.")
    ],
    plot: Plot = None,
    site: SiteOption = None,
    as_json: AsJson = False,
) -> None:
    """Show an earlier measurement again.

    Example: slurmkit bench show bench-allreduce --plot allreduce.svg
    """
    from slurmkit.api.bench_results import read_result

    _show(read_result(run, site=site), plot, as_json)


def _show_script(bench: "BenchJob") -> None:
    from slurmkit.api.preparing import prepare
    from slurmkit.cli.output import echo

    echo(prepare(bench.job, site=bench.site).script.rstrip("\n"))


def _default_nodes(hosts: Path | None, *, inside: bool) -> int:
    from slurmkit.api.bench import allocated_nodes, count_hosts

    if hosts is not None:
        return count_hosts(hosts)
    return allocated_nodes() if inside else 2


def _run_now(bench: "BenchJob", hosts: Path | None, *, inside: bool) -> "BenchResult":
    """Run the job on this machine, on hosts, or in the allocation around this process."""
    import sys

    from slurmkit.api.bench import bench_here, bench_in_allocation, bench_on_hosts
    from slurmkit.cli import output

    def progress(data: bytes) -> None:
        sys.stderr.buffer.write(data)
        sys.stderr.flush()

    if hosts is not None:
        return bench_on_hosts(bench, hosts, progress, output.print_problem)
    return bench_in_allocation(bench, progress) if inside else bench_here(bench, progress)


def _run_job(bench: "BenchJob", *, wait: bool) -> "BenchResult | None":
    """Submit the job; None when nobody waits for its end."""
    from slurmkit.api.bench import bench_submit, not_measured
    from slurmkit.cli import output
    from slurmkit.cli.watch import wait_for_run

    run = bench_submit(bench, output.print_problem)
    output.note(f"submitted job {run.job_id} as {run.name}/{run.run_id}")
    output.note(f"  script  {run.dir / 'job.sbatch'}")
    if not wait:
        output.note(f"  result  slurmkit bench show {run.run_id}")
        return None
    ended = wait_for_run(run)
    if not ended.ok:
        raise not_measured(f"job {run.job_id} ended {ended.state}", run.dir)
    return bench.result(run.dir)


def _show(result: "BenchResult", plot: Path | None, as_json: bool) -> None:
    from slurmkit.cli import output

    if plot is not None:
        from slurmkit.bench.picture import draw

        draw([result], plot)
        output.note(f"wrote {plot}")
    if as_json:
        output.print_json(result)
    else:
        for line in _lines(result):
            output.echo(line)
        output.note(f"files: {result.run_dir}" if result.run_dir else "")
    if result.findings:
        raise typer.Exit(1)


def _lines(result: "BenchResult") -> "Iterator[str]":
    from slurmkit.bench import report
    from slurmkit.cli.output import table

    yield from report.summary_lines(result)
    if result.rows:
        yield ""
        yield from table(*report.table_rows(result.rows))
        yield ""
        yield from report.bars(result.rows)
    for title, header, body in report.matrix_tables(result):
        yield f"\n{title}"
        yield from table(header, body)
    yield from report.matrix_summary(result.pairs)
    yield from (f"slow: {finding.message}" for finding in result.findings)
