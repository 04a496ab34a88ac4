"""Entity tags of runs: what a client has seen, and whether it still holds."""

from __future__ import annotations

from hashlib import blake2b

from milepost.tasks import Head

from .problems import MOVED_ON, Problem


def place(head: Head) -> str:
    """Return where a run stands: what a command that was decided on rests on. Progress does not count."""
    parts = (head.timeline, head.sequence, head.token, head.attempt, head.pause)
    return ".".join(f"{part:x}" for part in parts) + f".{head.status}"


def etag(head: Head, body: bytes) -> str:
    """Return the tag of a run as *body* describes it."""
    return f'"{place(head)}-{blake2b(body, digest_size=8).hexdigest()}"'


def is_known(if_none_match: str, tag: str) -> bool:
    """Whether the client has what *tag* stands for."""
    return if_none_match.strip() == "*" or tag in _tags(if_none_match)


def check_match(if_match: str | None, head: Head) -> None:
    """See that a run stands where the client saw it.

    Raises:
        Problem: It has moved on.
    """
    if if_match is None or if_match.strip() == "*":
        return
    now = place(head)
    if not any(tag.strip('"').rpartition("-")[0] == now for tag in _tags(if_match)):
        raise Problem(
            MOVED_ON,
            f"Run {head.run_id} is {head.status} and no longer where it was seen. Look again.",
            {"run_id": head.run_id, "run_status": head.status.value},
        )


def _tags(header: str) -> list[str]:
    return [tag.strip().removeprefix("W/") for tag in header.split(",")]
