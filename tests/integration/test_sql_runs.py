"""Many workers on one database: every step is committed once, and no lock stays in the way."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from random import Random

import pytest

from milepost.tasks.head import RunStatus
from milepost.tasks.runs.base import Advance, Bid, Claim
from milepost.tasks.runs.sql import SQLRunStore
from milepost.tasks.settings import TaskSettings
from milepost.tasks.testing.case import commit_of, created, new_head, read

WORKERS, RUNS, STEPS = 6, 12, 6


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest) -> Iterator[SQLRunStore]:
    if request.param == "sqlite":
        url = f"sqlite:///{request.getfixturevalue('tmp_path')}/runs.db"
    else:
        url = request.getfixturevalue("postgres_url")
    store = SQLRunStore(url, TaskSettings(heartbeat_lapse_seconds=60, store_timeout_seconds=30))
    yield store
    store.close()


@pytest.mark.fault("F34")
def test_workers_that_crowd_each_other_commit_each_step_once(store: SQLRunStore) -> None:
    """They claim the same steps, beat, look, and now and then are buried while they work."""
    run_ids = [created(store, new_head()).run_id for _ in range(RUNS)]
    commits: Counter[tuple[str, int]] = Counter()
    errors: list[BaseException] = []
    lock = threading.Lock()

    def work(number: int) -> None:
        random, owner, ordinal = Random(number), f"owner-{number}", 0
        try:
            while True:
                heads = [read(store, run_id) for run_id in run_ids]
                waiting = [head for head in heads if not head.status.ended]
                if not waiting:
                    return
                ordinal += 1
                bid = Bid(owner, f"{owner}-{ordinal}", ordinal, f"host:{number}")
                claim = store.claim(random.choice(waiting).step, bid)
                chance = random.random()
                if chance < 0.1:
                    store.look(5)
                elif chance < 0.2:
                    held = {bid.nonce} if isinstance(claim, Claim) else set()
                    store.beat(owner, held, ordinal, leaving=False)
                elif chance < 0.25:
                    store.bury(f"owner-{random.randrange(WORKERS)}", "leaving")
                if not isinstance(claim, Claim):
                    continue
                following = "second" if claim.head.sequence + 1 < STEPS else None
                if store.advance(claim, commit_of(claim, following)) is Advance.ADVANCED:
                    with lock:
                        commits[claim.head.run_id, claim.head.sequence] += 1
        except BaseException as error:  # noqa: BLE001 - reported by the test
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert not errors, errors
    assert not any(thread.is_alive() for thread in threads)
    assert set(commits.values()) == {1}
    assert len(commits) == RUNS * STEPS
    for run_id in run_ids:
        head = read(store, run_id)
        assert (head.status, head.stages_done, head.owner) == (RunStatus.COMPLETED, STEPS, "")
