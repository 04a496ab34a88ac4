"""Data too large for a state, kept beside it as long as the run."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Blob(BaseModel):
    """A blob that was written: put it in a state, and open it where it is needed."""

    model_config = ConfigDict(frozen=True)

    name: str
    run_id: str
    size_bytes: int = Field(ge=0)
    parts: tuple[str, ...] = ()
    """The digests of its parts, in their order."""
