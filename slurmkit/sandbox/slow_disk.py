"""A file system that shows a folder and is as slow as it is told: ``python -m`` this, by a sandbox.

It stands for a parallel file system whose servers are busy, or do not answer at all.
"""

import ctypes
import errno
import itertools
import os
import resource
import stat
import struct
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from slurmkit.sandbox import fuse
from slurmkit.sandbox.fuse import Op, Request
from slurmkit.sandbox.speed import READY, SPEED, Brake

_NUM_THREADS = 24
# fuse_setattr_in.valid
_MODE, _UID, _GID, _SIZE, _ATIME, _MTIME, _HANDLE, _ATIME_NOW, _MTIME_NOW = (
    1 << bit for bit in range(9)
)


@dataclass
class _Node:
    """A file that the kernel knows: a descriptor that stands for it wherever it is moved to."""

    descriptor: int
    key: tuple[int, int]
    lookups: int = 0

    @property
    def path(self) -> str:
        return f"/proc/self/fd/{self.descriptor}"


@dataclass
class Passthrough:
    """The operations of the file system, on the files of a folder.

    Attributes:
        folder: what it shows.
        brake: makes it slow.
    """

    folder: Path
    brake: Brake
    _nodes: dict[int, _Node] = field(default_factory=dict)
    _ids: dict[tuple[int, int], int] = field(default_factory=dict)
    _lists: dict[int, list[bytes]] = field(default_factory=dict)
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(2))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        descriptor = os.open(self.folder, os.O_PATH)
        self._nodes[1] = _Node(descriptor, _key(os.fstat(descriptor)), 1)
        self._ids[self._nodes[1].key] = 1

    def handlers(self) -> dict[int, fuse.Handler]:
        """Return one function per operation."""
        plain: dict[int, fuse.Handler] = {
            Op.LOOKUP: self._lookup,
            Op.GETATTR: lambda r: fuse.attr_out(os.fstat(self._descriptor(r.node))),
            Op.SETATTR: self._setattr,
            Op.READLINK: lambda r: os.readlink(b"", dir_fd=self._descriptor(r.node)),
            Op.SYMLINK: self._symlink,
            Op.MKNOD: self._mknod,
            Op.MKDIR: self._mkdir,
            Op.UNLINK: self._unlink,
            Op.RMDIR: self._rmdir,
            Op.RENAME: self._rename,
            Op.RENAME2: self._rename,
            Op.LINK: self._link,
            Op.OPEN: self._open,
            Op.STATFS: lambda _: fuse.statfs_out(os.fstatvfs(self._descriptor(1))),
            Op.RELEASE: self._release,
            Op.FSYNC: self._fsync,
            Op.FLUSH: _nothing,
            Op.OPENDIR: self._opendir,
            Op.READDIR: self._readdir,
            Op.RELEASEDIR: self._releasedir,
            Op.FSYNCDIR: self._fsyncdir,
            Op.CREATE: self._create,
            Op.FALLOCATE: self._fallocate,
        }
        slow: dict[int, fuse.Handler] = {op: self._braked(handler) for op, handler in plain.items()}
        # These two say how many bytes they are about, and forgetting costs no server anything.
        quick: dict[int, fuse.Handler] = {Op.READ: self._read, Op.WRITE: self._write}
        silent: dict[int, fuse.Handler] = {
            Op.FORGET: self._forget,
            Op.BATCH_FORGET: self._forget_many,
        }
        none: dict[int, fuse.Handler] = dict.fromkeys((Op.INTERRUPT, Op.DESTROY), _nothing)
        return {**slow, **quick, **silent, **none}

    def _braked(self, handler: fuse.Handler) -> fuse.Handler:
        def run(request: Request) -> bytes:
            self.brake.wait()
            return handler(request)

        return run

    # -- names -------------------------------------------------------------------------------

    def _node(self, number: int) -> _Node:
        try:
            return self._nodes[number]
        except KeyError:
            raise OSError(errno.ESTALE, "the kernel speaks of a file that it forgot") from None

    def _descriptor(self, number: int) -> int:
        return self._node(number).descriptor

    def _entry(self, parent: int, name: bytes) -> bytes:
        """Take a file into the table, and return what the kernel is told about it."""
        descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=self._descriptor(parent))
        found = os.fstat(descriptor)
        with self._lock:
            key = _key(found)
            if key in self._ids:
                os.close(descriptor)
            else:
                self._ids[key] = next(self._numbers)
                self._nodes[self._ids[key]] = _Node(descriptor, key)
            number = self._ids[key]
            self._nodes[number].lookups += 1
        return fuse.entry_out(number, found)

    def _lookup(self, request: Request) -> bytes:
        return self._entry(request.node, request.names()[0])

    def _forget(self, request: Request) -> bytes:
        self._drop(request.node, request.unpack("Q")[0])
        return b""

    def _forget_many(self, request: Request) -> bytes:
        count, _ = request.unpack("II")
        pairs = struct.iter_unpack("<QQ", request.body[8 : 8 + 16 * count])
        for node, lookups in pairs:
            self._drop(node, lookups)
        return b""

    def _drop(self, number: int, lookups: int) -> None:
        with self._lock:
            node = self._nodes.get(number)
            if node is None or number == 1:
                return
            node.lookups -= lookups
            if node.lookups <= 0:
                os.close(node.descriptor)
                del self._nodes[number], self._ids[node.key]

    def _created(self, request: Request, name: bytes) -> bytes:
        """Give a new file to who asked for it, and return its entry."""
        parent = self._descriptor(request.node)
        os.chown(name, request.uid, request.gid, dir_fd=parent, follow_symlinks=False)
        return self._entry(request.node, name)

    def _symlink(self, request: Request) -> bytes:
        name, target = request.names()
        os.symlink(target, name, dir_fd=self._descriptor(request.node))
        return self._created(request, name)

    def _mknod(self, request: Request) -> bytes:
        mode, device, _, _ = request.unpack("IIII")
        name = request.names(16)[0]
        os.mknod(name, mode, device, dir_fd=self._descriptor(request.node))
        return self._created(request, name)

    def _mkdir(self, request: Request) -> bytes:
        mode, _ = request.unpack("II")
        name = request.names(8)[0]
        os.mkdir(name, mode, dir_fd=self._descriptor(request.node))
        return self._created(request, name)

    def _unlink(self, request: Request) -> bytes:
        os.unlink(request.names()[0], dir_fd=self._descriptor(request.node))
        return b""

    def _rmdir(self, request: Request) -> bytes:
        os.rmdir(request.names()[0], dir_fd=self._descriptor(request.node))
        return b""

    def _rename(self, request: Request) -> bytes:
        flags, size = 0, 8
        if request.op == Op.RENAME2:
            flags, size = request.unpack("QI")[1], 16
        old, new = request.names(size)
        folders = self._descriptor(request.node), self._descriptor(request.unpack("Q")[0])
        if fuse.libc.renameat2(folders[0], old, folders[1], new, ctypes.c_uint(flags)) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return b""

    def _link(self, request: Request) -> bytes:
        name = request.names(8)[0]
        source = self._node(request.unpack("Q")[0]).path
        os.link(source, name, dst_dir_fd=self._descriptor(request.node), follow_symlinks=True)
        return self._entry(request.node, name)

    # -- files -------------------------------------------------------------------------------

    def _setattr(self, request: Request) -> bytes:
        valid, _, handle, size, _, *times = request.unpack("IIQQQQQQIII")
        mode, _, uid, gid = struct.unpack_from("<4I", request.body, 68)
        node = self._node(request.node)
        if valid & _MODE:
            Path(node.path).chmod(stat.S_IMODE(mode))
        if valid & (_UID | _GID):
            os.chown(node.path, uid if valid & _UID else -1, gid if valid & _GID else -1)
        if valid & _SIZE:
            os.truncate(handle if valid & _HANDLE else node.path, size)
        if valid & (_ATIME | _MTIME):
            before, now = os.fstat(node.descriptor), time.time_ns()
            atime, mtime = before.st_atime_ns, before.st_mtime_ns
            if valid & _ATIME:
                atime = now if valid & _ATIME_NOW else times[0] * 10**9 + times[3]
            if valid & _MTIME:
                mtime = now if valid & _MTIME_NOW else times[1] * 10**9 + times[4]
            os.utime(node.path, ns=(atime, mtime))
        return fuse.attr_out(os.fstat(node.descriptor))

    def _open(self, request: Request) -> bytes:
        flags = request.unpack("I")[0] & ~(os.O_NOFOLLOW | os.O_DIRECT | os.O_CREAT | os.O_EXCL)
        handle = os.open(self._node(request.node).path, flags | os.O_CLOEXEC)
        return struct.pack("<QII", handle, 0, 0)

    def _create(self, request: Request) -> bytes:
        flags, mode, _, _ = request.unpack("IIII")
        name = request.names(16)[0]
        flags = flags & ~os.O_DIRECT | os.O_CREAT | os.O_CLOEXEC
        handle = os.open(name, flags, mode, dir_fd=self._descriptor(request.node))
        return self._created(request, name) + struct.pack("<QII", handle, 0, 0)

    def _read(self, request: Request) -> bytes:
        handle, offset, size = request.unpack("QQI")
        data = os.pread(handle, size, offset)
        self.brake.wait(len(data))
        return data

    def _write(self, request: Request) -> bytes:
        handle, offset, size = request.unpack("QQI")
        self.brake.wait(size)
        return struct.pack("<II", os.pwrite(handle, request.body[40 : 40 + size], offset), 0)

    def _fsync(self, request: Request) -> bytes:
        os.fsync(request.unpack("Q")[0])
        return b""

    def _fallocate(self, request: Request) -> bytes:
        handle, offset, length, mode = request.unpack("QQQI")
        if mode:
            raise OSError(errno.EOPNOTSUPP, "only plain allocation")
        os.posix_fallocate(handle, offset, length)
        return b""

    def _release(self, request: Request) -> bytes:
        os.close(request.unpack("Q")[0])
        return b""

    # -- folders -----------------------------------------------------------------------------

    def _opendir(self, request: Request) -> bytes:
        path = self._node(request.node).path
        with os.scandir(os.fsencode(path)) as found:
            entries = [(entry.name, entry.inode(), _kind(entry)) for entry in found]
        rows = [fuse.directory_entry(*entry, at) for at, entry in enumerate(entries, start=1)]
        with self._lock:
            number = next(self._numbers)
            self._lists[number] = rows
        return struct.pack("<QII", number, 0, 0)

    def _readdir(self, request: Request) -> bytes:
        number, offset, size = request.unpack("QQI")
        answer = b""
        for row in self._lists[number][offset:]:
            if len(answer) + len(row) > size:
                break
            answer += row
        return answer

    def _releasedir(self, request: Request) -> bytes:
        self._lists.pop(request.unpack("Q")[0], None)
        return b""

    def _fsyncdir(self, request: Request) -> bytes:
        descriptor = os.open(self._node(request.node).path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return b""


def _nothing(_: Request) -> bytes:
    return b""


def _key(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _kind(entry: "os.DirEntry[bytes]") -> int:
    if entry.is_symlink():
        return stat.S_IFLNK
    return stat.S_IFDIR if entry.is_dir() else stat.S_IFREG


def main(folder: Path, target: Path, control: Path) -> None:
    """Show ``folder`` at ``target``, as slow as ``control``/speed.json says, until unmounted."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.umask(0)  # the kernel has applied the program's own
    disk = Passthrough(folder, Brake(control / SPEED))
    device = fuse.mount(target)
    (control / READY).touch()
    fuse.serve(device, disk.handlers(), _NUM_THREADS)


if __name__ == "__main__":
    main(*(Path(word) for word in sys.argv[1:]))
