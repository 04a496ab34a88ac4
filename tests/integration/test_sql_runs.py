"""Many workers on one database: every step is committed once, and no lock stays in the way."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from random import Random

import pytest
from sqlalchemy import Connection, text

from milepost.tasks.head import RunStatus
from milepost.tasks.query import RunQuery
from milepost.tasks.runs.base import Advance, Bid, Birth, Claim
from milepost.tasks.runs.sql import SQLRunStore
from milepost.tasks.settings import TaskSettings
from milepost.tasks.testing.case import claimed, commit_of, created, new_bid, new_head, read

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


def test_runs_of_the_first_schema_are_found_by_what_was_added(store: SQLRunStore) -> None:
    """More of them than one step of the upgrade takes."""
    failed = claimed(store)
    claimed(store, bid=new_bid("ann"))
    store.fail(failed, '{"type": "E", "group": "g1"}', None)
    store.bury("ann", "child")
    tenanted = created(store, replace(new_head(), tenant="acme"))
    births = [Birth(f"r{number:04}", "d", f"c{number}") for number in range(1_200)]
    store.create_many(new_head(), births)
    found = what_is_found(store)
    assert [len(heads) for heads in found] == [1, 1, 1, 1, 1_202]
    url = store.database.engine.url
    url = url.set(drivername=url.get_backend_name())

    def back_to_the_first(connection: Connection) -> None:
        for index in ("group", "tenant", "crashed"):
            connection.execute(text(f"DROP INDEX milepost_runs_{index}"))
        for column in ("stage", "tenant", "error_group", "crashes", "finished_at"):
            connection.execute(text(f"ALTER TABLE milepost_runs DROP COLUMN {column}"))
        for table in ("entries", "notes"):
            connection.execute(text(f"DROP TABLE milepost_{table}"))
        connection.execute(text("UPDATE milepost_schema SET version = 1 WHERE component = 'runs'"))

    store.database.transaction(back_to_the_first)
    with closing(SQLRunStore(url.render_as_string(hide_password=False))) as upgraded:
        assert what_is_found(upgraded) == found
        (group,) = upgraded.groups()
        assert group.last_at == read(store, failed.head.run_id).finished_at
        assert upgraded.find(RunQuery(tenant="acme")).items == (tenanted,)


def what_is_found(store: SQLRunStore) -> list[list[str]]:
    """Return the runs that each listing by an added column finds."""
    return [
        [head.run_id for head in heads]
        for heads in (
            store.find(RunQuery(group="g1")).items,
            store.find(RunQuery(tenant="acme")).items,
            store.struggling(),
            [group.example for group in store.groups()],
            store.find(RunQuery.of(RunStatus.QUEUED, stage="first"), limit=2_000).items,
        )
    ]
