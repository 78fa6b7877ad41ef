"""Names of the checks of a node and of their thresholds, as site.yaml may set them.

The checks themselves are in ``slurmkit.health``, which a site may not import: what plans a job
would carry it along. A test holds the two equal.
"""

#: Names of thresholds by the id of the check.
THRESHOLDS: dict[str, tuple[str, ...]] = {
    "shared-folder": ("warn_s",),
    "local-disk": (
        "warn_share",
        "fail_mib",
    ),
    "read-only": (),
    "mounts": (),
    "memory": (
        "warn_share",
        "fail_share",
    ),
    "memory-size": ("fail_share",),
    "memory-errors": ("warn_count",),
    "shared-memory": (
        "warn_mib",
        "fail_mib",
    ),
    "hugepages": ("warn_share",),
    "cpu-count": (),
    "gpu-count": (),
    "gpu-strays": (),
    "gpu-xid": ("within_h",),
    "pcie-link": (),
    "rdma-ports": (),
    "clock-skew": (),
    "slurm-daemons": (),
    "gpu-driver": (),
    "gpu-memory": ("warn_corrected",),
    "gpu-nvlink": (),
    "gpu-temperature": (
        "warn_c",
        "fail_c",
        "memory_fail_c",
    ),
    "gpu-clocks": ("fail_share",),
    "gpu-settings": (),
    "rdma-errors": (
        "warn_count",
        "fail_count",
    ),
    "link-flaps": (
        "warn_count",
        "fail_count",
    ),
    "cpu-frequency": ("warn_share",),
    "cpu-throttling": ("warn_count",),
    "clock-sync": ("fail_s",),
    "stray-processes": (),
    "stuck-processes": ("fail_count",),
    "kernel-log": ("within_h",),
    "kernel-taint": (),
}
