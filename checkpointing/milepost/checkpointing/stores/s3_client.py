"""How Milepost talks to S3: the client, and its errors under the names of `errors`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

from ..errors import AlreadyExists, Misconfigured, MissingExtra, NotFound, Refused, Unavailable
from ..redaction import SECRETS, redacted
from ..settings import CheckpointSettings

_TRANSIENT = frozenset({"SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout"})
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


class Conflicted(Unavailable):
    """S3's 409 for a conditional write: another is under way; the same request decides later."""


def open_client(
    user: str | None, password: str | None, options: dict[str, str], settings: CheckpointSettings
) -> Any:
    """Return a client of boto3; it connects at the first call.

    Raises:
        MissingExtra: boto3 is not installed.
        Misconfigured: boto3 cannot work with *options* or with what its environment says.
    """
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError:
        raise MissingExtra("The S3 checkpoint store", "s3") from None
    keys = (
        {"aws_access_key_id": unquote(user), "aws_secret_access_key": unquote(password or "")}
        if user
        else {}
    )
    config = Config(
        connect_timeout=settings.store_timeout_seconds,
        read_timeout=settings.store_timeout_seconds,
        retries={"mode": "standard", "total_max_attempts": settings.store_retries + 1},
        # Path style works on every server; checksums only where S3 requires them.
        s3={"addressing_style": "path"} if "endpoint_url" in options else {},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    SECRETS.learn(*keys.values(), *(os.environ.get(name) for name in _KEYS))
    try:
        return boto3.client("s3", **keys, **options, config=config)
    except (BotoCoreError, ValueError) as error:
        raise Misconfigured(f"S3 cannot be used: {redacted(str(error))}") from error


@contextmanager
def translated(location: str, run_id: str | None = None) -> Iterator[None]:
    """Raise boto3's errors under the names of `errors`."""
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        HTTPClientError,
        IncompleteReadError,
    )
    from botocore.exceptions import ConnectionError as ConnectionFailed

    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        text = f"S3 at {location} answered {status} {code}: {error}"
        if status == 412 or code == "PreconditionFailed":
            raise AlreadyExists(text, run_id=run_id) from error
        if status == 409:
            raise Conflicted(text, run_id=run_id) from error
        if code in {"NoSuchKey", "404"}:
            raise NotFound(text, run_id=run_id) from error
        if code in _TRANSIENT or status in {429, 500, 502, 503, 504}:
            raise Unavailable(text, run_id=run_id) from error
        raise Refused(text, run_id=run_id) from error
    except (ConnectionFailed, HTTPClientError, IncompleteReadError, OSError) as error:
        raise Unavailable(
            f"S3 at {location} does not answer ({redacted(str(error))}). Is it running, and "
            "reachable from here?",
            run_id=run_id,
        ) from error
    except BotoCoreError as error:
        raise Refused(f"S3 at {location}: {redacted(str(error))}", run_id=run_id) from error
