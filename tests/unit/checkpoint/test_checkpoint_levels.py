"""Levels: the node takes a save first, the shared folder gets it, and losses are salvaged."""

import logging
import os
import shutil
import socket
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmkit.checkpoint import fence, leveled
from slurmkit.checkpoint.errors import CorruptCheckpointError, SaveFailedError
from slurmkit.checkpoint.leveled import LeveledStore
from slurmkit.checkpoint.levels import (
    Held,
    Offer,
    choose_salvage,
    evictable,
    make_room,
    parse_levels,
    partner_of,
)
from slurmkit.checkpoint.local import LevelUnavailableError, LocalLevel
from slurmkit.checkpoint.partner import PartnerError, PartnerServer, send_part
from slurmkit.checkpoint.partners import Partners
from slurmkit.checkpoint.reading import read_verified
from slurmkit.errors import UsageError


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("", ("shared",)),
        ("shared", ("shared",)),
        ("nvme,shared", ("nvme", "shared")),
        ("nvme, partner, shared", ("nvme", "partner", "shared")),
    ],
)
def test_levels_as_they_are_written(text, levels):
    assert parse_levels(text) == levels


@pytest.mark.parametrize(
    "text", ["nvme", "shared,nvme", "partner,shared", "tape,shared", "nvme,nvme"]
)
def test_levels_that_make_no_sense(text):
    with pytest.raises(UsageError, match="no levels of storage"):
        parse_levels(text)


HELD = st.lists(
    st.builds(
        Held, st.integers(0, 20), st.sampled_from(["a/1", "b/1"]), st.integers(0, 99), st.booleans()
    ),
    max_size=8,
    unique_by=lambda held: (held.step, held.token),
)


@given(HELD, st.sets(st.integers(0, 20)), st.integers(0, 3))
def test_what_is_evicted_is_never_the_only_copy_of_the_newest_progress(held, committed, keep):
    going = evictable(held, committed, keep)
    assert len(set(going)) == len(going)
    assert set(going) <= set(held)
    last = max(committed, default=-1)
    unique = [h for h in held if h.finished and h.step > last]
    if unique:
        assert max(unique, key=lambda h: h.step).step in {h.step for h in held if h not in going}
    left = [h for h in held if h not in going]
    assert len([h for h in left if h.finished and h.step in committed]) <= keep
    assert len([h for h in left if h.finished and h.step not in committed]) <= 2


@given(HELD, st.sets(st.integers(0, 20)), st.integers(0, 300), st.integers(0, 600))
def test_room_is_made_from_what_is_safe_elsewhere(held, committed, free, needed):
    going = make_room(held, committed, free, needed)
    idle = set(evictable(held, committed))
    safe = {h for h in held if h.step in committed} | idle
    if going is None:
        assert free + sum(h.size_bytes for h in safe) < needed
    else:
        assert set(going) <= safe
        assert free + sum(h.size_bytes for h in going) >= needed


def test_the_newest_save_that_is_complete_is_salvaged():
    def offers(step, token, parts, world_size=2, time=0.0):
        return [Offer(step, token, rank, world_size, time, holder) for rank, holder in parts]

    everything = [
        *offers(10, "a/1", [(0, 0), (1, 1)]),
        *offers(20, "a/1", [(0, 0), (1, 1), (0, 1)]),
        *offers(30, "a/1", [(0, 0)]),  # incomplete
        *offers(30, "b/1", [(1, 1)]),  # not to be mixed with the other attempt's
    ]
    choice = choose_salvage(everything, newest_committed=10)
    assert choice is not None
    assert (choice.step, choice.token, choice.holders) == (20, "a/1", (0, 1))
    assert choose_salvage(everything, newest_committed=20) is None
    assert choose_salvage([], -1) is None
    later = offers(20, "b/1", [(0, 3), (1, 3)], time=5.0)
    newer = choose_salvage(everything + later, 10)
    assert newer is not None
    assert newer.token == "b/1"


@given(st.lists(st.sampled_from("xyz"), min_size=1, max_size=12))
def test_partners_are_on_other_nodes_and_share_the_work(hosts):
    partners = [partner_of(rank, hosts) for rank in range(len(hosts))]
    if len(set(hosts)) == 1:
        assert set(partners) == {None}
        return
    for rank, partner in enumerate(partners):
        assert partner is not None
        assert hosts[partner] != hosts[rank]
    if len({hosts.count(host) for host in hosts}) == 1:
        assert len(set(partners)) == len(hosts)


# A cluster of two nodes: a folder each, and a shared one


def node(folder: Path, number: int) -> Path:
    path = folder / f"node-{number}"
    path.mkdir(exist_ok=True)
    return path


def stores(folder: Path, token: str, nodes=(0, 1), **more) -> list[LeveledStore]:
    fence.write_fence(folder / "shared", token)
    return [
        LeveledStore(
            folder / "shared",
            local_dir=node(folder, number),
            rank=rank,
            world_size=len(nodes),
            token=token,
            **more,
        )
        for rank, number in enumerate(nodes)
    ]


def save(members: list[LeveledStore], step: int, ranks=None):
    """Write a step as all ranks; only those of `ranks` get as far as a report."""
    writers = [store.begin(step, size_bytes=1000) for store in members]
    for rank, writer in enumerate(writers):
        if ranks is not None and rank not in ranks:
            continue
        with writer.open(f"rank-{rank}/data") as file:
            file.write(b"%d of %d" % (step, rank) * 50)
        meta = {"extra": {"epoch": step}} if rank == 0 else {}
        writer.report(rank, [file.close()], meta)
    return writers


def commit(writers, members):
    manifest = writers[0].commit(writers[0].await_reports(len(writers), 5), extra={"epoch": 1})
    for store in members:
        store.tidy()
    return manifest


def together(members, work):
    """Run something as all ranks, with a gather between them; return what each returned."""
    barrier = threading.Barrier(len(members))
    said: list = [None] * len(members)
    results: list = [None] * len(members)

    def run(rank):
        def gather(value):
            said[rank] = value
            barrier.wait(20)
            return list(said)

        try:
            results[rank] = work(members[rank], gather)
        except Exception as error:  # noqa: BLE001 (handed to the test)
            results[rank] = error

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(len(members))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def salvage(members):
    return together(members, lambda store, gather: store.salvage(gather))


def test_a_step_is_on_the_nodes_and_shared_with_the_same_digests(folder):
    members = stores(folder, "a/1")
    writers = save(members, 1)
    manifest = commit(writers, members)
    assert manifest == members[0].newest()
    for rank, store in enumerate(members):
        (part,) = store.level.parts()
        assert (part.step, part.rank, part.committed) == (1, rank, True)
        assert manifest.entry(f"rank-{rank}/data").digest == part.entries[0].digest
    assert writers[0].local_s < 5


def test_old_saves_leave_the_nodes(folder):
    members = stores(folder, "a/1", keep=3)
    for step in range(1, 6):
        commit(save(members, step), members)
        members[0].prune()
    assert [part.step for part in members[1].level.parts()] == [5]
    assert members[0].dir.steps() == [3, 4, 5]


def test_a_save_that_reached_the_nodes_only_is_salvaged_by_the_next_attempt(folder):
    members = stores(folder, "a/1")
    commit(save(members, 1), members)
    save(members, 2)  # all ranks have reported, and the job dies before rank 0 commits

    successors = stores(folder, "b/1")
    successors[0].dir.sweep()
    first, second = salvage(successors)
    assert first.step == 2
    assert second is None
    assert (first.incarnation, first.world_size, first.extra) == ("b", 2, {"epoch": 2})
    assert read_verified(successors[1].newest(), "rank-1/data") == b"2 of 1" * 50
    assert salvage(successors) == [None, None]


def test_an_incomplete_save_is_not_salvaged(folder):
    members = stores(folder, "a/1")
    commit(save(members, 1), members)
    save(members, 2, ranks=[0])
    assert salvage(stores(folder, "b/1")) == [None, None]
    # nor one of which a node is gone
    members = stores(folder, "c/1")
    save(members, 3)
    assert salvage(stores(folder, "d/1", nodes=(0, 2))) == [None, None]


def test_other_ranks_on_other_nodes_salvage_all_the_same(folder):
    """Four parts, saved by four ranks on two nodes; two ranks pick them up."""
    save(stores(folder, "a/1", nodes=(0, 0, 1, 1)), 7)
    results = salvage(stores(folder, "b/1", nodes=(1, 0)))
    assert results[0].step == 7
    assert results[0].world_size == 4
    assert [file.rank for file in results[0].files] == [0, 1, 2, 3]


def test_a_damaged_part_is_not_salvaged(folder):
    members = stores(folder, "a/1")
    save(members, 2)
    (part,) = members[1].level.parts()
    path = part.folder / "rank-1/data"
    path.write_bytes(path.read_bytes().replace(b"2", b"3", 1))
    results = salvage(stores(folder, "b/1"))
    assert isinstance(results[0], SaveFailedError)
    assert "rank 1" in str(results[0])
    assert members[0].dir.steps() == []
    assert members[0].dir.temporaries() == ["step-0000000002.tmp-a.1"]  # of the first attempt


def test_a_damaged_index_is_no_part(folder):
    members = stores(folder, "a/1")
    save(members, 2)
    (index,) = members[0].level.root.glob("*/part-00000.json")
    index.write_text(index.read_text().replace('"step": 2', '"step": 3'))
    assert members[0].level.parts() == []
    assert salvage(stores(folder, "b/1")) == [None, None]


def test_what_the_user_rolled_back_does_not_come_back(folder):
    members = stores(folder, "a/1")
    for step in (1, 2):
        commit(save(members, step), members)
    shutil.rmtree(members[0].dir.step_path(2))
    assert salvage(stores(folder, "b/1")) == [None, None]
    # nor after everything was removed to begin anew
    save(members := stores(folder, "c/1"), 9)
    shutil.rmtree(folder / "shared")
    assert salvage(stores(folder, "d/1")) == [None, None]


def test_what_went_to_quarantine_comes_back_from_the_nodes(folder):
    members = stores(folder, "a/1")
    commit(save(members, 1), members)
    commit(save(members, 2), members)
    (members[0].dir.step_path(2) / "rank-0/data").unlink()
    successors = stores(folder, "b/1")
    assert successors[0].newest().step == 1
    assert salvage(successors)[0].step == 2
    assert successors[0].newest().step == 2


def test_files_are_read_from_the_node_as_far_as_they_are_sound(folder):
    members = stores(folder, "a/1")
    manifest = commit(save(members, 1), members)
    near = members[0].nearer(manifest)
    assert near == manifest
    assert set(near.near) == {"rank-0/data"}
    assert str(near.path_of("rank-0/data")).startswith(str(folder / "node-0"))
    for name in ("rank-0/data", "rank-1/data"):
        assert read_verified(near, name) == read_verified(manifest, name)
    near.path_of("rank-0/data").write_bytes(b"rot")
    assert members[0].nearer(manifest).near == {}
    with pytest.raises(CorruptCheckpointError, match="node-0"):
        read_verified(near, "rank-0/data")


def test_a_node_that_is_full_sends_saves_to_the_shared_folder(folder, monkeypatch, caplog):
    members = stores(folder, "a/1")
    monkeypatch.setattr(leveled.LocalLevel, "room_for", lambda *args: False)
    with caplog.at_level(logging.WARNING):
        manifest = commit(save(members, 1), members)
    assert members[0].newest() == manifest
    assert members[0].level.parts() == []
    assert "does not fit" in caplog.text


def test_a_folder_of_somebody_else_is_not_used(folder, caplog):
    mine = node(folder, 0) / f"slurmkit-{os.geteuid()}"
    mine.mkdir(mode=0o777)
    mine.chmod(0o777)
    with pytest.raises(LevelUnavailableError, match="not a folder of ours alone"):
        LocalLevel.at(node(folder, 0), folder)
    members = stores(folder, "a/1", nodes=(0,))
    assert members[0].level is None
    assert "saves go to the shared folder alone" in caplog.text
    assert commit(save(members, 1), members) == members[0].newest()
    assert salvage(members) == [None]
    mine.rmdir()
    mine.symlink_to(folder)
    with pytest.raises(LevelUnavailableError):
        LocalLevel.at(node(folder, 0), folder)


def test_a_rank_that_fails_leaves_nothing_on_its_node(folder):
    members = stores(folder, "a/1")
    writer = members[1].begin(1)
    with writer.open("x") as file:
        file.write(b"1")
    writer.fail(1, ValueError("no"))
    assert list(members[1].level.root.iterdir()) == []
    with pytest.raises(SaveFailedError, match="rank 1"):
        members[0].begin(1).await_reports(2, 5)


def test_a_run_that_is_through_leaves_nothing_on_its_nodes(folder):
    members = stores(folder, "a/1")
    commit(save(members, 1), members)
    for store in members:
        store.leave_node()
    assert [store.level.parts() for store in members] == [[], []]
    assert list(folder.glob("node-*/*/*/*")) == []
    commit(save(members, 2), members)  # and goes on if it has to
    assert len(members[0].level.parts()) == 1


def test_what_no_run_has_used_for_weeks_is_removed(folder):
    (old,) = stores(folder, "a/1", nodes=(0,))
    save([old], 1)
    for age_days, left in ((13, 1), (15, 0)):
        past = time.time() - age_days * 86400
        os.utime(old.level.root, (past, past))
        (folder / "other").mkdir(exist_ok=True)
        LocalLevel.at(node(folder, 0), folder / "other")
        assert len(old.level.parts()) == left


def test_the_hdf5_writer_uses_the_level_too(folder):
    pytest.importorskip("h5py")
    from slurmkit.checkpoint.hdf5 import Hdf5Writer  # noqa: PLC0415 (h5py is optional)
    from slurmkit.checkpoint.hdf5_load import Hdf5Reader  # noqa: PLC0415

    members = stores(folder, "a/1")
    writers = [Hdf5Writer(s, 1, rank=r, world_size=2) for r, s in enumerate(members)]
    for rank, writer in enumerate(writers):
        writer.write("u", [float(rank)] * 3, offset=[3 * rank], shape=[6])
    writers[1].finish()
    manifest = writers[0].finish()
    with Hdf5Reader(manifest) as reader:
        assert list(reader.read("u")) == [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]
    assert [e.name for e in members[0].level.parts()[0].entries] == ["rank-00000.h5"]


# Partners


def test_a_lost_node_is_salvaged_from_its_partner(folder):
    members = stores(folder, "a/1", partner=True)
    meeting = folder / "shared" / "partners-a.1"
    for rank, store in enumerate(members):
        store._partners = Partners(meeting, store.level, rank, 2, node=f"node-{rank}")
    save(members, 5)
    assert meeting.stat().st_mode & 0o077 == 0
    assert [(part.step, part.rank) for part in members[1].level.parts()] == [(5, 0), (5, 1)]
    for store in members:
        store._partners.close()

    shutil.rmtree(folder / "node-0")  # the node of rank 0, which would have committed
    results = salvage(stores(folder, "b/1", nodes=(1, 2)))
    assert results[0].step == 5
    assert read_verified(results[0], "rank-0/data") == b"5 of 0" * 50
    assert results[0].extra == {"epoch": 5}


def test_a_partner_that_is_away_does_not_fail_the_save(folder, caplog):
    members = stores(folder, "a/1", partner=True)
    meeting = folder / "shared" / "partners-a.1"
    for rank, store in enumerate(members):
        store._partners = Partners(meeting, store.level, rank, 2, node=f"node-{rank}")
        store._partners.close()
    commit(save(members, 1), members)
    assert "has no copy at the partner" in caplog.text


def test_a_partner_that_never_shows_up_does_not_fail_the_save(folder, caplog):
    (member,) = stores(folder, "a/1", nodes=(0,), partner=True)
    meeting = folder / "shared" / "partners-a.1"
    member._partners = Partners(meeting, member.level, 0, 2, timeout_s=0.1)
    commit(save([member], 1), [member])
    assert "not all ranks gave their address" in caplog.text
    member._partners.close()


def test_on_one_node_there_is_no_partner_and_no_complaint(folder, caplog):
    members = stores(folder, "a/1", nodes=(0, 0), partner=True)
    meeting = folder / "shared" / "partners-a.1"
    (folder / "shared" / "partners-older.1").mkdir()
    for rank, store in enumerate(members):
        store._partners = Partners(meeting, store.level, rank, 2)
    commit(save(members, 1), members)
    assert caplog.text == ""
    assert [path.name for path in (folder / "shared").glob("partners-*")] == ["partners-a.1"]
    for store in members:
        store._partners.close()


def test_a_partner_takes_nothing_from_strangers(folder, caplog):
    first, second = stores(folder, "a/1")
    server = PartnerServer(second.level, b"secret", host="127.0.0.1", timeout_s=5)
    save([first], 1, ranks=[0])
    (part,) = first.level.parts()
    with pytest.raises(PartnerError):
        send_part(part, ("127.0.0.1", server.port), b"guess", 5)
    with socket.create_connection(("127.0.0.1", server.port), 5) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n" + bytes(100))
    (part.folder / "rank-0/data").write_bytes(b"x" * part.size_bytes)
    with pytest.raises(PartnerError):  # damaged on the way, or before
        send_part(part, ("127.0.0.1", server.port), b"secret", 5)
    server.close()
    assert second.level.parts() == []
    assert "signature is wrong" in caplog.text
    assert "other bytes than were sent" in caplog.text
