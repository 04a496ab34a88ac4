"""Commands on a run as it was seen: done in the step that finds it there, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ..errors import MovedOn
from ..head import Head, RunStatus
from ..runs.base import Intent, RunStore
from ..transitions import ALLOWED, Command
from .case import RunStoreCase, claimed, commit_of, created, deleted, deleting, read

Do = Callable[[RunStore, Head], Any]


def _pause(store: RunStore, seen: Head) -> Any:
    return store.pause(seen.run_id, seen=seen)


def _resume(store: RunStore, seen: Head) -> Any:
    return store.resume(seen, seen=seen)


def _cancel(store: RunStore, seen: Head) -> Any:
    intent = Intent("c1", RunStatus.CANCELLING, ALLOWED[Command.CANCEL], seen=seen)
    return store.intend(seen.run_id, intent)


def _redirect(store: RunStore, seen: Head) -> Any:
    intent = Intent("r1", RunStatus.REDIRECTING, ALLOWED[Command.REWIND], seen=seen)
    return store.intend(seen.run_id, intent)


def _delete(store: RunStore, seen: Head) -> Any:
    return store.intend(seen.run_id, replace(deleting("d1"), seen=seen))


def _budget(store: RunStore, seen: Head) -> Any:
    return store.set_budget(seen, '{"usd":2}', "call", seen=seen)


def _queued(store: RunStore) -> Head:
    return created(store)


def _scheduled(store: RunStore) -> Head:
    return created(store, delay_ms=60_000)


def _running(store: RunStore) -> Head:
    return read(store, claimed(store).head.run_id)


def _pausing(store: RunStore) -> Head:
    head = _running(store)
    store.pause(head.run_id)
    return read(store, head.run_id)


def _paused(store: RunStore) -> Head:
    head = created(store)
    store.pause(head.run_id)
    return read(store, head.run_id)


def _failed(store: RunStore) -> Head:
    claim = claimed(store)
    store.fail(claim, "{}", None)
    return read(store, claim.head.run_id)


_EVERY = [
    *((make, _pause) for make in (_queued, _scheduled, _running, _pausing, _paused)),
    *((make, _resume) for make in (_paused, _failed, _scheduled, _pausing)),
    *((make, _cancel) for make in (_queued, _running, _paused, _failed)),
    *((make, _redirect) for make in (_queued, _running, _paused, _failed)),
    *((make, _delete) for make in (_paused, _failed)),
    *((make, _budget) for make in (_queued, _running, _failed)),
]


class Seeing(RunStoreCase):
    """*seen* of `pause`, `resume`, `intend` and `set_budget`."""

    @pytest.mark.parametrize(("make", "do"), _EVERY)
    def test_what_stands_as_it_was_seen_is_changed_once(
        self, store: RunStore, make: Callable[[RunStore], Head], do: Do
    ) -> None:
        """Doing it again, after the answer was lost, comes to the same."""
        seen = make(store)
        answer = do(store, seen)
        after = store.get(seen.run_id)
        assert do(store, seen) == answer
        again = store.get(seen.run_id)
        assert (again and again.place) == (after and after.place)
        if do is _pause:
            assert again is not None
            assert again.pause == 1
        elif do is _budget:
            assert (answer, again and again.budget) == (True, '{"usd":2}')
        elif do is _resume:
            assert again is not None
            assert (answer, again.pause) == (True, 0)
        else:
            assert answer == (True, seen.status)

    @pytest.mark.parametrize("do", [_pause, _resume, _cancel, _redirect, _budget])
    def test_another_try_of_the_stage_is_not_what_was_seen(self, store: RunStore, do: Do) -> None:
        """Status, timeline and sequence are the same again."""
        claim = claimed(store)
        seen = read(store, claim.head.run_id)
        store.hand_back(claim, None)
        claimed(store, seen)
        self._is_left_alone(store, seen, do)

    @pytest.mark.parametrize("do", [_pause, _cancel, _redirect, _budget])
    def test_a_run_that_was_claimed_is_not_what_was_seen(self, store: RunStore, do: Do) -> None:
        seen = created(store)
        claimed(store, seen)
        self._is_left_alone(store, seen, do)

    @pytest.mark.parametrize("do", [_pause, _resume, _cancel, _redirect, _budget])
    def test_a_run_at_its_next_stage_is_not_what_was_seen(self, store: RunStore, do: Do) -> None:
        claim = claimed(store)
        seen = read(store, claim.head.run_id)
        store.advance(claim, commit_of(claim))
        self._is_left_alone(store, seen, do)

    @pytest.mark.parametrize("do", [_pause, _resume, _cancel, _redirect, _delete, _budget])
    def test_a_run_that_failed_again_is_not_what_was_seen(self, store: RunStore, do: Do) -> None:
        seen = _failed(store)
        assert store.resume(seen)
        store.fail(claimed(store, seen), "{}", None)
        self._is_left_alone(store, seen, do)

    @pytest.mark.parametrize("do", [_pause, _resume, _cancel, _redirect, _delete, _budget])
    def test_a_run_of_the_same_id_is_not_what_was_seen(self, store: RunStore, do: Do) -> None:
        seen = _paused(store)
        assert deleted(store, seen.run_id) is None
        self.pass_time()
        created(store, replace(seen, status=RunStatus.QUEUED, pause=0, created_at=0))
        store.pause(seen.run_id)
        self._is_left_alone(store, seen, do)

    def _is_left_alone(self, store: RunStore, seen: Head, do: Do) -> None:
        before = read(store, seen.run_id)
        assert before.place != seen.place
        with pytest.raises(MovedOn, match="no longer where it was seen") as told:
            do(store, seen)
        assert told.value.status == before.status
        assert read(store, seen.run_id) == before
