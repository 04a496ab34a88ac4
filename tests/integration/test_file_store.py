"""The file store on a real file system: modes, crashes, and disks that refuse."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from milepost.checkpointing import (
    CheckpointKey,
    CheckpointStore,
    Misconfigured,
    Refused,
    Serializer,
    Unavailable,
    open_store,
)
from milepost.checkpointing.testing import make_record
from milepost.tasks import Milepost
from support.requirement import missing
from support.user import unprivileged
from support.waiting import eventually

WRITER = """
import sys
from itertools import count
from milepost.checkpointing import open_store
from milepost.checkpointing.testing import make_record
from milepost.tasks import Milepost

store = open_store(sys.argv[1])
body = b"x" * 3_000_000
for sequence in count(int(sys.argv[2])):
    store.put(make_record("run", sequence, body=body))
    print(sequence, flush=True)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


@pytest.fixture
def store(folder: Path) -> Iterator[CheckpointStore]:
    with open_store(f"file://{folder}") as store:
        yield store


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        missing("this user may not mount a file system")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.fault("S15")
def test_only_the_owner_can_read(store: CheckpointStore, folder: Path) -> None:
    store.put(make_record("run"))
    entries = [folder, *folder.rglob("*")]
    modes = {stat.S_IMODE(entry.stat().st_mode) for entry in entries if entry.is_dir()}
    assert modes == {0o700}
    modes = {stat.S_IMODE(entry.stat().st_mode) for entry in entries if entry.is_file()}
    assert modes == {0o600}


@pytest.mark.fault("F9")
def test_a_process_killed_while_writing_leaves_whole_records(
    store: CheckpointStore, folder: Path
) -> None:
    """Each record that was acknowledged is there, and nothing half-written can be read."""
    seed = 7
    acknowledged, first = -1, 0
    for _ in range(6):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, f"file://{folder}", str(first)], stdout=subprocess.PIPE
        )
        assert writer.stdout is not None
        for _ in range(1 + Random(seed + first).randrange(3)):
            acknowledged = int(writer.stdout.readline())
        # Somewhere in the next write; where, the clock decides.
        eventually(lambda: [path for path in folder.rglob(".*") if path.name != ".lock"])
        writer.kill()
        writer.communicate()
        entries = store.history("run", limit=1000).items
        for entry in entries:
            assert store.get(entry.key).body == b"x" * 3_000_000
        numbers = [entry.key.sequence for entry in entries]
        assert numbers == [*range(numbers[0], -1, -1)]
        assert numbers[0] >= acknowledged
        first = numbers[0] + 1


@pytest.mark.fault("F9")
def test_what_a_dead_writer_left_is_not_read_and_goes_with_the_run(
    store: CheckpointStore, folder: Path
) -> None:
    store.put(make_record("run"))
    bucket = next(
        path for path in folder.rglob("*") if path.is_file() and path.name[0] != "."
    ).parent
    (bucket / ".0123456789abcdef").write_bytes(b"half")
    assert len(store.history("run").items) == 1
    store.delete(CheckpointKey("run", 0))
    assert not (folder / "run").exists()


@pytest.mark.fault("F36")
def test_a_folder_that_cannot_be_written_refuses(store: CheckpointStore, folder: Path) -> None:
    store.put(make_record("run"))
    for entry in [folder, *folder.rglob("*")]:
        os.chmod(entry, 0o755 if entry.is_dir() else 0o644)
    for parent in folder.parents:
        if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
            os.chmod(parent, parent.stat().st_mode | 0o055)
    with unprivileged():
        with pytest.raises(Refused, match=r"Permission denied|read-only"):
            store.put(make_record("run", 1))
        if os.getuid() == 0:
            assert store.latest("run") == make_record("run")
    with unprivileged(), pytest.raises(Refused):
        open_store("file:///nowhere/at/all")


@pytest.mark.fault("F36")
def test_a_full_disk_is_said_and_what_stands_stays(small_disk: Path) -> None:
    with open_store(f"file://{small_disk}/checkpoints") as store:
        store.put(make_record("run"))
        with pytest.raises(Unavailable, match="No space left"):
            store.put(make_record("run", 1, body=b"x" * 2_000_000))
        assert store.latest("run") == make_record("run")
        assert len(store.history("run").items) == 1
        store.put(make_record("run", 1))
        assert not [path for path in small_disk.rglob(".*") if path.name != ".lock"]


def test_the_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with open_store("file://~/runs") as store:
        assert store.location == f"file://{tmp_path}/runs"


@pytest.mark.parametrize("url", ["file://", "file:"])
def test_a_url_without_a_folder_is_refused(url: str) -> None:
    with pytest.raises(Misconfigured, match="expected file:///"):
        open_store(url)


def test_a_long_history_is_found_in_order(store: CheckpointStore) -> None:
    """Across the folders that numbers are spread over."""
    numbers = [*range(0, 1200, 7), 255, 256, 257, 65_535, 65_536]
    for sequence in numbers:
        store.put(make_record("run", sequence))
    assert store.latest("run") == make_record("run", 65_536)
    expected = sorted(set(numbers), reverse=True)
    found: list[int] = []
    cursor = None
    while True:
        page = store.history("run", cursor=cursor, limit=50)
        found += [entry.key.sequence for entry in page.items]
        if (cursor := page.cursor) is None:
            break
    assert found == expected
    assert Serializer().decode(store.get(CheckpointKey("run", 257))).metadata.sequence == 257


@pytest.mark.fault("F36")
@pytest.mark.parametrize("number", [errno.EIO, errno.EDQUOT, errno.ENOSPC], ids=errno.errorcode.get)
def test_a_disk_that_cannot_keep_what_it_took(
    store: CheckpointStore, folder: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """It says so when it is asked to make sure: then nothing counts as written, and nothing is left."""
    store.put(make_record("run"))

    def fails(_: int) -> None:
        raise OSError(number, os.strerror(number), "disk")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fails)
        with pytest.raises(Unavailable, match=os.strerror(number)):
            store.put(make_record("run", 1))
    assert store.latest("run") == make_record("run")
    assert not [path for path in folder.rglob(".*") if path.name != ".lock"]
    store.put(make_record("run", 1))
    assert store.latest("run") == make_record("run", 1)


@pytest.mark.fault("F72")
def test_somebody_deletes_from_the_history(tmp_path: Path, redis_url: str) -> None:
    """The run goes on from its newest checkpoint; the history shows the hole."""
    folder = tmp_path / "log"
    app = Milepost(redis_url, checkpoints=f"file://{folder}")
    line = app.pipeline("line")
    for name in "abcd":
        line.stage(name=name)(lambda state, name=name: {**state, name: 1})
    with closing(app):
        run = app.start("line", {}, run_id="run")
        for _ in range(3):
            app.runtime.engine.execute("line", run.head.step)
        (victim,) = [p for p in folder.rglob("*") if p.is_file() and p.name.endswith("01")]
        victim.unlink()

        app.runtime.engine.execute("line", run.head.step)

        assert run.state == dict.fromkeys("abcd", 1)
        assert [found.sequence for found in run.checkpoints()] == [4, 3, 2, 0]
        app.celery.close()


@pytest.mark.fault("S5")
def test_no_link_leads_out_of_the_folder(
    store: CheckpointStore, folder: Path, tmp_path: Path
) -> None:
    """Somebody put a link where a run's folder would be."""
    outside = tmp_path / "outside"
    outside.mkdir()
    store.put(make_record("other"))
    (folder / "run").symlink_to(outside)

    for call in (
        lambda: store.put(make_record("run")),
        lambda: store.latest("run"),
        lambda: store.delete_run("run"),
    ):
        with pytest.raises(Refused, match="is a link"):
            call()

    assert list(outside.iterdir()) == []
    assert store.runs().items == ("other",)
    assert store.latest("other") == make_record("other")
