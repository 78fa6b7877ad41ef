"""Which process keeps copies for which, and where it listens: agreed in a folder that all see."""

import contextlib
import json
import os
import shutil
import socket
import time
from pathlib import Path
from typing import Any

from slurmkit.checkpoint.levels import partner_of
from slurmkit.checkpoint.local import LocalLevel
from slurmkit.checkpoint.local_part import Part
from slurmkit.checkpoint.partner import PartnerError, PartnerServer, send_part

_MEET_S = 30.0


class Partners:
    """This rank's server, and its way to the rank that keeps copies for it.

    Args:
        folder: below the checkpoint folder, one per attempt; private to the user, as the secret
            is in it.
        level: where this node keeps parts.
        rank: this rank.
        world_size: how many ranks there are; all of them make one of these.
        node: the name of this node.
        timeout_s: how long to wait for the addresses of the others, seconds.
    """

    def __init__(
        self,
        folder: Path,
        level: LocalLevel,
        rank: int,
        world_size: int,
        *,
        node: str = "",
        timeout_s: float = _MEET_S,
    ) -> None:
        self._folder = folder
        self._rank = rank
        self._world_size = world_size
        self._timeout_s = timeout_s
        self._address: tuple[str, int] | None = None
        self._alone = False
        if rank == 0:
            _remove_others(folder)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._secret = _the_secret(folder)
        self._server = PartnerServer(level, self._secret)
        said = {"host": own_address(), "port": self._server.port}
        said["node"] = node or os.uname().nodename
        _place(folder / f"rank-{rank:05d}.json", json.dumps(said))

    def send(self, part: Part) -> None:
        """Send a part to the partner; nothing is sent when all ranks are on one node.

        Raises:
            PartnerError: the partner did not show up, or did not take it.
        """
        if self._address is None and not self._alone:
            self._meet()
        if self._address is not None:
            send_part(part, self._address, self._secret)

    def close(self) -> None:
        """Stop to listen."""
        self._server.close()

    def _meet(self) -> None:
        deadline = time.monotonic() + self._timeout_s
        while (said := self._addresses()) is None:
            if time.monotonic() > deadline:
                raise PartnerError(f"not all ranks gave their address in {self._folder}")
            time.sleep(0.05)
        partner = partner_of(self._rank, [row["node"] for row in said])
        self._alone = partner is None
        if partner is not None:
            self._address = (said[partner]["host"], said[partner]["port"])

    def _addresses(self) -> list[dict[str, Any]] | None:
        names = [self._folder / f"rank-{rank:05d}.json" for rank in range(self._world_size)]
        try:
            return [json.loads(name.read_text(encoding="utf-8")) for name in names]
        except FileNotFoundError:
            return None


def own_address() -> str:
    """Return the address of this node on the network to rank 0; its name where that is unknown."""
    target = os.environ.get("MASTER_ADDR") or os.uname().nodename
    with contextlib.suppress(OSError):
        family, kind, _, _, address = socket.getaddrinfo(target, 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(address)  # sends nothing; the kernel chooses the way
            return str(probe.getsockname()[0])
    return os.uname().nodename


def _the_secret(folder: Path) -> bytes:
    """Return the secret of this attempt; whoever comes first makes it."""
    path = folder / "secret"
    if not path.exists():
        draft = folder / f".secret.{os.urandom(8).hex()}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(os.urandom(32).hex().encode())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return path.read_bytes()


def _place(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    draft.write_text(text, encoding="utf-8")
    draft.rename(path)


def _remove_others(folder: Path) -> None:
    for other in folder.parent.glob("partners-*"):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)
