"""What programs say when they fail, and what that means: one row per fixed text of a library.

Rows are tried from the top; the first that matches a rank's last words decides. The source of each
text stands beside it, so that a new release of a library can be checked.
"""

import re
from dataclasses import dataclass

NODE, MEMORY, TRANSIENT, APPLICATION = "node", "memory", "transient", "application"


@dataclass(frozen=True)
class Pattern:
    """One text.

    Attributes:
        id: its stable name; part of the failure's key.
        kind: node, memory, transient or application.
        text: the fixed text, as a regular expression.
        means: what happened, in a few words.
        source: who prints it.
        anywhere: True when it may stand before the last words, as it is never said in passing.
    """

    id: str
    kind: str
    text: re.Pattern[str]
    means: str
    source: str
    anywhere: bool = False


def _row(
    id_: str, kind: str, text: str, means: str, source: str, *, anywhere: bool = False
) -> Pattern:
    return Pattern(id_, kind, re.compile(text, re.IGNORECASE), means, source, anywhere)


PATTERNS = (
    # -- the node's hardware -----------------------------------------------------------------
    _row(
        "gpu-ecc",
        NODE,
        r"uncorrectable ECC error encountered|cudaErrorECCUncorrectable",
        "a GPU has an uncorrectable memory error",
        "CUDA runtime, cudaErrorECCUncorrectable",
        anywhere=True,
    ),
    _row(
        "gpu-nvlink",
        NODE,
        r"uncorrectable NVLink error detected|Invalid access of peer GPU memory over nvlink",
        "an NVLink has failed",
        "CUDA runtime, cudaErrorNvlinkUncorrectable",
        anywhere=True,
    ),
    _row(
        "gpu-xid",
        NODE,
        r"NVRM: Xid \(",
        "the driver reports a GPU fault",
        "NVIDIA driver, XID messages of the kernel log",
        anywhere=True,
    ),
    _row(
        "gpu-lost",
        NODE,
        r"GPU is lost|GPU has fallen off the bus|Unable to determine the device handle for GPU",
        "a GPU is gone",
        "NVML, NVML_ERROR_GPU_IS_LOST; nvidia-smi",
        anywhere=True,
    ),
    _row(
        "gpu-missing",
        NODE,
        r"no CUDA-capable device is detected|No CUDA GPUs are available"
        r"|CUDA-capable device\(s\) is/are busy or unavailable",
        "the rank finds no GPU that it can use",
        "CUDA runtime, cudaErrorNoDevice and cudaErrorDevicesUnavailable; torch.cuda",
    ),
    _row(
        "gpu-driver",
        NODE,
        r"system not yet initialized|CUDA driver initialization failed"
        r"|driver/library version mismatch|hardware stack error",
        "the GPU driver or its fabric manager is not working",
        "CUDA runtime, cudaErrorSystemNotReady and cudaErrorHardwareStackError; NVML",
    ),
    _row(
        "machine-check",
        NODE,
        r"mce: \[Hardware Error\]|Hardware Error.*Machine check",
        "the processor or its memory has failed",
        "Linux, machine check messages",
        anywhere=True,
    ),
    _row(
        "disk-error",
        NODE,
        r"Input/output error|Read-only file system|Structure needs cleaning",
        "a disk of the node has failed",
        "C library, strerror of EIO, EROFS and EUCLEAN",
    ),
    _row(
        "node-failure",
        NODE,
        r"CANCELLED AT \S+ DUE TO NODE FAILURE|Node failure on \S+",
        "Slurm has lost the node",
        "slurmstepd and srun",
        anywhere=True,
    ),
    # -- memory --------------------------------------------------------------------------------
    _row(
        "gpu-memory",
        MEMORY,
        r"CUDA out of memory|CUDA error: out of memory|HIP out of memory|torch\.OutOfMemoryError",
        "a GPU's memory is full",
        "torch, CUDACachingAllocator; CUDA runtime, cudaErrorMemoryAllocation",
    ),
    _row(
        "cgroup-memory",
        MEMORY,
        r"oom[-_]kill|cgroup out-of-memory handler|Out Of Memory",
        "the job's memory on this node is used up",
        "slurmstepd and srun; Linux, cgroup messages",
        anywhere=True,
    ),
    _row(
        "shared-memory",
        MEMORY,
        r"insufficient shared memory \(shm\)|unable to (?:write|mmap|open shared memory)[^\n]*"
        r"(?:torch_|/dev/shm)",
        "the shared memory of the node is full",
        "torch, DataLoader and shared storages",
    ),
    _row(
        "host-memory",
        MEMORY,
        r"DefaultCPUAllocator: (?:can't allocate memory|not enough memory)|std::bad_alloc"
        r"|Cannot allocate memory|^MemoryError\b",
        "the node's memory is used up",
        "torch, c10 CPU allocator; C++ and C libraries; Python",
    ),
    # -- the program, where a message would look like something else ---------------------------
    _row(
        "no-space",
        APPLICATION,
        r"No space left on device|Disk quota exceeded",
        "a file system or a quota is full",
        "C library, strerror of ENOSPC and EDQUOT",
    ),
    _row(
        "gpu-program",
        APPLICATION,
        r"device-side assert triggered|an illegal memory access was encountered"
        r"|misaligned address|unspecified launch failure|invalid device ordinal",
        "a kernel of the program went wrong",
        "CUDA runtime, cudaErrorAssert, cudaErrorIllegalAddress and the like",
    ),
    # -- the network ---------------------------------------------------------------------------
    _row(
        "nccl-timeout",
        TRANSIENT,
        r"Watchdog caught collective operation timeout|Heartbeat monitor timed out",
        "a collective did not end in time",
        "torch, ProcessGroupNCCL",
    ),
    _row(
        "nccl-remote",
        TRANSIENT,
        r"ncclRemoteError|remote process exited or there was a network error",
        "NCCL lost another rank",
        "NCCL, ncclRemoteError; torch, NCCLUtils",
    ),
    _row(
        "nccl-network",
        TRANSIENT,
        r"NET/(?:IB|Socket|OFI)[^\n]*(?:error|failed|with status=|completion)"
        r"|ibv_\w+[^\n]* failed|ncclSystemError|NCCL[^\n]*unhandled system error",
        "NCCL's network has failed",
        "NCCL, net_ib and net_socket, ncclSystemError",
    ),
    _row(
        "nccl-aborted",
        TRANSIENT,
        r"NCCL communicator was aborted|ncclInProgress|ncclInternalError",
        "NCCL gave up",
        "torch, ProcessGroupNCCL; NCCL",
    ),
    _row(
        "ucx",
        TRANSIENT,
        r"Transport retry count(?:er)? exceeded|UCX\s+ERROR[^\n]*(?:timeout|unreachable|reset"
        r"|Endpoint)|Connection reset by remote peer|UCS_ERR_(?:ENDPOINT_TIMEOUT|CONNECTION_RESET)",
        "UCX lost a connection",
        "UCX, ib_mlx5 log and ucs_status_string",
    ),
    _row(
        "open-mpi",
        TRANSIENT,
        r"mca_btl_\w+[^\n]* failed|ORTE has lost communication|PRTE has lost communication"
        r"|MPI_ERR_PROC_FAILED|peer process has unexpectedly disconnected",
        "Open MPI lost another process",
        "Open MPI, btl components and help texts",
    ),
    _row(
        "gloo",
        TRANSIENT,
        r"gloo/transport[^\n]*(?:closed by peer|reset by peer|timeout|Timed out|Broken pipe)"
        r"|Connection closed by peer \[|Timed out waiting \d+ms for (?:recv|send) operation",
        "gloo lost another rank",
        "gloo, transport/tcp",
    ),
    _row(
        "rendezvous",
        TRANSIENT,
        r"DistNetworkError|DistStoreError|client socket has (?:timed out|failed to connect)"
        r"|recvValue(?:WithTimeout)? failed|Failed to recv, got 0 bytes|RendezvousTimeoutError",
        "ranks did not find each other, or lost the one that keeps the store",
        "torch, TCPStore and elastic rendezvous",
    ),
    _row(
        "stale-file",
        TRANSIENT,
        r"Stale (?:NFS )?file handle|Transport endpoint is not connected|Host is down",
        "a shared file system went away for a moment",
        "C library, strerror of ESTALE, ENOTCONN and EHOSTDOWN",
    ),
    _row(
        "connection",
        TRANSIENT,
        r"Connection reset by peer|Connection refused|Broken pipe|Connection timed out"
        r"|No route to host|Network is unreachable|Software caused connection abort"
        r"|Socket closed|\bConnection(?:Reset|Refused|Aborted)Error\b",
        "a network connection was lost",
        "C library, strerror of ECONNRESET and the like; Python",
    ),
    _row(
        "slurm-launch",
        TRANSIENT,
        r"Unable to create step|Job credential expired|Communication connection failure"
        r"|Slurmd could not|Socket timed out on send/recv operation|Zero Bytes were transmitted",
        "Slurm could not start the ranks",
        "srun, slurm_strerror",
    ),
)
BY_ID = {pattern.id: pattern for pattern in PATTERNS}
_LAST_LINES = 40


def find(text: str, last_words: str | None = None) -> Pattern | None:
    """Return the first pattern that fits.

    Args:
        text: the end of a log.
        last_words: its last words, such as an exception's message; None for its last lines. A
            warning earlier in the log, after which the program went on, must not decide.
    """
    if last_words is None:
        last_words = "\n".join(text.splitlines()[-_LAST_LINES:])
    for pattern in PATTERNS:
        if pattern.text.search(last_words) or (pattern.anywhere and pattern.text.search(text)):
            return pattern
    return None
