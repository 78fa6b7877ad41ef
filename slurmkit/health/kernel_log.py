"""The kernel's log as records, for the checks that look for messages in it."""

import errno
import os

from slurmkit.health.check import Node
from slurmkit.record import Record

_READ_BYTES = 8192


class KernelMessage(Record):
    """One message.

    Attributes:
        age_s: how long ago it was, seconds.
        level: 0 (emergency) to 7 (debug).
        text: what it says.
    """

    age_s: float
    level: int
    text: str


def kernel_messages(node: Node, within_s: float) -> list[KernelMessage]:
    """Return what is in the kernel's ring buffer, of the last so many seconds.

    Raises:
        OSError: it may not be read, as most sites let root alone.
    """
    uptime = node.read("proc/uptime").split()
    now_s = float(uptime[0]) if uptime else 0.0
    found = (_message(line, now_s) for line in _lines(node))
    return [message for message in found if message is not None and message.age_s <= within_s]


def _message(line: str, now_s: float) -> KernelMessage | None:
    """Return a record; its form is in the kernel's Documentation/ABI/testing/dev-kmsg."""
    head, mark, text = line.partition(";")
    fields = head.split(",")
    if not mark or len(fields) < 3 or not (fields[0].isdigit() and fields[2].isdigit()):
        return None  # " KEY=value" of the record before
    return KernelMessage(now_s - int(fields[2]) / 1e6, int(fields[0]) & 7, text)


def _lines(node: Node) -> list[str]:
    descriptor = os.open(node.root / "dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    data = []
    try:
        while True:
            try:
                record = os.read(descriptor, _READ_BYTES)
            except OSError as error:
                if error.errno == errno.EPIPE:  # overwritten while we read: go on
                    continue
                break
            if not record:
                break
            data.append(record)
    finally:
        os.close(descriptor)
    return b"".join(data).decode("utf-8", "replace").splitlines()
