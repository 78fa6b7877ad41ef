"""slurmkit topo: a node's GPUs, NICs and cores - shown, compared, converted, and planned on."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from slurmkit.topology.model import Topology

app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="A node's GPUs, NICs and cores: show, verify, import, export, and plan ranks on them.",
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Root = Annotated[
    Path | None,
    typer.Option(help="Discover below this folder instead of /.", show_default=False),
]
Profile = Annotated[
    str | None, typer.Option(help="Take this profile, such as dgx-h100.", show_default=False)
]
File = Annotated[
    Path | None,
    typer.Option("--topology", help="Take this file: JSON, NCCL XML or hwloc XML."),
]


def _topology(root: Path | None, profile: str | None, file: Path | None) -> "Topology":
    """Return the topology that the options name: this node's when they name none."""
    from slurmkit.errors import UsageError

    if sum(option is not None for option in (root, profile, file)) > 1:
        raise UsageError("--root, --profile and --topology exclude each other")
    if profile is not None:
        from slurmkit.topology.profile import load_profile

        return load_profile(profile)
    if file is not None:
        from slurmkit.topology.load import load_topology

        return load_topology(file)
    from slurmkit.topology.discover import discover

    if root is not None:
        if not (root / "sys").is_dir():
            raise UsageError(f"{root} holds no sys folder", hint="Give the folder above sys.")
        return discover(str(root))
    found = discover()
    if not any(gpu.is_nvidia for gpu in found.gpus):
        return found
    from slurmkit.topology.nvml import add_nvml

    return add_nvml(found)


@app.command("show")
def show(
    as_json: AsJson = False,
    svg: Annotated[
        Path | None, typer.Option(help="Write the picture as SVG to this file.", show_default=False)
    ] = None,
    root: Root = None,
    profile: Profile = None,
    topology: File = None,
) -> None:
    """Show a node: what hangs where, how near each NIC is to each GPU, what a mistake costs.

    Example: slurmkit topo show --profile dgx-h100 --svg node.svg
    """
    import sys

    from slurmkit.cli import output

    found = _topology(root, profile, topology)
    if svg is not None:
        from slurmkit.topology.picture_svg import draw_svg

        _write(svg, draw_svg(found))
        output.note(f"wrote {svg}")
    if as_json:
        from slurmkit.topology.bandwidth import pairs, wrong_binding_costs
        from slurmkit.topology.export_json import plain, to_json

        extra = {"pairs": plain(tuple(pairs(found))), "costs": wrong_binding_costs(found)}
        output.print_json({**to_json(found), **extra})
    elif svg is None:
        from slurmkit.topology.picture import draw

        for line in draw(found, colour=sys.stdout.isatty()):
            output.echo(line)


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to read.")],
    file_format: Annotated[
        str, typer.Option("--format", help="nccl, hwloc, json, or auto.")
    ] = "auto",
    as_json: AsJson = False,
) -> None:
    """Read NCCL topology XML or hwloc XML and print it as a topology.

    Example: slurmkit topo import topo.xml --format nccl --json
    """
    from slurmkit.cli import output
    from slurmkit.topology.load import load_topology

    found = load_topology(file, file_format)
    if as_json:
        from slurmkit.topology.export_json import to_json

        output.print_json(to_json(found))
        return
    from slurmkit.topology.picture import draw

    for line in draw(found):
        output.echo(line)


@app.command("export")
def export(
    export_format: Annotated[
        str, typer.Option("--format", help="json, nccl, gres, plugin or sysfs.")
    ] = "json",
    plugin: Annotated[bool, typer.Option("--plugin", help="The same as --format plugin.")] = False,
    out: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write here, not to standard output.")
    ] = None,
    node_name: Annotated[str, typer.Option(help="Begin gres.conf lines with this NodeName=.")] = "",
    smt: Annotated[str, typer.Option(help="Plugin's map: use all threads of a core, or avoid.")] = (
        "use"
    ),
    reserved_cores: Annotated[
        int, typer.Option(help="Plugin's map: cores of every NUMA node that no rank gets.")
    ] = 0,
    memory: Annotated[
        str, typer.Option(help="Plugin's map: local, bind, interleave or none.")
    ] = "local",
    host: Annotated[
        str | None, typer.Option(help="Write this host name instead of the topology's.")
    ] = None,
    root: Root = None,
    profile: Profile = None,
    topology: File = None,
) -> None:
    """Write a node as JSON, NCCL topology XML, gres.conf lines, or the SPANK plugin's map.

    The format sysfs writes /sys and /proc files below --output, for tests: --root reads them.

    Example: slurmkit topo export --format nccl --output /etc/nccl-topo.xml
    """
    from slurmkit.cli import output
    from slurmkit.errors import UsageError

    found = _topology(root, profile, topology)
    if host is not None:
        found = found.replace(host=host)
    kind = "plugin" if plugin else export_format
    if kind == "sysfs":
        from slurmkit.topology.fake_sysfs import write_sysfs

        if out is None:
            raise UsageError("--format sysfs needs --output, an empty folder")
        write_sysfs(found, out)
        return
    if kind == "json":
        import json

        from slurmkit.topology.export_json import to_json

        text = json.dumps(to_json(found), indent=2) + "\n"
    elif kind == "nccl":
        from slurmkit.topology.nccl_xml import to_nccl_xml

        text = to_nccl_xml(found)
    elif kind == "gres":
        from slurmkit.topology.export_gres import gres_lines

        text = "".join(f"{line}\n" for line in gres_lines(found, node_name))
    elif kind == "plugin":
        from slurmkit.topology.affinity import Request
        from slurmkit.topology.export_map import plugin_map

        rules = Request(max(1, len(found.gpus)), smt=smt, reserved_cores=reserved_cores)
        text = plugin_map(found, rules.replace(memory=memory))
    else:
        raise UsageError(f"{kind!r} is no format", hint="Formats: json, nccl, gres, plugin, sysfs.")
    if out is None:
        output.echo(text.rstrip("\n"))
    else:
        _write(out, text)


def _write(path: Path, text: str) -> None:
    """Write a file under a temporary name, then rename: a plugin may be reading the old one."""
    import os

    from slurmkit.errors import UsageError

    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


@app.command("verify")
def verify_node(
    profile: Annotated[str, typer.Option(help="The profile the node should match.")],
    as_json: AsJson = False,
    root: Root = None,
    topology: File = None,
) -> None:
    """Compare a node with a profile; exit code 1 when it is not of that kind or is broken.

    Example: slurmkit topo verify --profile dgx-h100
    """
    from slurmkit.cli import output
    from slurmkit.topology.export_json import plain
    from slurmkit.topology.profile import load_profile
    from slurmkit.topology.verify import verify

    found = _topology(root, None, topology)
    differences = verify(found, load_profile(profile))
    matches = not any(difference.severity == "error" for difference in differences)
    if as_json:
        output.print_json(
            {
                "host": found.host,
                "profile": profile,
                "matches": matches,
                "differences": plain(tuple(differences)),
            }
        )
    else:
        rows = [(item.severity, item.key, item.expected, item.found) for item in differences]
        if rows:
            for line in output.table(("SEVERITY", "WHAT", "EXPECTED", "FOUND"), rows):
                output.echo(line)
        verdict = "matches" if matches else "does not match"
        output.echo(f"{found.host} {verdict} {profile}")
    if not matches:
        raise typer.Exit(1)


@app.command("plan")
def plan(
    ranks: Annotated[int, typer.Option(help="Ranks on the node.")],
    cpus: Annotated[
        str | None, typer.Option(help="CPUs the step may use, such as 0-55,112-167. Default: all.")
    ] = None,
    policy: Annotated[
        str, typer.Option(help="nearest to the GPU, spread over NUMA nodes, or none.")
    ] = "nearest",
    smt: Annotated[
        str, typer.Option(help="use all threads of a core, or avoid all but the first.")
    ] = "use",
    reserved_cores: Annotated[
        int, typer.Option(help="Cores of every NUMA node that no rank gets.")
    ] = 0,
    memory: Annotated[str, typer.Option(help="local, bind, interleave or none.")] = "local",
    gpus_per_rank: Annotated[int, typer.Option(help="GPUs of each rank.")] = 1,
    ranks_per_gpu: Annotated[int, typer.Option(help="Ranks that share a GPU.")] = 1,
    visible: Annotated[
        str | None,
        typer.Option(help="CUDA_VISIBLE_DEVICES of the step: numbers, UUIDs or MIG names."),
    ] = None,
    nccl_version: Annotated[
        str | None, typer.Option(help="NCCL that will run, such as 2.27.3.")
    ] = None,
    cross_node: Annotated[
        str, typer.Option(help="rails: each NIC has its own network; flat: all meet in one.")
    ] = "",
    root: Root = None,
    profile: Profile = None,
    topology: File = None,
    as_json: AsJson = False,
) -> None:
    """Plan which cores, memory, NICs and variables each rank of a node gets.

    Example: slurmkit topo plan --profile dgx-h100 --ranks 8
    """
    from slurmkit.cli import output
    from slurmkit.topology.affinity import Request, plan_ranks
    from slurmkit.topology.cpuset import parse_cpulist

    found = _topology(root, profile, topology)
    request = Request(
        num_ranks=ranks,
        allowed_cpus=None if cpus is None else parse_cpulist(cpus),
        policy=policy,
        smt=smt,
        reserved_cores=reserved_cores,
        gpus_visible=None if visible is None else _tokens(visible),
        gpus_per_rank=gpus_per_rank,
        ranks_per_gpu=ranks_per_gpu,
        memory=memory,
        nccl_version=None if nccl_version is None else _version(nccl_version),
        cross_node=cross_node,
    )
    plans = [item.to_json() for item in plan_ranks(found, request)]
    if as_json:
        output.print_json(plans)
        return
    rows = [
        (
            str(item["local_rank"]),
            " ".join(str(gpu["index"]) for gpu in item["gpus"]) or "-",
            "-" if item["numa"] is None else str(item["numa"]),
            item["cpus"] or "-",
            ",".join(item["nics"]) or "-",
            item["distance"] or "-",
        )
        for item in plans
    ]
    for line in output.table(("RANK", "GPU", "NUMA", "CPUS", "NICS", "DISTANCE"), rows):
        output.echo(line)
    for note in sorted({note for item in plans for note in item["notes"]}):
        output.note(note)


def _tokens(text: str) -> tuple[str, ...]:
    return tuple(token.strip() for token in text.split(",") if token.strip())


def _version(text: str) -> tuple[int, ...]:
    from slurmkit.errors import UsageError

    parts = text.split(".")
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise UsageError(f"--nccl-version: {text!r} is not a version such as 2.27.3")
    return tuple(int(part) for part in parts)
