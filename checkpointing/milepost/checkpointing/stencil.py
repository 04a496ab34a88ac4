"""Writing many checkpoints that differ in run, id and state alone."""

from __future__ import annotations

import re
from secrets import token_hex
from typing import Any

from pydantic import TypeAdapter

from .codecs.base import Parts
from .models import CheckpointKey, CheckpointMetadata, Record
from .serializer import Serializer


class Stencil:
    """The metadata that many first checkpoints share, written once and cut where they differ.

    Args:
        metadata: Of any of them.
        state_type: Of the states, unless they are plain JSON.
    """

    def __init__(
        self,
        serializer: Serializer,
        metadata: CheckpointMetadata,
        state_type: TypeAdapter[Any] | None,
    ) -> None:
        self._serializer = serializer
        self._state_type = state_type
        self._key = metadata.key
        marks = {"run_id": token_hex(16), "checkpoint_id": token_hex(16)}
        text = metadata.model_copy(update=marks).model_dump_json(exclude_none=True)
        # Names and ids need no escaping in JSON.
        self._before, self._between, self._after = re.split("|".join(marks.values()), text)

    def record(
        self, run_id: str, checkpoint_id: str, state: Any, line: bytes | None = None
    ) -> Record | None:
        """Return the checkpoint of a run, or None if it has to be written in pieces.

        Args:
            line: The state as it is written by its type, if it is.

        Raises:
            NotSerializable, TooLarge: As `Serializer.encode`.
        """
        key = CheckpointKey(run_id, *self._key[1:])
        written = f"{self._before}{run_id}{self._between}{checkpoint_id}{self._after}".encode()
        return self._serializer.whole(
            key, written, Parts(state, [], [], {}), self._state_type, line
        )
