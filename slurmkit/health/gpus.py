"""What a driver says of a GPU, whoever asks it."""

from slurmkit.record import Record

#: Reasons for slow clocks that are no idling and no setting (NVML, nvmlClocksEventReasons): bits.
THROTTLING = {
    0x08: "hw_slowdown",
    0x20: "sw_thermal_slowdown",
    0x40: "hw_thermal_slowdown",
    0x80: "hw_power_brake_slowdown",
}


class Gpu(Record):
    """One GPU; None stands for what the driver does not tell.

    Attributes:
        index: as the driver counts.
        uncorrected: uncorrected ECC errors since the driver was loaded or the GPU was reset.
        corrected: corrected ones.
        pending: whether rows wait to be remapped.
        failed_remap: whether remapping a row has failed.
        temperature_c: of the GPU.
        memory_c: of its memory.
        slowdown_c: where the GPU slows itself down.
        sm_mhz: clock of its processors.
        max_sm_mhz: the highest that they can have.
        throttled: reasons for which it is slowed down.
        ecc: whether ECC is on.
        persistence: whether persistence mode is on.
        fabric: state of its registration with the NVLink fabric, in lower case.
        links_down: NVLinks that are not active.
        links_up: NVLinks that are active.
    """

    index: int
    uncorrected: int = 0
    corrected: int = 0
    pending: bool = False
    failed_remap: bool = False
    temperature_c: int | None = None
    memory_c: int | None = None
    slowdown_c: int | None = None
    sm_mhz: int | None = None
    max_sm_mhz: int | None = None
    throttled: tuple[str, ...] = ()
    ecc: bool | None = None
    persistence: bool | None = None
    fabric: str = ""
    links_down: int = 0
    links_up: int = 0


class NoDriverError(ValueError):
    """There is nobody to ask."""


class DriverError(Exception):
    """The driver, or the program that asks it, fails or hangs."""
