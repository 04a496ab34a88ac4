"""Which runs a list shows: what people type into its filter, read and written again as a link."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from milepost.checkpointing import MilepostError
from milepost.checkpointing.ids import valid_name
from milepost.tasks import RunQuery, RunStatus
from milepost.tasks.duration import seconds

_NAMES = {
    "pipeline": "pipeline name",
    "stage": "stage name",
    "tag": "tag",
    "group": "error group",
    "tenant": "tenant",
}
_TIMES = ("since", "until")


@dataclass(frozen=True, slots=True)
class RunFilter:
    """A filter as it was typed; what cannot be read of it stands in `errors` by the field's name."""

    typed: Mapping[str, str]
    query: RunQuery = field(default_factory=RunQuery)
    errors: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, typed: Mapping[str, str], tenant: str | None) -> RunFilter:
        """Read a filter; *tenant* is the only one whose runs may be seen."""
        kept = {name: typed.get(name, "").strip() for name in ("status", *_NAMES, *_TIMES)}
        kept = {name: text for name, text in kept.items() if text}
        query, errors = RunQuery(), {}
        for name, text in kept.items():
            try:
                if name == "status":
                    query = replace(query, status=frozenset({RunStatus(text)}))
                elif name in _NAMES:
                    query = _with(query, name, valid_name(text, _NAMES[name]))
                else:
                    query = _with(query, f"{name}_ms", _milliseconds(text))
            except (MilepostError, ValueError, OverflowError) as error:
                errors[name] = f"{text[:40]!r} is no status." if name == "status" else str(error)
        if tenant is not None:
            query = replace(query, tenant=tenant)
            kept.pop("tenant", None)
        return cls(kept, query, errors)

    def __getitem__(self, name: str) -> str:
        return self.typed.get(name, "")

    @property
    def more(self) -> bool:
        """Whether there are conditions beside status and pipeline."""
        return bool(self.typed.keys() - {"status", "pipeline"})

    def url(self, path: str = "/runs", /, **changes: str | None) -> str:
        """Return a link to the list, with *changes* to the filter."""
        words = {**self.typed, **changes}
        query = urlencode({name: text for name, text in words.items() if text})
        return f"{path}?{query}" if query else path

    @property
    def conditions(self) -> str:
        """Say in words what is asked for beside a status; empty: nothing."""
        return ", ".join(f"{name} {text}" for name, text in self.typed.items() if name != "status")

    def words(self) -> str:
        """Say in words which runs are meant."""
        shown = [f"{name} {text}" for name, text in self.typed.items()]
        return ", ".join(shown) or "every run"


def _with(query: RunQuery, name: str, value: Any) -> RunQuery:
    return replace(query, **{name: value})


def _milliseconds(text: str) -> int:
    """Read a time: an ISO date, taken as UTC, or how long ago."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        try:
            return max(0, int((time.time() - seconds(text)) * 1000))
        except MilepostError:
            raise ValueError(
                f"{text[:40]!r} is no time: expected 90m, 2d or 2026-01-31 08:00 (UTC)."
            ) from None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0, int(at.timestamp() * 1000))
