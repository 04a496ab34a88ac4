"""Records to fill a store with."""

from __future__ import annotations

from datetime import UTC, datetime

from ..compression import Compression
from ..envelope import CodecId, seal
from ..models import MAIN_LANE, CheckpointMetadata, Kind, Record

_WRITTEN_AT = datetime(2026, 1, 1, tzinfo=UTC)


def make_record(
    run_id: str,
    sequence: int = 0,
    *,
    timeline: int = 0,
    kind: Kind = Kind.COMMIT,
    lane: str = MAIN_LANE,
    body: bytes = b"null\n[]\n[]\n{}",
    note: str | None = None,
) -> Record:
    """Return a sound record; equal arguments give equal records, another *note* another header."""
    metadata = CheckpointMetadata(
        run_id=run_id,
        sequence=sequence,
        timeline=timeline,
        kind=kind,
        lane=lane,
        checkpoint_id=f"{timeline:016x}{sequence:016x}",
        created_at=_WRITTEN_AT,
        error=note,
    )
    header = seal(
        metadata.model_dump_json(exclude_none=True).encode(),
        body,
        codec=CodecId.JSON,
        compression=Compression.NONE,
        inflated_bytes=len(body),
    )
    return Record(metadata.key, header, body)
