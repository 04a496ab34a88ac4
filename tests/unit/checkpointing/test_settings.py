"""Settings come from the environment and are checked there."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from milepost.checkpointing import CheckpointSettings, Misconfigured


def test_the_environment_sets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILEPOST_MAX_RECORD_BYTES", "1000")
    monkeypatch.setenv("MILEPOST_STORE_TIMEOUT_SECONDS", "0.5")
    monkeypatch.setenv("MILEPOST_STORE_RETRIES", "0")
    monkeypatch.setenv("MILEPOST_OTHER_ROOM", "ignored")
    settings = CheckpointSettings()
    assert settings.max_record_bytes == 1000
    assert settings.store_timeout_seconds == 0.5
    assert settings.store_retries == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_record_bytes", 0),
        ("max_record_bytes", "lots"),
        ("compress_from_bytes", -1),
        ("store_timeout_seconds", 0),
        ("store_timeout_seconds", "nan"),
        ("store_timeout_seconds", "inf"),
        ("store_retries", -1),
    ],
)
def test_what_cannot_work_is_refused(name: str, value: object) -> None:
    with pytest.raises(Misconfigured, match=f"^MILEPOST_{name.upper()} is "):
        CheckpointSettings.model_validate({name: value})


def test_they_do_not_change_later() -> None:
    with pytest.raises(ValidationError):
        CheckpointSettings().store_retries = 9  # type: ignore[misc]


def test_a_variable_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILEPOST_STORE_RETRIES", "many")

    with pytest.raises(Misconfigured, match=r"^MILEPOST_STORE_RETRIES is 'many': .* valid integer"):
        CheckpointSettings()
