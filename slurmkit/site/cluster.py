"""Section of site.yaml about Slurm itself: what its daemons are told on every machine."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from slurmkit.errors import UsageError
from slurmkit.site.generate.release import Release
from slurmkit.yamlfile.shapes import Form
from slurmkit.yamlfile.types import Line, Section, Word


def _release(value: str) -> str:
    try:
        Release.parse(value)
    except UsageError as error:
        raise ValueError(f"{error.message}; write it as in 24.11") from None
    return value


ReleaseText = Annotated[
    Line, AfterValidator(_release), Form("a release of Slurm such as 24.11", r"\d\d\.\d\d(\.\d+)?")
]


class SlurmSettings(Section):
    """Slurm itself: its release, its daemons, and what they confine and write down."""

    version: ReleaseText | None = Field(
        None, description="Release that the site's files are for. Default: 24.11."
    )
    cluster: Word | None = Field(
        None, description="ClusterName, which accounting keeps for ever. Default: name."
    )
    controllers: list[Word] = Field(
        default=["ctl"],
        description="Hosts of slurmctld, the first one before its backups: ctl1, ctl2(10.0.0.2).",
    )
    database: Word | None = Field(
        None, description="Host of slurmdbd; without it there are no accounts, QOS and sacct."
    )
    user: Word = Field("slurm", description="User that slurmctld and slurmdbd run as.")
    state_dir: Line = Field(
        "/var/spool/slurmctld",
        description="What slurmctld must not lose; shared by all controllers.",
    )
    spool_dir: Line = Field("/var/spool/slurmd", description="Folder of slurmd on each node.")
    log_dir: Line = Field("/var/log/slurm", description="Folder of the daemons' logs.")
    gpu_detection: Literal["profile", "nvml", "nvidia", "off"] = Field(
        "profile",
        description="How slurmd learns of GPUs: from lines made from the topology profile, by"
        " NVML, by the kernel driver (from 24.11 on, before it by NVML), or not at all.",
    )
    confine: bool = Field(
        True, description="Jobs are held to their cores, memory and GPUs by cgroups."
    )
    spank: Literal["off", "optional", "required"] = Field(
        "optional", description="slurmkit's SPANK plugins: what Slurm does where they do not load."
    )
    policy: bool = Field(
        True, description="job_submit.lua and cli_filter.lua hold the site's rules for GPU jobs."
    )
    node_timeout_s: int = Field(
        300, ge=10, le=65533, description="Seconds after which a silent node is down."
    )
    requeue_delay_s: int = Field(
        10,
        ge=0,
        le=3600,
        description="Seconds that a requeued job waits (from 25.11 on; before it 121).",
    )
    scheduler: list[Word] = Field(
        default=[], description="Further words of SchedulerParameters, such as bf_max_job_user=50."
    )
    lines: list[Line] = Field(
        default=[], description="Further lines of slurm.conf; they replace ours about the same key."
    )
