"""Is a committed step what was written? Every file, its length, its digest, and nothing else."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from slurmkit.checkpoint.errors import CheckpointError, CorruptCheckpointError
from slurmkit.checkpoint.layout import MANIFEST_NAME
from slurmkit.checkpoint.manifest import Manifest, parse
from slurmkit.checkpoint.reading import corrupt, open_checked, read_error, verify_file, walk

_MOST_THREADS = 8


def read_manifest(folder: Path, step: int) -> Manifest:
    """Return the manifest of a step after checking it against its own digest.

    Raises:
        CorruptCheckpointError: it is missing or damaged.
        UnknownFormatError: a newer release wrote it.
    """
    try:
        data = (folder / MANIFEST_NAME).read_bytes()
    except OSError as error:
        nothing = Manifest(step, 0, "", "", 0, 0, (), 0, folder=folder)
        raise read_error(nothing, MANIFEST_NAME, error) from error
    return parse(data, folder, step)


def verify_presence(folder: Path, step: int) -> Manifest:
    """Check the manifest, and that exactly its files are there with the right lengths.

    Raises:
        CorruptCheckpointError: something is missing, extra, or longer or shorter.
        CheckpointError: the folder cannot be read right now.
    """
    manifest = read_manifest(folder, step)
    try:
        present = walk(folder)
    except FileNotFoundError as error:
        raise CorruptCheckpointError(f"{folder} vanished", step=step) from error
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be read: {error.strerror}") from error
    if present.pop(MANIFEST_NAME, -1) < 0:
        raise corrupt(manifest, MANIFEST_NAME, "is no plain file")
    for file in manifest.files:
        if present.pop(file.name, None) != file.size_bytes:
            os.close(open_checked(manifest, file))  # raises, unless a cache was behind (NFS)
    if present:
        raise corrupt(manifest, min(present), "does not belong to this step")
    return manifest


def verify_step(folder: Path, step: int) -> Manifest:
    """Check everything about a step; several files are read at the same time.

    Raises:
        CorruptCheckpointError: names the first file that is wrong, and what is wrong with it.
        UnknownFormatError: a newer release wrote it.
        CheckpointError: something cannot be read right now.
    """
    manifest = verify_presence(folder, step)
    threads = min(_MOST_THREADS, len(manifest.files), len(os.sched_getaffinity(0)))
    if threads <= 1:
        for file in manifest.files:
            verify_file(manifest, file)
        return manifest
    with ThreadPoolExecutor(threads, "verify") as pool:
        futures = [pool.submit(verify_file, manifest, file) for file in manifest.files]
        try:
            for future in futures:
                future.result()
        finally:
            for future in futures:
                future.cancel()
    return manifest
