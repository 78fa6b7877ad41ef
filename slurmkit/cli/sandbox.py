"""slurmkit sandbox: a real Slurm cluster in namespaces on this machine, with faults on demand."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="A real Slurm cluster in Linux namespaces on this machine, with faults on demand.",
)

Name = Annotated[
    str, typer.Option("--name", envvar="SLURMKIT_SANDBOX", help="Name of the sandbox.")
]
Host = Annotated[str, typer.Argument(help="login, ctl, node1, node2 ...", show_default=False)]


@app.command()
def up(
    name: Name = "default",
    nodes: Annotated[int, typer.Option(help="Compute nodes.")] = 4,
    gpus: Annotated[
        int | None,
        typer.Option(
            help="GPUs per node (they only look like GPUs): 8, or the profile's.",
            show_default=False,
        ),
    ] = None,
    cpus: Annotated[
        int | None,
        typer.Option(
            help="Cores that each node claims to have: 64, or the profile's.", show_default=False
        ),
    ] = None,
    memory: Annotated[str, typer.Option(help="Memory that each node claims to have.")] = "512G",
    gpu_type: Annotated[
        str | None,
        typer.Option(
            help="GRES type of the GPUs: h100, or the profile's; '' for untyped.",
            show_default=False,
        ),
    ] = None,
    profile: Annotated[
        str,
        typer.Option(
            help="Platform that the nodes look like, such as dgx-h100.", show_default=False
        ),
    ] = "",
    scale: Annotated[
        bool,
        typer.Option(
            "--scale", help="Give it this machine's cores, so that ranks can be bound to them."
        ),
    ] = False,
    renumber: Annotated[
        bool,
        typer.Option(
            "--renumber", help="Number the HCAs of every second node the other way round."
        ),
    ] = False,
    release: Annotated[
        str, typer.Option(help="Whose Slurm: host, or a Debian suite such as trixie or forky.")
    ] = "host",
    accounting: Annotated[
        bool, typer.Option("--accounting", help="Add slurmdbd: sacct, accounts, QOS, limits.")
    ] = False,
    preempt_grace: Annotated[
        int | None,
        typer.Option(
            help="Add a partition 'urgent', whose jobs push others aside with so many seconds'"
            " grace.",
            show_default=False,
        ),
    ] = None,
    sshd: Annotated[
        bool, typer.Option("--sshd", help="Start an sshd on every host: MPI without Slurm.")
    ] = False,
    slurmd_timeout: Annotated[
        int, typer.Option(help="Seconds after which Slurm declares a silent node down.")
    ] = 10,
    site: Annotated[
        str,
        typer.Option(
            help="Site folder, or name of a shipped site, whose configuration it has: --nodes of"
            " its nodes, on this machine's cores.",
            show_default=False,
        ),
    ] = "",
    share: Annotated[
        list[Path] | None,
        typer.Option(help="Show this folder on every host, too (repeatable).", show_default=False),
    ] = None,
    conf: Annotated[
        list[str] | None,
        typer.Option(help="One more line of slurm.conf (repeatable).", show_default=False),
    ] = None,
) -> None:
    """Start a sandbox and wait until every node is idle.

    Example: slurmkit sandbox up --nodes 2 --name demo
    """
    import time

    from slurmkit.errors import UsageError
    from slurmkit.sandbox import Sandbox
    from slurmkit.units import parse_size_mib

    try:
        memory_mib = parse_size_mib(memory)
    except ValueError as error:
        raise UsageError(f"--memory: {error}") from error
    started = time.monotonic()
    sandbox = Sandbox.up(
        name,
        nodes=nodes,
        gpus=gpus,
        cpus=cpus,
        memory_mib=memory_mib,
        gpu_type=gpu_type,
        profile=profile,
        scale=scale,
        renumber=renumber,
        release=release,
        share=share or [],
        slurmd_timeout_s=slurmd_timeout,
        slurm_conf=conf or [],
        accounting=accounting,
        preempt_grace_s=preempt_grace,
        site=site,
        sshd=sshd,
        progress=lambda line: typer.echo(line, err=True),
    )
    option = "" if name == "default" else f" --name {name}"
    typer.echo(f"ready after {time.monotonic() - started:.1f} s")
    typer.echo(f'in this shell: eval "$(slurmkit sandbox env{option})"')
    typer.echo(f"shared folder of all hosts: {sandbox.shared_dir}")
    if site:
        typer.echo(f"changed in the site's files for this machine ({len(sandbox.site_changes)}):")
        for change in sandbox.site_changes:
            typer.echo(f"  {change}")
    if sshd:
        typer.echo(f"hosts for slurmkit run --hosts: {sandbox.hosts_yaml}")


@app.command()
def status(
    name: Name = "default",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show every host: up, killed, frozen or partitioned, and what Slurm thinks of it."""
    import json
    from dataclasses import asdict

    from slurmkit.sandbox import Sandbox

    sandbox = Sandbox.open(name)
    hosts = sandbox.status()
    if as_json:
        report = {
            "name": name,
            "release": sandbox.layout.release,
            "slurm_version": sandbox.slurm_version,
            "shared_dir": str(sandbox.shared_dir),
            "hosts": [asdict(host) for host in hosts],
        }
        typer.echo(json.dumps(report, indent=2))
        return
    for host in hosts:
        typer.echo(
            f"{host.name:10} {host.address:15} {host.condition:12} {host.slurm_state}".rstrip()
        )


@app.command()
def env(name: Name = "default") -> None:
    """Print lines for your shell, after which sbatch, squeue ... mean the sandbox.

    Example: eval "$(slurmkit sandbox env)"; sinfo
    """
    from slurmkit.sandbox import Sandbox

    typer.echo(Sandbox.open(name).shell_lines(), nl=False)


@app.command(name="exec")
def exec_(
    host: Host,
    command: Annotated[
        list[str], typer.Argument(help="Program and arguments.", metavar="-- CMD...")
    ],
    name: Name = "default",
) -> None:
    """Run a program on a host with this terminal, in the current folder if the host shows it.

    Example: slurmkit sandbox exec login -- sinfo
    """
    from slurmkit.sandbox import Sandbox
    from slurmkit.sandbox.enter import leave

    raise typer.Exit(leave(Sandbox.open(name).run_here(host, command)))


@app.command()
def kill(node: Host, name: Name = "default") -> None:
    """Pull the plug: the link goes dark and every process of the host ends."""
    from slurmkit.sandbox import Sandbox

    Sandbox.open(name).kill(node)


@app.command()
def freeze(node: Host, name: Name = "default") -> None:
    """Stop every process of a host, as if it hung."""
    from slurmkit.sandbox import Sandbox

    Sandbox.open(name).freeze(node)


@app.command()
def partition(node: Host, name: Name = "default") -> None:
    """Unplug a host's network cable; its processes go on."""
    from slurmkit.sandbox import Sandbox

    Sandbox.open(name).partition(node)


@app.command()
def heal(node: Host, name: Name = "default") -> None:
    """Undo kill, freeze and partition, and wait until Slurm uses the node again."""
    from slurmkit.sandbox import Sandbox

    Sandbox.open(name).heal(node)


Disk = Annotated[str, typer.Argument(help="Name of the disk; its folder is below the shared one.")]


@app.command()
def disk(
    disk: Disk,
    name: Name = "default",
    size: Annotated[
        str | None,
        typer.Option(help="How large it is, such as 64M; it can be filled.", show_default=False),
    ] = None,
    slow: Annotated[bool, typer.Option("--slow", help="It can be slowed (needs FUSE).")] = False,
) -> None:
    """Mount a disk in the shared folder of all hosts, to fill it or to slow it.

    Example: slurmkit sandbox disk ckpt --size 64M --slow
    """
    from slurmkit.sandbox import Sandbox

    size_mib = None if size is None else -(-_bytes(size, "--size") // 2**20)
    typer.echo(str(Sandbox.open(name).make_disk(disk, size_mib=size_mib, slow=slow).path))


@app.command()
def fill(
    disk: Disk,
    name: Name = "default",
    leave: Annotated[str, typer.Option(help="Room that stays free, such as 1M.")] = "0",
) -> None:
    """Take all room of a disk that has a size, so that writing to it fails with ENOSPC."""
    from slurmkit.sandbox import Sandbox

    taken = Sandbox.open(name).disk(disk).fill(_bytes(leave, "--leave"))
    typer.echo(f"disk {disk}: {taken // 2**20} MiB taken")


@app.command()
def free(disk: Disk, name: Name = "default") -> None:
    """Give the room back that `fill` has taken."""
    from slurmkit.sandbox import Sandbox

    Sandbox.open(name).disk(disk).free()


@app.command()
def slow(
    disk: Disk,
    name: Name = "default",
    delay: Annotated[float, typer.Option(help="Seconds that each operation takes longer.")] = 0.0,
    rate: Annotated[
        str, typer.Option(help="Bytes per second for all hosts together, such as 10M; 0: no limit.")
    ] = "0",
    stuck: Annotated[bool, typer.Option("--stuck", help="Answer nothing at all.")] = False,
) -> None:
    """Make a disk slow or stuck; without options it is as fast as it can be again."""
    from slurmkit.sandbox import Sandbox

    Sandbox.open(name).disk(disk).slow(
        delay_s=delay, bytes_per_s=_bytes(rate, "--rate"), stuck=stuck
    )


@app.command()
def preempt(
    job: Annotated[str, typer.Argument(help="Id of a running job.")],
    name: Name = "default",
    hold: Annotated[int, typer.Option(help="Seconds that the other job keeps the nodes.")] = 1,
) -> None:
    """Push a running job aside, by a more important job on its nodes."""
    from slurmkit.sandbox import Sandbox

    urgent = Sandbox.open(name).preempt(job, hold_s=hold)
    typer.echo(f"job {urgent} has the nodes of job {job} for {hold} s")


def _bytes(text: str, option: str) -> int:
    from slurmkit.errors import UsageError

    units = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}
    digits = text.rstrip("KMG")
    if not digits.isdigit() or (unit := text[len(digits) :]) not in units:
        raise UsageError(f"{option} {text}: a number of bytes, such as 64M")
    return int(digits) * units[unit]


@app.command()
def down(
    name: Name = "default",
    everything: Annotated[
        bool, typer.Option("--all", help="Every sandbox of this machine.")
    ] = False,
) -> None:
    """End a sandbox, running or crashed; everything of it goes, its shared folder, too."""
    from slurmkit.sandbox import sandbox_names, take_down

    for one in sandbox_names() if everything else [name]:
        removed = take_down(one)
        typer.echo(f"sandbox {one}: {'removed' if removed else 'there was none'}")
