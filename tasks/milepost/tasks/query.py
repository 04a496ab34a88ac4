"""Which runs are meant: the conditions that listings and bulk commands share."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, datetime

from .head import Head, RunStatus


@dataclass(frozen=True, slots=True)
class RunQuery:
    """Conditions on runs; all that are given must hold, and none given means every run."""

    status: frozenset[RunStatus] = frozenset()
    """Any of these."""
    pipeline: str | None = None
    stage: str | None = None
    """The stage due, or the one that failed."""
    group: str | None = None
    """The error group of a run that has failed: `Head.error_group`."""
    tag: str | None = None
    tenant: str | None = None
    since_ms: int | None = None
    """Started then or later, in milliseconds of the store's clock."""
    until_ms: int | None = None
    """Started before then."""

    @classmethod
    def of(cls, *status: RunStatus, **conditions: str | int | None) -> RunQuery:
        """Return a query for runs in one of *status*."""
        return cls(frozenset(status), **conditions)  # type: ignore[arg-type]

    def __str__(self) -> str:
        """Return the conditions as people give them: ``status=failed group=4f0c2ab81d6e``."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        given["status"] = ",".join(sorted(self.status)) or None
        for name in ("since_ms", "until_ms"):
            if (at := given.pop(name)) is not None:
                moment = datetime.fromtimestamp(at / 1000, UTC)
                given[name.removesuffix("_ms")] = f"{moment:%Y-%m-%dT%H:%M:%SZ}"
        return (
            " ".join(f"{name}={value}" for name, value in given.items() if value is not None)
            or "all"
        )

    @property
    def is_everything(self) -> bool:
        """Whether it has no condition but a tenant, so that it means all runs there are."""
        return not any(
            getattr(self, field.name) not in (None, frozenset())
            for field in fields(self)
            if field.name != "tenant"
        )

    def matches(self, head: Head) -> bool:
        """Whether *head* meets all conditions."""
        return (
            (not self.status or head.status in self.status)
            and self.pipeline in (None, head.pipeline)
            and self.stage in (None, head.stage)
            and self.group in (None, head.error_group)
            and (self.tag is None or self.tag in head.tags)
            and self.tenant in (None, head.tenant)
            and (self.since_ms is None or head.created_at >= self.since_ms * 1000)
            and (self.until_ms is None or head.created_at < self.until_ms * 1000)
        )


EVERY_RUN = RunQuery()
