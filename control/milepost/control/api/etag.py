"""Entity tags of runs: what a client has seen, and whether it still holds."""

from __future__ import annotations

from hashlib import blake2b

from milepost.tasks import Head, MovedOn


def etag(head: Head, body: bytes) -> str:
    """Return the tag of a run as *body* describes it."""
    return f'"{head.place}-{blake2b(body, digest_size=8).hexdigest()}"'


def is_known(if_none_match: str, tag: str) -> bool:
    """Whether the client has what *tag* stands for."""
    return if_none_match.strip() == "*" or tag in _tags(if_none_match)


def is_match(if_match: str | None, head: Head) -> bool:
    """Return whether something is asked of where a run stands, having seen that it stands there.

    Raises:
        MovedOn: It does not.
    """
    if if_match is None or if_match.strip() == "*":
        return False
    if not any(tag.strip('"').rpartition("-")[0] == head.place for tag in _tags(if_match)):
        raise MovedOn.of(head.run_id, head.status)
    return True


def _tags(header: str) -> list[str]:
    return [tag.strip().removeprefix("W/") for tag in header.split(",")]
