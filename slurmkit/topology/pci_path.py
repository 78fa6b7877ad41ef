"""The PCIe switches above a device, from the chain of bridges that sysfs and hwloc show."""


def switches_above(chain: tuple[str, ...]) -> tuple[str, ...]:
    """Return the root complex and the upstream port of each switch above a device.

    Above a device stand pairs of downstream and upstream port, one pair per switch, and at last the
    root port; NCCL walks up two at a time in the same way (`src/graph/xml.cc`).

    Args:
        chain: root complex, every bridge, and the device.
    """
    if len(chain) < 2:
        return ()
    bridges = chain[1:-1]
    return (chain[0], *reversed(bridges[-2::-2] if len(bridges) >= 2 else ()))
