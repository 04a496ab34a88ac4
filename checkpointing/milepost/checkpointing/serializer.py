"""From a checkpoint to a record and back, checked on both ways."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from .codec import dump_json, load_json
from .compression import deflate, inflate
from .envelope import CodecId, Header, check_body, open_header, seal
from .errors import CheckpointError, Corrupt, NotSerializable, TooLarge
from .models import Checkpoint, CheckpointKey, CheckpointMetadata, Record
from .settings import CheckpointSettings


class Serializer:
    """Turns checkpoints into records and back.

    A body is four lines of JSON: state, messages, tool calls, context. So a state is validated from
    its own line without being parsed twice.
    """

    def __init__(self, settings: CheckpointSettings | None = None) -> None:
        self.settings = settings or CheckpointSettings()

    def encode(
        self, checkpoint: Checkpoint, *, state_type: TypeAdapter[Any] | None = None
    ) -> Record:
        """Write *checkpoint* as a record.

        Raises:
            NotSerializable: Part of it cannot be kept; the path says which.
            TooLarge: The body, before compression, is over `max_record_bytes`.
        """
        metadata = checkpoint.metadata
        try:
            body = b"\n".join(
                (
                    dump_json(checkpoint.state, name="state", adapter=state_type),
                    dump_json(checkpoint.messages, name="messages"),
                    dump_json(checkpoint.tool_calls, name="tool_calls"),
                    dump_json(checkpoint.context, name="context"),
                )
            )
        except CheckpointError as error:
            error.run_id = metadata.run_id
            raise
        limit = self.settings.max_record_bytes
        if len(body) > limit:
            raise TooLarge(
                f"The checkpoint of run {metadata.run_id} has {len(body)} bytes; at most {limit} "
                "are allowed (MILEPOST_MAX_RECORD_BYTES). Keep large data in files or objects and "
                "their names in the state.",
                size_bytes=len(body),
                limit_bytes=limit,
                run_id=metadata.run_id,
            )
        compression, packed = deflate(body, threshold_bytes=self.settings.compress_from_bytes)
        header = seal(
            _dump_metadata(metadata),
            packed,
            codec=CodecId.JSON,
            compression=compression,
            inflated_bytes=len(body),
        )
        return Record(metadata.key, header, packed)

    def metadata(self, key: CheckpointKey, header: bytes) -> CheckpointMetadata:
        """Read the metadata of the record under *key* without its body.

        Raises:
            Corrupt: The header is damaged, or belongs under another key.
        """
        return self._open(key, header)[1]

    def _open(self, key: CheckpointKey, raw: bytes) -> tuple[Header, CheckpointMetadata]:
        try:
            header = open_header(raw)
            metadata = CheckpointMetadata.model_validate_json(header.metadata)
        except ValidationError as error:
            raise Corrupt(f"The metadata under {key.path} is no metadata.", key=key) from error
        except CheckpointError as error:
            raise _placed(error, key) from error
        if metadata.key != key:
            raise Corrupt(
                f"The record under {key.path} of run {key.run_id} says it is "
                f"{metadata.key.path} of run {metadata.run_id}.",
                key=key,
            )
        return header, metadata

    def decode(self, record: Record, *, state_type: TypeAdapter[Any] | None = None) -> Checkpoint:
        """Read a record, proving every byte of it first.

        Raises:
            Corrupt: It is damaged, or belongs under another key.
            TooLarge: It would inflate to more than `max_record_bytes`.
            pydantic.ValidationError: The state is sound but not of *state_type*.
        """
        header, metadata = self._open(record.key, record.header)
        try:
            check_body(header, record.body)
            body = inflate(
                record.body,
                header.compression,
                size_bytes=header.inflated_bytes,
                limit_bytes=self.settings.max_record_bytes,
            )
        except CheckpointError as error:
            raise _placed(error, record.key) from error
        lines = body.split(b"\n")
        if len(lines) != 4:
            raise Corrupt(f"The body has {len(lines)} lines, not 4.", key=record.key)
        return Checkpoint.model_construct(
            metadata=metadata,
            state=load_json(lines[0], state_type),
            messages=load_json(lines[1]),
            tool_calls=load_json(lines[2]),
            context=load_json(lines[3]),
        )


def _dump_metadata(metadata: CheckpointMetadata) -> bytes:
    try:
        # Not exclude_defaults: a default that a later version changes would change old records.
        return metadata.model_dump_json(exclude_none=True).encode()
    except PydanticSerializationError as error:
        raise NotSerializable(
            f"The metadata cannot be written as JSON: {error}",
            path="metadata",
            run_id=metadata.run_id,
        ) from error


def _placed(error: CheckpointError, key: CheckpointKey) -> CheckpointError:
    """Return the same error, saying where it was met."""
    message = f"Checkpoint {key.path} of run {key.run_id}: {error}"
    if isinstance(error, TooLarge):
        return TooLarge(
            message,
            size_bytes=error.size_bytes,
            limit_bytes=error.limit_bytes,
            run_id=key.run_id,
        )
    return type(error)(message, key=key)
