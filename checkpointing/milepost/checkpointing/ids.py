"""The one rule for run ids and for names of pipelines, stages and tags.

A name is 1 to 128 ASCII letters, digits, ``.``, ``_`` and ``-``; it begins with a letter or digit,
does not end with a dot and has no two dots in a row. So it is safe, unescaped, as a file name, a
Redis key, an S3 key, a URL segment, a log field and a metric label.
"""

from __future__ import annotations

import re
import secrets
import time

from .errors import InvalidName

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9_-])?", re.ASCII)

_TELLING = re.compile(r"ckpt-(.{1,128})-([0-9a-f]{1,8})\.([0-9a-f]{1,8})-[0-9a-f]{12}", re.ASCII)


def valid_name(name: object, what: str = "run id") -> str:
    """Return *name* unchanged if it keeps the rule.

    Raises:
        InvalidName: It does not. The message shows at most 40 characters of it, escaped.
    """
    if isinstance(name, str) and _NAME.fullmatch(name) and ".." not in name:
        return name
    shown = ascii(name)
    if len(shown) > 40:
        shown = f"{shown[:40]}… ({len(str(name))} characters)"
    raise InvalidName(
        f"{shown} is not a valid {what}: expected 1 to 128 letters, digits, '.', '_' or '-', "
        "beginning with a letter or digit, not ending with a dot, without '..'."
    )


def new_run_id() -> str:
    """Return a fresh run id: 12 hex digits of the time in milliseconds, 20 random ones.

    Ids made later sort later, to the millisecond.
    """
    return f"{int(time.time() * 1000):012x}{secrets.token_hex(10)}"


def new_checkpoint_id() -> str:
    """Return 32 random hex digits."""
    return secrets.token_hex(16)


def telling_checkpoint_id(run_id: str, timeline: int, sequence: int) -> str:
    """Return a fresh id from which `told_by` reads where its checkpoint stands."""
    return f"ckpt-{run_id}-{timeline:x}.{sequence:x}-{secrets.token_hex(6)}"


def told_by(checkpoint_id: str) -> tuple[str, int, int] | None:
    """Return run id, timeline and sequence from an id that tells them; None: it does not."""
    found = _TELLING.fullmatch(checkpoint_id)
    return None if found is None else (found[1], int(found[2], 16), int(found[3], 16))
