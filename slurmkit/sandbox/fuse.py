"""The kernel's side of a file system in user space: requests in, replies out, nothing else.

The kernel's protocol is in its header linux/fuse.h; this speaks release 7.31 of it, which Linux has
since 5.4. Standard library only: a sandbox needs no libfuse and no program that mounts for it.
"""

import ctypes
import errno
import os
import stat
import struct
import threading
from collections.abc import Callable, Mapping
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple


class Op(IntEnum):
    """What the kernel asks for (enum fuse_opcode)."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    READLINK = 5
    SYMLINK = 6
    MKNOD = 8
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    LINK = 13
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FSYNC = 20
    FLUSH = 25
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    FSYNCDIR = 30
    CREATE = 35
    INTERRUPT = 36
    DESTROY = 38
    BATCH_FORGET = 42
    FALLOCATE = 43
    RENAME2 = 45


NO_REPLY = frozenset({Op.FORGET, Op.BATCH_FORGET, Op.INTERRUPT, Op.DESTROY})
MAX_WRITE = 1 << 20

_HEADER = struct.Struct("<IIQQIIIHH")
_REPLY = struct.Struct("<IiQ")
_ATTR = struct.Struct("<6Q10I")
_INIT_IN = struct.Struct("<4I")
_INIT_OUT = struct.Struct("<4I2H2I2H8I")
_ENTRY = struct.Struct("<4Q2I")
_DIRENT = struct.Struct("<QQII")
_STATFS = struct.Struct("<5Q10I")

# FUSE_ASYNC_READ, FUSE_BIG_WRITES, FUSE_PARALLEL_DIROPS, FUSE_MAX_PAGES
_FLAGS = 1 << 0 | 1 << 5 | 1 << 18 | 1 << 22
_MS_NOSUID_NODEV = 2 | 4

libc = ctypes.CDLL(None, use_errno=True)


class Request(NamedTuple):
    """One request.

    Attributes:
        op: what is asked for; a plain number where we do not know it.
        unique: what the reply must quote.
        node: the file that it is about.
        uid: who asks.
        gid: their group.
        body: the operation's own arguments.
    """

    op: int
    unique: int
    node: int
    uid: int
    gid: int
    body: memoryview

    def unpack(self, form: str) -> tuple[int, ...]:
        """Return the numbers at the start of the body."""
        return struct.unpack_from("<" + form, self.body)

    def names(self, start: int = 0) -> list[bytes]:
        """Return the zero-terminated names that follow after ``start`` bytes."""
        return bytes(self.body[start:]).split(b"\0")[:-1]


Handler = Callable[[Request], bytes]


def mount(target: Path) -> int:
    """Mount a file system that this process serves; return the descriptor of its requests.

    Raises:
        OSError: the kernel has no FUSE, or refuses.
    """
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions"
    words = (b"slurmkit", os.fsencode(target), b"fuse.slurmkit")
    if libc.mount(*words, ctypes.c_ulong(_MS_NOSUID_NODEV), options.encode()) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(target))
    return device


def serve(device: int, handlers: Mapping[int, Handler], num_threads: int) -> None:
    """Answer requests until the file system is unmounted.

    Args:
        device: what :func:`mount` returned.
        handlers: by operation; an operation without one is answered with ENOSYS, for which the
            kernel has a way of its own.
        num_threads: how many operations may wait at the same time.
    """
    threads = [
        threading.Thread(target=_answer, args=(device, handlers)) for _ in range(num_threads)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _answer(device: int, handlers: Mapping[int, Handler]) -> None:
    while True:
        try:
            packet = os.read(device, MAX_WRITE + 4096)
        except OSError as error:
            if error.errno == errno.ENODEV:
                return
            if error.errno in (errno.EINTR, errno.EAGAIN, errno.ENOENT):
                continue  # ENOENT: the request was interrupted before we had it
            raise
        _, op, unique, node, uid, gid, _, _, _ = _HEADER.unpack_from(packet)
        request = Request(op, unique, node, uid, gid, memoryview(packet)[_HEADER.size :])
        failed, answer = _handle(request, handlers)
        if op not in NO_REPLY:
            head = _REPLY.pack(_REPLY.size + len(answer), -failed, unique)
            try:
                os.writev(device, [head, answer])
            except OSError as error:
                if error.errno != errno.ENOENT:  # nobody waits for it any more
                    raise


def _handle(request: Request, handlers: Mapping[int, Handler]) -> tuple[int, bytes]:
    """Return (error number, answer)."""
    if request.op == Op.INIT:
        return 0, _init(request)
    handler = handlers.get(request.op)
    if handler is None:
        return errno.ENOSYS, b""
    try:
        return 0, handler(request)
    except OSError as error:
        return error.errno or errno.EIO, b""


def _init(request: Request) -> bytes:
    _, _, readahead, offered = _INIT_IN.unpack_from(request.body)
    pages = MAX_WRITE // 4096
    return _INIT_OUT.pack(
        *(7, 31, readahead, _FLAGS & offered, 64, 48, MAX_WRITE, 1, pages, 0), *[0] * 8
    )


def attributes(found: os.stat_result) -> bytes:
    """Return struct fuse_attr of a file."""
    times = (found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns)
    return _ATTR.pack(
        found.st_ino,
        found.st_size,
        found.st_blocks,
        *(ns // 10**9 for ns in times),
        *(ns % 10**9 for ns in times),
        *(found.st_mode, found.st_nlink, found.st_uid, found.st_gid),
        *(found.st_rdev, found.st_blksize, 0),
    )


def attr_out(found: os.stat_result) -> bytes:
    """Return struct fuse_attr_out; the kernel keeps nothing, so that it asks again next time."""
    return bytes(16) + attributes(found)


def entry_out(node: int, found: os.stat_result) -> bytes:
    """Return struct fuse_entry_out, kept by the kernel no longer than that."""
    return _ENTRY.pack(node, 0, 0, 0, 0, 0) + attributes(found)


def directory_entry(name: bytes, inode: int, mode: int, offset: int) -> bytes:
    """Return struct fuse_dirent, padded; ``offset`` is where the next one starts."""
    entry = _DIRENT.pack(inode, offset, len(name), stat.S_IFMT(mode) >> 12) + name
    return entry + bytes(-len(entry) % 8)


def statfs_out(found: os.statvfs_result) -> bytes:
    """Return struct fuse_kstatfs."""
    sizes = (found.f_blocks, found.f_bfree, found.f_bavail, found.f_files, found.f_ffree)
    return _STATFS.pack(*sizes, found.f_bsize, found.f_namemax, found.f_frsize, *[0] * 7)
