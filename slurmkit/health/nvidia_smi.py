"""What nvidia-smi prints of each GPU, and how it is run when it may hang."""

import os
import re
import subprocess
import time
from xml.etree import ElementTree

from slurmkit.health.gpus import THROTTLING, DriverError, Gpu, NoDriverError


def gpus_by_program(program: str, deadline: float) -> tuple[Gpu, ...]:
    """Return what nvidia-smi says.

    Args:
        program: its name or path.
        deadline: until when it may take, of the monotonic clock.

    Raises:
        NoDriverError: it is not there.
        DriverError: it hangs, fails, or prints what it should not.
    """
    gpus = read_xml(_run([program, "-q", "-x"], deadline))
    try:
        links = read_links(_run([program, "nvlink", "-s"], deadline))
    except DriverError:  # GPUs without NVLink make it fail
        return gpus
    return tuple(
        gpu.replace(links_up=up, links_down=down)
        for gpu in gpus
        for up, down in (links.get(gpu.index, (0, 0)),)
    )


def _run(argv: list[str], deadline: float) -> str:
    """Run a program that may ignore every signal but KILL, and even that one for a while."""
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
        )
    except OSError as error:
        raise NoDriverError(f"{argv[0]}: {error.strerror}; nvidia-ml-py is not there") from error
    try:
        left_s = max(0.1, deadline - time.monotonic())
        printed, said = process.communicate(timeout=left_s)
    except subprocess.TimeoutExpired as late:
        # Not waited for: in the kernel it may hang for ever. Our own end takes the rest along.
        process.kill()
        raise DriverError(f"{argv[0]} did not answer within {left_s:.1f} s") from late
    if process.returncode != 0:
        words = " ".join((said or printed).split())[:200]
        raise DriverError(f"{argv[0]} ended with {process.returncode}: {words}")
    return printed


def read_xml(text: str) -> tuple[Gpu, ...]:
    """Return what ``nvidia-smi -q -x`` printed; names that a driver does not have are left out.

    Raises:
        DriverError: it is no XML.
    """
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 (from the driver's own program)
    except ElementTree.ParseError as error:
        raise DriverError(f"nvidia-smi -q -x printed no XML: {error}") from error
    return tuple(_of_xml(index, gpu) for index, gpu in enumerate(root.iter("gpu")))


def _of_xml(index: int, gpu: ElementTree.Element) -> Gpu:
    def text(path: str) -> str:
        return (gpu.findtext(path) or "").strip()

    def number(path: str) -> int | None:
        found = re.match(r"\d+", text(path))
        return int(found[0]) if found else None

    def total(kind: str) -> int:
        errors = gpu.find("ecc_errors/volatile")
        found = [] if errors is None else list(errors)
        values = [item.text or "" for item in found if re.search(kind, item.tag)]
        return sum(int(value) for value in values if value.strip().isdigit())

    def yes(path: str) -> bool:
        return text(path).lower() == "yes"

    def mode(path: str) -> bool | None:
        return {"enabled": True, "disabled": False}.get(text(path).lower())

    reasons = []
    # Renamed from "throttle" to "event" in drivers of 2023.
    for element in gpu.iter():
        name = re.sub(r"clocks_(throttle|event)_reason_", "", element.tag)
        if name in THROTTLING.values() and (element.text or "").strip() == "Active":
            reasons.append(name)
    return Gpu(
        index=index,
        uncorrected=total(r"uncorrectable"),
        corrected=total(r"_correctable"),
        pending=yes("remapped_rows/remapped_row_pending"),
        failed_remap=yes("remapped_rows/remapped_row_failure"),
        temperature_c=number("temperature/gpu_temp"),
        memory_c=number("temperature/memory_temp"),
        slowdown_c=number("temperature/gpu_temp_slow_threshold"),
        sm_mhz=number("clocks/sm_clock"),
        max_sm_mhz=number("max_clocks/sm_clock"),
        throttled=tuple(reasons),
        ecc=mode("ecc_mode/current_ecc"),
        persistence=mode("persistence_mode"),
        fabric=text("fabric/state").lower(),
    )


def read_links(text: str) -> dict[int, tuple[int, int]]:
    """Return the active and the inactive links of each GPU, of what ``nvidia-smi nvlink -s`` said.

    A link that is up has a rate; any other word, such as ``<inactive>``, means that it is not.
    """
    found: dict[int, tuple[int, int]] = {}
    index = -1
    for line in text.splitlines():
        if head := re.match(r"GPU (\d+):", line):
            index = int(head[1])
            found[index] = (0, 0)
        elif link := re.match(r"\s+Link \d+:\s*(.*)", line):
            up, down = found.get(index, (0, 0))
            is_up = re.match(r"[\d.]+ GB/s", link[1]) is not None
            found[index] = (up + is_up, down + (not is_up))
    return found
