"""Which pieces stand and which go, whoever writes, removes, dies or is damaged."""

from __future__ import annotations

import random

import pytest

from milepost.checkpointing import (
    Checkpoint,
    CheckpointManager,
    CheckpointMetadata,
    CheckpointSettings,
    Kind,
    Record,
    Status,
)
from milepost.checkpointing.serializer import piece_key
from support.pieces import KEYS, MIB, SMALL, Watched, manager, text


def test_pieces_go_when_nothing_needs_them() -> None:
    store = Watched()
    ours = manager(store, max_checkpoints_per_run=3)
    base = text(0, 4 * MIB)
    for step in range(12):
        ours.create("run", {"kept": base, "new": text(1 + step // 2, 500_000)})
        needed = [ours.restore_from(m.checkpoint_id) for m in ours.list_checkpoints("run")]
        assert len(needed) <= 3
        paths = {
            piece_key("run", p).path
            for checkpoint in needed
            if checkpoint.manifest
            for p in checkpoint.manifest.pieces
        }
        assert set(store.blobs()) == paths
    assert store.gets["manual"] < 12 * 12
    ours.delete_run("run")
    assert store.blobs() == {}


@pytest.mark.parametrize("seed", range(20))
def test_any_order_of_removal_leaves_whole_checkpoints(seed: int) -> None:
    """Checkpoints are removed at random; the others stay readable, and nothing is left of the last."""
    dice = random.Random(seed)
    store = Watched()
    ours = manager(store)
    parts = [text(n, 150_000) for n in range(6)]
    alive: dict[str, list[str]] = {}
    for step in range(14):
        for _ in range(dice.randrange(3)):
            parts[dice.randrange(6)] = text(dice.randrange(40), 150_000)
        made = ours.create("run", parts)
        assert made is not None
        alive[made.checkpoint_id] = [*parts]
        while len(alive) > 1 and dice.random() < 0.5:
            gone = dice.choice([*alive])
            del alive[gone]
            assert ours.delete(gone)
        if dice.random() < 0.2:
            ours = manager(store)
        for checkpoint_id, state in alive.items():
            assert ours.restore_from(checkpoint_id).state == state, f"seed {seed}, step {step}"
    for checkpoint_id in alive:
        ours.delete(checkpoint_id)
    assert store.blobs() == {}, f"seed {seed}"


@pytest.mark.fault("F71")
def test_two_managers_take_turns() -> None:
    """One that remembers an old last checkpoint takes the pieces of the one that stands."""
    store = Watched()
    ours, theirs = (manager(store, max_checkpoints_per_run=1) for _ in range(2))
    for step in range(6):
        state = {"step": step, "rows": text(step // 2)}
        (ours if step % 2 else theirs).create("run", state)
        assert manager(store).restore("run").state == state  # type: ignore[union-attr]


def test_nothing_is_shared_with_a_checkpoint_that_somebody_removed() -> None:
    store = Watched()
    ours, theirs = manager(store), manager(store)
    last = ours.create("run", {"rows": text(1)})
    assert last is not None
    assert theirs.delete(last.checkpoint_id)
    ours.create("run", {"rows": text(1), "more": 1})
    assert manager(store).restore("run").state == {"rows": text(1), "more": 1}  # type: ignore[union-attr]


def test_completion_keeps_the_final_pieces_only() -> None:
    store = Watched()
    ours = manager(store, on_success="final")
    for step in range(4):
        ours.create("run", {"rows": text(step)})
    final = ours.mark_completed("run")
    assert final.metadata.status is Status.COMPLETED
    assert ours.restore("run").state == {"rows": text(3)}  # type: ignore[union-attr]
    assert ours.usage("run").bytes < 1.2 * MIB


def test_commits_share_over_the_heads_of_abandoned_ones() -> None:
    """A retry goes on from commit 0 on another timeline; what commit 1 of the first has dropped, it has."""
    store = Watched()
    ours = manager(store)
    state = {"kept": text(1), "step": 0}
    first = Checkpoint(metadata=CheckpointMetadata(run_id="run", sequence=0), state=state)
    base = ours.serializer.encode(first)
    ours.put(base)
    for timeline, rows in ((0, text(2)), (1, text(1))):
        metadata = CheckpointMetadata(run_id="run", sequence=1, timeline=timeline)
        after = Checkpoint(metadata=metadata, state={"kept": rows, "step": 1})
        ours.put(ours.serializer.encode(after, base=base.manifest))
    assert ours.delete(base.key)
    last = store.latest("run")
    assert last is not None
    assert ours.serializer.decode(last).state == {"kept": text(1), "step": 1}


def test_a_damaged_neighbour_is_looked_past() -> None:
    store = Watched()
    ours = manager(store)
    made = [ours.create("run", {"rows": text(1), "step": step}) for step in range(4)]
    for spoilt in (1, 2):
        record = store.get(made[spoilt].metadata.key)  # type: ignore[union-attr]
        broken = Record(record.key, record.header, b"x" + record.body[1:])
        store._runs["run"][record.key.path] = broken
    assert ours.delete(made[0].checkpoint_id)  # type: ignore[union-attr]
    assert ours.restore("run").state == {"rows": text(1), "step": 3}  # type: ignore[union-attr]


def test_pieces_of_what_cannot_be_read_here_are_left() -> None:
    store = Watched()
    secret = SMALL.model_copy(
        update={"encryption_keys": CheckpointSettings(encryption_keys=KEYS).encryption_keys}
    )
    theirs = CheckpointManager(store, secret)
    made = [theirs.create("run", {"rows": text(1), "step": step}) for step in range(2)]
    plain = manager(store)
    assert plain.delete(made[0].checkpoint_id)  # type: ignore[union-attr]
    assert theirs.restore("run").state == {"rows": text(1), "step": 1}  # type: ignore[union-attr]


@pytest.mark.parametrize("way", ["flush", "close", "overdue"])
def test_what_was_put_off_is_written_with_its_pieces(way: str) -> None:
    store = Watched()
    ours = manager(store, every_n=3)
    ours.create("run", {"rows": text(1)})
    if way == "flush":
        ours.flush("run")
    elif way == "close":
        ours.close()
    else:
        ours.create("run", {"rows": text(1), "n": 2})
        ours.create("run", {"rows": text(1), "n": 3})
    found = manager(store).restore("run")
    assert found is not None
    assert found.state["rows"] == text(1)


def test_an_error_checkpoint_has_pieces_of_its_own() -> None:
    """It has the state of the engine's last commit; removing it takes nothing from that."""
    store = Watched()
    ours = manager(store)
    commit = Checkpoint(
        metadata=CheckpointMetadata(run_id="run", sequence=0), state={"rows": text(1)}
    )
    ours.put(ours.serializer.encode(commit))
    failed = ours.mark_failed("run", "broken")
    assert ours.delete(failed.checkpoint_id)
    assert ours.restore("run").state == {"rows": text(1)}  # type: ignore[union-attr]


def test_blobs_are_no_pieces_of_checkpoints() -> None:
    store = Watched()
    ours = manager(store, max_checkpoints_per_run=1)
    data = b"0" * MIB
    with ours.write_blob("run", "zeros") as out:
        out.write(data)
    for step in range(3):
        ours.create("run", {"rows": "0" * MIB, "step": step})
    with ours.open_blob(out.blob) as stream:
        assert stream.read() == data


def test_a_number_that_was_given_again_is_another_checkpoint() -> None:
    store = Watched()
    ours, theirs = manager(store), manager(store)
    first = ours.create("run", {"rows": text(1)})
    assert first is not None
    theirs.delete(first.checkpoint_id)
    manager(store).create("run", {"rows": text(2)})
    ours.create("run", {"rows": text(1), "step": 2})
    found = manager(store).restore("run")
    assert found is not None
    assert found.state == {"rows": text(1), "step": 2}


def test_a_doomed_checkpoint_dooms_no_other() -> None:
    """It shares with one that is being removed; its writer died before it saw that."""
    store = Watched()
    ours = manager(store)
    first = ours.create("run", {"rows": text(1)})
    assert first is not None
    base = ours.serializer.manifest(store.latest("run", Kind.MANUAL))  # type: ignore[arg-type]
    metadata = CheckpointMetadata(run_id="run", sequence=1, kind=Kind.MANUAL)
    doomed = Checkpoint(metadata=metadata, state={"rows": text(1), "step": 1})
    late = ours.serializer.encode(doomed, base=base)
    assert ours.delete(first.checkpoint_id)
    ours.put(late)
    manager(store).create("run", {"rows": text(1), "step": 2})
    assert manager(store).restore("run").state == {"rows": text(1), "step": 2}  # type: ignore[union-attr]


def test_who_loses_the_race_for_a_number_leaves_nothing() -> None:
    store = Watched()
    pair = [manager(store, max_checkpoints_per_run=3) for _ in range(2)]
    for step in range(20):
        pair[step % 2].create("run", {"rows": text(step), "step": step})
    last = [manager(store).restore_from(m.checkpoint_id) for m in pair[0].list_checkpoints("run")]
    needed = {piece.lane for each in last if each.manifest for piece in each.manifest.pieces}
    assert {record.key.lane for record in store.blobs().values()} == needed


def test_the_newest_is_spared_only_if_its_pieces_are_there() -> None:
    store = Watched()
    ours = manager(store)
    ours.create("run", {"rows": text(1)})
    ours.create("run", {"rows": text(2)})
    last = ours.restore("run")
    assert last is not None
    assert last.manifest is not None
    store.delete(piece_key("run", last.manifest.pieces[0]))
    manager(store, max_checkpoints_per_run=1).prune("run")
    found = manager(store).restore("run", fall_back=True)
    assert found is not None
    assert found.state == {"rows": text(1)}


def test_small_states_push_out_large_ones_whole() -> None:
    """In another process than the one that wrote them."""
    store = Watched()
    for step in range(3):
        manager(store).create("run", {"rows": text(step)})
    after = manager(store, max_checkpoints_per_run=3)
    for step in range(6):
        after.create("run", {"step": step})
    assert store.blobs() == {}


def test_a_damaged_header_does_not_keep_others_from_being_removed() -> None:
    store = Watched()
    ours = manager(store, on_success="final")
    ours.create("run", {"step": 1})
    first = store.latest("run", Kind.MANUAL)
    assert first is not None
    store._runs["run"][first.key.path] = Record(first.key, b"x" + first.header[1:], first.body)
    ours.create("run", {"step": 2})
    ours.mark_completed("run")
    assert len(list(store.entries("run", Kind.MANUAL))) == 1
