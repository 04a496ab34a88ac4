"""When a failed stage is tried again."""

from __future__ import annotations

import pytest

from milepost.checkpointing import Misconfigured
from milepost.tasks import PermanentError, Retry


def test_waits_double_up_to_the_cap() -> None:
    """Without jitter the waits are exact."""
    retry = Retry(attempts=10, backoff="2s..10s", jitter=False)

    assert [retry.delay_seconds(n, OSError()) for n in range(1, 6)] == [2, 4, 8, 10, 10]


def test_jitter_stays_in_the_upper_half() -> None:
    """Runs that failed together spread, and none comes back at once."""
    retry = Retry(attempts=5, backoff="4s")
    waits = {retry.delay_seconds(1, OSError()) for _ in range(200)}

    assert len(waits) > 100
    assert all(wait is not None and 2 <= wait <= 4 for wait in waits)


def test_attempts_are_tries_in_all() -> None:
    """Three attempts are the first and two more."""
    retry = Retry(attempts=3, backoff="1s")

    assert retry.delay_seconds(2, OSError()) is not None
    assert retry.delay_seconds(3, OSError()) is None


@pytest.mark.parametrize(
    ("retry", "error", "again"),
    [
        (Retry(attempts=3, on=OSError), OSError(), True),
        (Retry(attempts=3, on=OSError), ConnectionError(), True),
        (Retry(attempts=3, on=OSError), ValueError(), False),
        (Retry(attempts=3, on=(OSError, ValueError)), ValueError(), True),
        (Retry(attempts=3, never=FileNotFoundError), FileNotFoundError(), False),
        (Retry(attempts=3), PermanentError("no"), False),
        (Retry(), OSError(), False),
    ],
)
def test_which_errors_are_tried_again(retry: Retry, error: Exception, again: bool) -> None:
    """Subclasses count; what is permanent is never tried again."""
    assert again == (retry.delay_seconds(1, error) is not None)


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"backoff": "soon"}, {"backoff": "1m..1s"}])
def test_nonsense_is_refused(wrong: dict[str, object]) -> None:
    """At definition time, not at the first failure."""
    with pytest.raises(Misconfigured):
        Retry(**wrong)  # type: ignore[arg-type]
