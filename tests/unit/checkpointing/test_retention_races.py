"""Old checkpoints are removed while others write and read: the newest is always there to be read."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from milepost.checkpointing import CheckpointConfig, CheckpointManager

WRITTEN = 150


@pytest.mark.fault("F71")
@pytest.mark.parametrize("kind", ["file", "redis", "sqlite"])
def test_who_reads_while_others_write_and_remove(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    urls = {"file": f"file://{tmp_path}/log", "sqlite": f"sqlite:///{tmp_path}/log.db"}
    url = urls.get(kind) or str(request.getfixturevalue("redis_url"))
    written, over, errors = [-1], threading.Event(), list[BaseException]()

    def watched(act: object) -> threading.Thread:
        def run() -> None:
            try:
                act()  # type: ignore[operator]
            except BaseException as error:  # noqa: BLE001 - reported by the test
                errors.append(error)
                over.set()

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def write() -> None:
        config = CheckpointConfig(max_checkpoints_per_run=3)
        with CheckpointManager(url, config=config) as manager:
            for number in range(WRITTEN):
                manager.create("run", number)
                written[0] = number
        over.set()

    def remove() -> None:
        config = CheckpointConfig(max_checkpoints_per_run=1)
        with CheckpointManager(url, config=config) as manager:
            while not over.is_set():
                manager.prune("run")

    def read() -> None:
        with CheckpointManager(url) as manager:
            while not over.is_set():
                before = written[0]
                if before >= 0:
                    found = manager.restore("run")
                    assert found is not None
                    assert found.state >= before

    threads = [watched(act) for act in (write, remove, read, read)]
    for thread in threads:
        thread.join(60)
    assert errors == []
    with CheckpointManager(url) as manager:
        found = manager.restore("run")
        assert found is not None
        assert found.state == WRITTEN - 1
