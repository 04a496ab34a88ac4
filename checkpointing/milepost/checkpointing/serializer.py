"""From a checkpoint to a record and back, checked on both ways."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from hashlib import blake2b
from secrets import token_hex
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError
from pyfastcdc import FastCDC

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
    NotFound,
    NotSerializable,
    TooLarge,
    Unprotected,
    placed,
)
from .manifest import Manifest, Piece
from .models import SNAPSHOTS, Checkpoint, CheckpointKey, CheckpointMetadata, Kind, Record
from .settings import CheckpointSettings
from .types import Types

Fetch = Callable[[Sequence[CheckpointKey]], list[Record]]
_CUTTER = FastCDC(avg_size=256 * 1024, min_size=64 * 1024, max_size=1024 * 1024)
"""Where it cuts is part of the format: else nothing would be shared with what older releases wrote."""

_FETCHED_AT_ONCE = 16


def piece_key(run_id: str, piece: Piece) -> CheckpointKey:
    """Return where a piece stands."""
    return CheckpointKey(run_id, 0, 0, Kind.BLOB, piece.lane)


class Serializer:
    """Turns checkpoints into records and back, as the settings say.

    A body is encoded, compressed and encrypted, in this order. What codec, compression and key are needed
    to read a record stands in it; no other is ever tried.

    Args:
        types: What states without a model may hold beside JSON.
        fetch: Gets the pieces of large bodies; without it none are made, nor read.

    Raises:
        MissingExtra: A library that the settings call for is not installed.
        Misconfigured: Pickle is chosen without a key to sign with, or the keys cannot be read.
    """

    def __init__(
        self,
        settings: CheckpointSettings | None = None,
        types: Types | None = None,
        fetch: Fetch | None = None,
    ) -> None:
        self.settings = settings or CheckpointSettings()
        self.types = types or Types()
        self._fetch = fetch
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
        self,
        checkpoint: Checkpoint,
        *,
        state_type: TypeAdapter[Any] | None = None,
        base: Manifest | None = None,
    ) -> Record:
        """Write *checkpoint* as a record, or as one and the pieces that have to be written before it.

        Args:
            base: Of the checkpoint before it in its series, whose pieces it may share because that stands
                and is whole.

        Raises:
            NotSerializable: Part of it cannot be kept; the path says which.
            TooLarge: The body, before compression, is over `max_record_bytes`.
        """
        metadata, written = checkpoint.metadata, _dump_metadata(checkpoint.metadata)
        parts = Parts(
            checkpoint.state, checkpoint.messages, checkpoint.tool_calls, checkpoint.context
        )
        codec, body = self._checked_body(metadata.key, written, parts, state_type)
        if not self._is_cut(metadata.key, body):
            return self._record(metadata.key, written, codec, body)
        manifest, pieces = self._cut(metadata, codec, body, base)
        record = self._record(metadata.key, written, CodecId.MANIFEST, manifest.dump())
        return replace(record, pieces=pieces, manifest=manifest)

    def whole(
        self,
        key: CheckpointKey,
        metadata: bytes,
        parts: Parts,
        state_type: TypeAdapter[Any] | None,
        line: bytes | None = None,
    ) -> Record | None:
        """Write a record whose metadata is written already; None: it has to be cut into pieces.

        Args:
            line: The state as `dump_json` has written it by its type, if it has.
        """
        codec, body = self._checked_body(key, metadata, parts, state_type, line)
        return None if self._is_cut(key, body) else self._record(key, metadata, codec, body)

    def piece(self, key: CheckpointKey, part: bytes) -> Record:
        """Write *part* of something large as a record of its own.

        Args:
            key: Of `Kind.BLOB`.
        """
        metadata = CheckpointMetadata(**key._asdict(), checkpoint_id=key.lane)
        return self._record(key, _dump_metadata(metadata), CodecId.PIECE, part)

    def digest(self, part: bytes) -> str:
        """Return what a part is called by its content; with keys, nobody else can tell that."""
        key = b"" if self._ring is None else self._ring.naming_key
        return blake2b(part, digest_size=16, key=key).hexdigest()

    def open_piece(self, record: Record, plain_bytes: int) -> bytes:
        """Return the part of *plain_bytes* that a record of its own holds; raises as `decode` does."""
        header, _ = self._open(record.key, record.header)
        if header.codec is not CodecId.PIECE or header.inflated_bytes != plain_bytes:
            raise Corrupt(
                f"The record under {record.key.path} is no piece of {plain_bytes} bytes.",
                key=record.key,
            )
        return self._body(record)[2]

    def _cut(
        self, metadata: CheckpointMetadata, codec: CodecId, body: bytes, base: Manifest | None
    ) -> tuple[Manifest, tuple[Record, ...]]:
        """Cut *body* where its content says, and make records of the parts that *base* has not."""
        shared = {piece.digest: piece for piece in base.pieces} if base else {}
        own: dict[str, Piece] = {}
        pieces: list[Piece] = []
        records: list[Record] = []
        owner, shares = token_hex(8), False
        for part in _CUTTER.cut_buf(body):
            content = bytes(part.data)
            digest = self.digest(content)
            if digest in shared:
                shares = True
                pieces.append(shared[digest])
                continue
            if digest not in own:
                sizeless = Piece(digest, owner, len(content), 0)
                record = self.piece(piece_key(metadata.run_id, sizeless), content)
                records.append(record)
                own[digest] = replace(sizeless, stored_bytes=record.size_bytes)
            pieces.append(own[digest])
        base_id = base.of if base and shares else ""
        manifest = Manifest(codec, tuple(pieces), base_id, metadata.checkpoint_id)
        return manifest, tuple(records)

    def _joined(self, record: Record, manifest: Manifest) -> bytes:
        """Return the body that was cut."""
        key = record.key
        if self._fetch is None:
            raise Misconfigured("The checkpoint consists of pieces: read it through a manager.")
        if manifest.plain_bytes > self.settings.max_record_bytes:
            size = f"Its pieces come to {manifest.plain_bytes} bytes"
            raise self._too_large(size, manifest.plain_bytes, key.run_id)
        own = {piece.key: piece for piece in record.pieces}
        distinct = list(dict.fromkeys(manifest.pieces))
        found: dict[Piece, bytes] = {}
        try:
            for start in range(0, len(distinct), _FETCHED_AT_ONCE):
                batch = distinct[start : start + _FETCHED_AT_ONCE]
                keys = [piece_key(key.run_id, piece) for piece in batch]
                missing = [wanted for wanted in keys if wanted not in own]
                records = own | {got.key: got for got in self._fetch(missing)}
                for piece, place in zip(batch, keys, strict=True):
                    found[piece] = self.open_piece(records[place], piece.plain_bytes)
        except NotFound as error:
            raise Corrupt(f"A piece of it is missing: {error}", key=key) from error
        return b"".join(found[piece] for piece in manifest.pieces)

    def _checked_body(
        self,
        key: CheckpointKey,
        written: bytes,
        parts: Parts,
        state_type: TypeAdapter[Any] | None,
        line: bytes | None = None,
    ) -> tuple[CodecId, bytes]:
        try:
            if line is not None and self._chosen is CodecId.JSON and not any(parts[1:]):
                codec, body = CodecId.JSON, JSONCodec.around(line)
            else:
                codec, body = self._encode(parts, state_type, _about(key, written))
        except CheckpointError as error:
            error.run_id = key.run_id
            raise
        if len(body) > self.settings.max_record_bytes:
            size = f"The checkpoint of run {key.run_id} has {len(body)} bytes"
            raise self._too_large(size, len(body), key.run_id)
        return codec, body

    def _too_large(self, size: str, size_bytes: int, run_id: str) -> TooLarge:
        limit = self.settings.max_record_bytes
        return TooLarge(
            f"{size}; at most {limit} are allowed (MILEPOST_MAX_RECORD_BYTES). Keep large data in blobs, and "
            "those in the state.",
            size_bytes=size_bytes,
            limit_bytes=limit,
            run_id=run_id,
        )

    def _is_cut(self, key: CheckpointKey, body: bytes) -> bool:
        divisible = self._fetch is not None and key.kind in SNAPSHOTS
        return divisible and len(body) >= self.settings.blob_from_bytes

    def _record(self, key: CheckpointKey, written: bytes, codec: CodecId, body: bytes) -> Record:
        """Compress and encrypt *body*, and seal it with its metadata."""
        compression, packed = deflate(
            body, threshold_bytes=self.settings.compress_from_bytes, by=self._compression
        )
        cipher = Cipher.NONE
        if self._ring is not None:
            cipher = Cipher.AES_GCM
            about = _about(key, written)
            packed = self._ring.seal(packed, _bound(about, codec, compression, len(body)))
        header = seal(
            written,
            packed,
            codec=codec,
            compression=compression,
            inflated_bytes=len(body),
            cipher=cipher,
        )
        return Record(key, header, packed)

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
        manifest, codec = None, header.codec
        try:
            body = self._plain_body(header, record)
            if codec is CodecId.MANIFEST:
                manifest = Manifest.load(body, metadata.checkpoint_id)
                codec, body = manifest.codec, self._joined(record, manifest)
            about = _about(record.key, header.metadata)
            parts = self._codec(codec).decode(body, state_type, about)
        except CheckpointError as error:
            raise placed(error, record.key) from error
        checkpoint = Checkpoint.model_construct(metadata=metadata, **parts._asdict())
        object.__setattr__(checkpoint, "_manifest", manifest)
        return checkpoint

    def manifest(self, record: Record) -> Manifest | None:
        """Return of which pieces a record's body consists; None: it is whole. Raises as `decode` does."""
        metadata, header, body = self._body(record)
        if header.codec is not CodecId.MANIFEST:
            return None
        return Manifest.load(body, metadata.checkpoint_id)

    def _body(self, record: Record) -> tuple[CheckpointMetadata, Header, bytes]:
        header, metadata = self._open(record.key, record.header)
        try:
            return metadata, header, self._plain_body(header, record)
        except CheckpointError as error:
            raise placed(error, record.key) from error

    def _plain_body(self, header: Header, record: Record) -> bytes:
        """Return the body as it was before it was compressed and encrypted, proven."""
        check_body(header, record.body)
        return inflate(
            self._decrypted(header, record.body, _about(record.key, header.metadata)),
            header.compression,
            size_bytes=header.inflated_bytes,
            limit_bytes=self.settings.max_record_bytes,
        )

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
            raise placed(error, key) from error
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
