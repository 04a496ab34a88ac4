"""Reading an event stream, over connections that break."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from milepost.checkpointing import Unavailable

from .api.documents import RunDocument
from .client_errors import error_of

_SILENCE_SECONDS = 60.0
_PAUSE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class RunEvent:
    """That a run stands otherwise than before."""

    id: str
    run: RunDocument


def read_events(
    http: httpx.Client, path: str, asked: Mapping[str, Any], after: str | None, retries: int
) -> Iterator[RunEvent]:
    """Yield events until the server says that there are no more.

    Raises:
        Unavailable: The server cannot be reached, more than *retries* times in a row.
    """
    failed = 0
    while True:
        headers = {} if after is None else {"Last-Event-ID": after}
        try:
            with http.stream(
                "GET", path, params=asked, headers=headers, timeout=_SILENCE_SECONDS
            ) as answer:
                if answer.is_error:
                    answer.read()
                    raise error_of(answer)
                for name, event_id, data in _parts(answer.iter_lines()):
                    failed = 0
                    if name == "end":
                        return
                    if name == "run":
                        after = event_id
                        yield RunEvent(event_id, RunDocument.model_validate_json(data))
        except httpx.TransportError as error:
            cause: Exception | None = error
        else:
            cause = None
        failed += 1
        if failed > retries:
            raise Unavailable(f"{http.base_url} does not answer: {cause or 'it ends the stream'}.")
        time.sleep(_PAUSE_SECONDS)


def _parts(lines: Iterator[str]) -> Iterator[tuple[str, str, str]]:
    """Yield name, id and data of each event; comments are passed over."""
    event: dict[str, str] = {}
    for line in lines:
        if not line:
            if "event" in event:
                yield event["event"], event.get("id", ""), event.get("data", "")
            event = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(": ")
            event[name] = value
