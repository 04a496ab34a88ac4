"""Time that passes when it is told to."""

from __future__ import annotations

from datetime import UTC, datetime


class Clock:
    """Of the whole world; what single hosts make of it may differ."""

    def __init__(self) -> None:
        self.ms = 1_700_000_000_000
        self.store_offset_ms = 0
        """By how much the stores' clock is ahead."""

    def store_ms(self) -> int:
        """Return the time as the run store has it."""
        return self.ms + self.store_offset_ms

    def store_datetime(self) -> datetime:
        """Return the time as the log has it."""
        return datetime.fromtimestamp(self.store_ms() / 1000, UTC)
