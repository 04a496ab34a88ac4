"""What is hidden, and what is not."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from milepost.checkpointing import CheckpointSettings, Misconfigured
from milepost.checkpointing.redaction import (
    RedactedRecords,
    Secrets,
    redact_output,
    redacted,
    redacted_values,
)


@pytest.mark.fault("S10")
@pytest.mark.parametrize(
    "text",
    [
        "password=hunter2",
        "PASSWORD: hunter2, and more",
        "db_password = 'hunter2 with spaces'",
        '{"client_secret": "hunter2\\" and more", "n": 1}',
        json.dumps({"inner": json.dumps({"api_key": "hunter2 of two words"})}),
        "{'aws_secret_access_key': 'hunter2'}",
        "Authorization: Bearer hunter2hunter2",
        "sent with Bearer hunter2hunter2.x.y",
        "api-key=hunter2&other=1",
        "token: hunter2",
        "passphrase: hunter2",
        "private_key=hunter2",
        "https://me:hunter2@host/x?y=1",
        '{"url":"redis://h:1/0","password":"hunter2"}',
        "MILEPOST_ENCRYPTION_KEYS=k1:hunter2",
    ],
)
def test_hidden_by_name(text: str) -> None:
    assert "hunter2" not in redacted(text)
    assert "***" in redacted(text)


@pytest.mark.parametrize(
    "text",
    [
        "the fencing token: 17",
        "tokens_in=900, tokens: 12",
        "token=None",
        "password authentication failed for user 'me'",
        "Special characters in a password must be percent-encoded.",
        "if secret == other:",
        "redis://host:6379/0 does not answer",
        "redis://token-server:6379/0",
        "postgresql://me@secrets.internal:5432/db",
        "Stage load ran longer than its timeout of 5 s.",
    ],
)
def test_shown_as_it_is(text: str) -> None:
    assert redacted(text) == text


def test_the_rest_of_a_text_stays() -> None:
    assert redacted('{"password": "x1", "n": 1}') == '{"password": "***", "n": 1}'
    assert redacted("password=abc; user=me") == "password=***; user=me"


def test_values_are_hidden_in_all_their_forms() -> None:
    secrets, value = Secrets(), 'a/b "c" d@é'
    secrets.learn(value)

    for form in (value, quote(value), quote(value, safe=""), json.dumps(value), repr(value)):
        hidden = secrets.hide(f"before {form} after")
        assert value not in hidden
        assert "***" in hidden, form


def test_what_a_url_teaches() -> None:
    """Its password, decoded or not; not one that is only the name of the user or the database."""
    secrets = Secrets()
    secrets.learn_url("redis://:long%2Fpass@h/0")
    secrets.learn_url(
        "s3://KEYKEY:nested1@b/p?endpoint_url=http%3A%2F%2Fu%3Anested2%40h&session_token=nested3"
    )
    secrets.learn_url("sentinel://:several1@a:1;sentinel://:several2@b:2")
    secrets.learn_url("postgresql://postgres:postgres@h/db")
    secrets.learn_url("redis://:tiny@h/0")
    secrets.learn_url("redis://me:milepost@h/0")
    secrets.learn_url("redis://[broken/0")

    for secret in (
        "long/pass",
        "long%2Fpass",
        "nested1",
        "nested2",
        "nested3",
        "several1",
        "several2",
    ):
        assert secrets.hide(f"x {secret} y") == "x *** y"
    assert secrets.hide("postgres tiny milepost") == "postgres tiny milepost"


def test_settings_teach_their_secrets() -> None:
    CheckpointSettings(
        signing_key="a-signing-key-of-this-test",
        encryption_keys="k1:a-ring-key-of-this-test,k2:another-key-of-this-test",
        blobs="redis://:a-blob-password-of-this-test@h/0",
    )
    text = "a-signing-key-of-this-test a-ring-key-of-this-test a-blob-password-of-this-test"

    assert redacted(text) == "*** *** ***"


def test_a_setting_that_is_refused_is_not_shown() -> None:
    with pytest.raises(Misconfigured) as caught:
        CheckpointSettings(signing_key="too-short")
    assert str(caught.value).startswith("MILEPOST_SIGNING_KEY is ***")


def test_values_of_records() -> None:
    value = {"password": "x", "n": 1, "tokens": 5, "list": ["token=abc"], "none": {"api_key": None}}

    assert redacted_values(value) == {
        "password": "***",
        "n": 1,
        "tokens": 5,
        "list": ["token=***"],
        "none": {"api_key": None},
    }


@pytest.mark.usefixtures("factory")
def test_the_traceback_a_process_ends_with(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise RuntimeError("password=hunter2")
    except RuntimeError as error:
        sys.excepthook(type(error), error, error.__traceback__)

    assert "RuntimeError: password=***" in capsys.readouterr().err


@pytest.fixture
def factory() -> Iterator[None]:
    before, hook = logging.getLogRecordFactory(), sys.excepthook
    redact_output()
    yield
    logging.setLogRecordFactory(before)
    sys.excepthook = hook


@pytest.mark.usefixtures("factory")
def test_records_of_any_logger(caplog: pytest.LogCaptureFixture) -> None:
    """Message, arguments and traceback; what has no secret is left alone."""
    redact_output()
    made = logging.getLogRecordFactory()
    assert isinstance(made, RedactedRecords)
    assert not isinstance(made._make, RedactedRecords), "installed twice"
    logger = logging.getLogger("anybody")
    logger.warning("at %s with %d", "redis://:hunter2@h/0", 1)
    logger.warning("nothing %s", "here")
    logger.warning("100%% of password=hunter2")
    try:
        raise ValueError("secret=hunter2")
    except ValueError:
        logger.exception("failed")
    with pytest.raises(TypeError):
        logging.Formatter().format(made("x", 30, "p", 1, "%d %d", (1,), None))

    assert "hunter2" not in caplog.text
    assert "redis://:***@h/0 with 1" in caplog.text
    assert "ValueError: secret=***" in caplog.text
    assert caplog.records[1].args == ("here",)


@pytest.mark.fault("S13")
@pytest.mark.parametrize(
    "text",
    ["a-" * 50_000, "://" * 30_000, "password" * 10_000, '\\"' * 50_000, "x:" * 50_000, "a" * 200_000,
     "password=" * 10_000, "secret: '" * 10_000, "?token=" * 10_000, "Bearer " * 10_000],
    ids=range(10),
)  # fmt: skip
def test_no_text_takes_long(text: str) -> None:
    """Error texts are anybody's: none may keep a worker busy."""
    began = time.perf_counter()
    redacted(text)
    assert time.perf_counter() - began < 2


def test_anything_may_be_looked_at() -> None:
    odd: Any = {1: "password=x", None: (b"bytes", 2.5)}
    assert redacted_values(odd) == {1: "password=***", None: [b"bytes", 2.5]}
