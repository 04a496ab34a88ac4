"""Keys order as they are written; metadata that could not be read back is refused."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from milepost.checkpointing import CheckpointError, CheckpointKey, CheckpointMetadata, Kind

_NUMBERS = st.integers(0, (1 << 32) - 1)
_KEYS = st.builds(
    CheckpointKey,
    run_id=st.just("run"),
    sequence=_NUMBERS,
    timeline=_NUMBERS,
    kind=st.sampled_from(Kind),
    lane=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True),
)


@given(_KEYS)
def test_a_path_is_read_back(key: CheckpointKey) -> None:
    assert key.path.startswith(key.series)
    assert CheckpointKey.from_path("run", key.path) == key


@given(_KEYS, _NUMBERS, _NUMBERS)
def test_paths_sort_by_timeline_then_sequence(
    key: CheckpointKey, timeline: int, sequence: int
) -> None:
    other = key._replace(timeline=timeline, sequence=sequence)
    by_number = (key.timeline, key.sequence) < (timeline, sequence)
    assert (key.path < other.path) == by_number


@pytest.mark.parametrize(
    "path",
    [
        "",
        "commit/main",
        "commit/main/0.0",
        "other/main/00000000.00000000",
        "commit/main/00000000.0000000G",
        "commit/main/000000001.00000000",
        "commit/ma in/00000000.00000000",
        "commit/main/00000000.00000000\n",
        "x/commit/main/00000000.00000000",
    ],
)
def test_a_path_of_another_shape_is_refused(path: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        CheckpointKey.from_path("run", path)
    assert caught.value.run_id == "run"


@pytest.mark.parametrize(
    "wrong",
    [
        {"sequence": -1},
        {"sequence": 1 << 32},
        {"timeline": 1 << 32},
        {"attempt": 0},
        {"token": -1},
        {"cost": {"usd": math.nan}},
        {"cost": {"usd": math.inf}},
        {"created_at": datetime(2026, 1, 1)},
        {"expires_at": datetime(2026, 1, 1)},
    ],
    ids=repr,
)
def test_metadata_that_could_not_be_read_back_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        CheckpointMetadata.model_validate({"run_id": "run", "sequence": 0, **wrong})


def test_an_error_text_is_kept_whatever_is_in_it() -> None:
    text = "cannot open '\udcff\ud800.csv'"
    metadata = CheckpointMetadata(run_id="run", sequence=0, error=text)
    assert metadata.error == r"cannot open '\udcff\ud800.csv'"
    assert CheckpointMetadata.model_validate_json(metadata.model_dump_json()) == metadata


def test_expiry_is_told_by_the_clock() -> None:
    now = datetime.now(UTC)
    for seconds, expired in ((-1, True), (60, False)):
        at = now + timedelta(seconds=seconds)
        assert CheckpointMetadata(run_id="r", sequence=0, expires_at=at).is_expired is expired
    assert not CheckpointMetadata(run_id="r", sequence=0).is_expired
