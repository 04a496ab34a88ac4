"""From a checkpoint to a record and back, checked on both ways."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from .codecs import Codec, Parts
from .codecs.json import JSONCodec, TypedJSONCodec
from .compression import Compression, deflate, inflate
from .encryption import Cipher, KeyRing
from .envelope import CodecId, Header, check_body, open_header, seal
from .errors import (
    CheckpointError,
    Corrupt,
    Misconfigured,
    MissingKey,
    NotSerializable,
    TooLarge,
    Unprotected,
)
from .models import Checkpoint, CheckpointKey, CheckpointMetadata, Record
from .settings import CheckpointSettings
from .types import Types


class Serializer:
    """Turns checkpoints into records and back, as the settings say.

    A body is encoded, compressed and encrypted, in this order. What codec, compression and key are needed
    to read a record stands in it; no other is ever tried.

    Args:
        types: What states without a model may hold beside JSON.

    Raises:
        MissingExtra: A library that the settings call for is not installed.
        Misconfigured: Pickle is chosen without a key to sign with, or the keys cannot be read.
    """

    def __init__(
        self, settings: CheckpointSettings | None = None, types: Types | None = None
    ) -> None:
        self.settings = settings or CheckpointSettings()
        self.types = types or Types()
        self._plain = JSONCodec()
        self._typed = TypedJSONCodec(self.types)
        self._compression = Compression[self.settings.compression.upper()]
        self._others: dict[CodecId, Codec] = {}
        self._chosen = CodecId[self.settings.codec.upper()]
        if self._chosen is not CodecId.JSON:
            self._codec(self._chosen)
        keys = self.settings.encryption_keys
        self._ring = None if keys is None else KeyRing.parse(keys.get_secret_value())

    def encode(
        self, checkpoint: Checkpoint, *, state_type: TypeAdapter[Any] | None = None
    ) -> Record:
        """Write *checkpoint* as a record.

        Raises:
            NotSerializable: Part of it cannot be kept; the path says which.
            TooLarge: The body, before compression, is over `max_record_bytes`.
        """
        metadata = checkpoint.metadata
        written = _dump_metadata(metadata)
        about = _about(metadata.key, written)
        parts = Parts(
            checkpoint.state, checkpoint.messages, checkpoint.tool_calls, checkpoint.context
        )
        try:
            codec, body = self._encode(parts, state_type, about)
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
        compression, packed = deflate(
            body, threshold_bytes=self.settings.compress_from_bytes, by=self._compression
        )
        cipher = Cipher.NONE
        if self._ring is not None:
            cipher = Cipher.AES_GCM
            packed = self._ring.seal(packed, _bound(about, codec, compression, len(body)))
        header = seal(
            written,
            packed,
            codec=codec,
            compression=compression,
            inflated_bytes=len(body),
            cipher=cipher,
        )
        return Record(metadata.key, header, packed)

    def metadata(self, key: CheckpointKey, header: bytes) -> CheckpointMetadata:
        """Read the metadata of the record under *key* without its body.

        Raises:
            Corrupt: The header is damaged, or belongs under another key.
        """
        return self._open(key, header)[1]

    def decode(self, record: Record, *, state_type: TypeAdapter[Any] | None = None) -> Checkpoint:
        """Read a record, proving every byte of it first.

        Raises:
            Corrupt: It is damaged, or belongs under another key.
            Unprotected: It is not encrypted, or is a pickle, and the settings do not accept that.
            MissingKey: It is encrypted with a key that is not in the ring.
            TooLarge: It would inflate to more than `max_record_bytes`.
            pydantic.ValidationError: The state is sound but not of *state_type*.
        """
        header, metadata = self._open(record.key, record.header)
        about = _about(record.key, header.metadata)
        try:
            check_body(header, record.body)
            body = inflate(
                self._decrypted(header, record.body, about),
                header.compression,
                size_bytes=header.inflated_bytes,
                limit_bytes=self.settings.max_record_bytes,
            )
            parts = self._codec(header.codec).decode(body, state_type, about)
        except CheckpointError as error:
            raise _placed(error, record.key) from error
        return Checkpoint.model_construct(metadata=metadata, **parts._asdict())

    def _encode(
        self, parts: Parts, adapter: TypeAdapter[Any] | None, about: bytes
    ) -> tuple[CodecId, bytes]:
        if self._chosen is not CodecId.JSON:
            return self._chosen, self._codec(self._chosen).encode(parts, adapter, about)
        untyped = parts if adapter is None else parts[1:]
        if not self.types.concern([*untyped]):
            with suppress(NotSerializable):
                return CodecId.JSON, self._plain.encode(parts, adapter, about)
        return CodecId.TYPED_JSON, self._typed.encode(parts, adapter, about)

    def _codec(self, codec: CodecId) -> Codec:
        if codec is CodecId.JSON:
            return self._plain
        if codec is CodecId.TYPED_JSON:
            return self._typed
        if codec not in self._others:
            self._others[codec] = self._made(codec)
        return self._others[codec]

    def _made(self, codec: CodecId) -> Codec:
        if codec is CodecId.MSGPACK:
            from .codecs.msgpack import MsgpackCodec

            return MsgpackCodec(self.types)
        if self._chosen is not CodecId.PICKLE:
            raise Unprotected(
                "The checkpoint is a pickle; loading one can run any code. If it is yours, set "
                "MILEPOST_CODEC=pickle and MILEPOST_SIGNING_KEY."
            )
        if self.settings.signing_key is None:
            raise Misconfigured("MILEPOST_CODEC=pickle needs MILEPOST_SIGNING_KEY.")
        from .codecs.pickle import PickleCodec

        return PickleCodec(self.settings.signing_key.get_secret_value().encode())

    def _decrypted(self, header: Header, body: bytes, about: bytes) -> bytes:
        if header.cipher is Cipher.NONE:
            if self._ring is not None and not self.settings.accept_unencrypted:
                raise Unprotected(
                    "The checkpoint is not encrypted, though there are keys. If the store was not always "
                    "encrypted, set MILEPOST_ACCEPT_UNENCRYPTED=1 until its old runs have ended."
                )
            return body
        if self._ring is None:
            raise MissingKey(
                "The checkpoint is encrypted, and there are no keys (MILEPOST_ENCRYPTION_KEYS).",
                key_name="",
            )
        bound = _bound(about, header.codec, header.compression, header.inflated_bytes)
        return self._ring.open(body, bound)

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


def _about(key: CheckpointKey, metadata: bytes) -> bytes:
    """Return what a body is bound to: its place, and all that is known of it."""
    return f"{key.run_id}\n{key.path}\n".encode() + metadata


def _bound(about: bytes, codec: CodecId, compression: Compression, inflated_bytes: int) -> bytes:
    return bytes([codec, compression]) + inflated_bytes.to_bytes(8, "big") + about


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
    if isinstance(error, MissingKey):
        return MissingKey(message, key_name=error.key_name, key=key)
    return type(error)(message, key=key)
