"""Compiled templates kept between commands: compiling them is most of the time of a render."""

import marshal
import os
import sys
from hashlib import sha256
from pathlib import Path

import jinja2
from jinja2.bccache import Bucket


class CompiledTemplates(jinja2.BytecodeCache):
    """Keeps compiled templates in ``~/.cache/slurmkit/templates``.

    What is there is executed, so it is used only when the folder is the user's own and nobody else
    can write to it. Whenever that is not so, or the folder cannot be written, templates are
    compiled each time; nothing fails.
    """

    def __init__(self) -> None:
        cache = os.environ.get("XDG_CACHE_HOME") or f"{os.environ.get('HOME', '')}/.cache"
        self._folder = Path(cache, "slurmkit", "templates")

    def load_bytecode(self, bucket: Bucket) -> None:
        """Fill the bucket if its template, Python and Jinja are those that were compiled."""
        try:
            folder = self._folder.stat()
            data = (self._folder / bucket.key).read_bytes()
        except OSError:
            return
        header, _, code = data.partition(b"\n")
        is_private = folder.st_uid == os.getuid() and not folder.st_mode & 0o022
        if is_private and header == _header(bucket, code):
            bucket.code = marshal.loads(code)  # noqa: S302 - written below, unchanged, by this user

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep the bucket's code; a command that is killed meanwhile leaves no half of it."""
        from tempfile import NamedTemporaryFile  # noqa: PLC0415 - mostly there is nothing to write

        code = marshal.dumps(bucket.code)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with NamedTemporaryFile(dir=self._folder, delete=False) as file:
                file.write(_header(bucket, code) + b"\n" + code)
            Path(file.name).replace(self._folder / bucket.key)
        except OSError:
            return


def _header(bucket: Bucket, code: bytes) -> bytes:
    versions = f"{sys.implementation.cache_tag} {jinja2.__version__}"
    return f"{versions} {bucket.checksum} {sha256(code).hexdigest()}".encode()
