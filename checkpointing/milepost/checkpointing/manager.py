"""The familiar verbs on checkpoints, with or without Celery."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from heapq import merge
from itertools import chain, islice
from typing import Any

from pydantic import TypeAdapter

from .closing import Closing
from .errors import AlreadyExists, Corrupt, Expired, NotFound
from .ids import valid_name
from .models import Checkpoint, CheckpointKey, CheckpointMetadata, Kind, Record, Status
from .serializer import Serializer
from .settings import CheckpointSettings
from .stores import CheckpointStore, Entry, open_store
from .types import Types


class CheckpointManager(Closing):
    """Creates, restores and removes the checkpoints of runs in one store.

    What it creates stands beside the commits of Milepost's engine and is never taken for one; what
    it restores is the engine's last commit where there is one, else the last it created itself.

    Args:
        store: A store, or the URL of one.
        settings: Defaults to the ``MILEPOST_…`` variables.
        types: What states without a model may hold beside JSON; by default the built-in types.
    """

    def __init__(
        self,
        store: CheckpointStore | str,
        settings: CheckpointSettings | None = None,
        types: Types | None = None,
    ) -> None:
        self.serializer = Serializer(settings, types)
        self.store = open_store(store, settings) if isinstance(store, str) else store

    def create(
        self,
        run_id: str,
        state: Any = None,
        *,
        messages: Sequence[Any] = (),
        tool_calls: Sequence[Any] = (),
        context: Mapping[str, Any] | None = None,
        step_name: str | None = None,
        tags: Sequence[str] = (),
        cost: Mapping[str, float] | None = None,
        ttl_seconds: float | None = None,
        parent_id: str | None = None,
        status: Status = Status.RUNNING,
        error: str | None = None,
    ) -> Checkpoint:
        """Write the run's next checkpoint and return it.

        Two callers at once get two numbers. The checkpoint is durable when this returns; a process
        that dies in it leaves a whole checkpoint or none.

        Args:
            state: A pydantic model or JSON.
            ttl_seconds: After this long the checkpoint counts as expired. None: never.
            parent_id: The `checkpoint_id` it continues from; by default the last one's.

        Raises:
            InvalidName: *run_id*, *step_name* or a tag breaks the rule for names.
            NotSerializable: The state cannot be kept; nothing was written.
            TooLarge: It is over `max_record_bytes`; nothing was written.
        """
        valid_name(run_id)
        if step_name is not None:
            valid_name(step_name, "step name")
        now = datetime.now(UTC)
        expires_at = None if ttl_seconds is None else now + timedelta(seconds=ttl_seconds)
        while True:
            last = self._last(run_id, Kind.MANUAL)
            checkpoint = Checkpoint(
                metadata=CheckpointMetadata(
                    run_id=run_id,
                    sequence=last.sequence + 1 if last else 0,
                    kind=Kind.MANUAL,
                    parent=parent_id or (last.checkpoint_id if last else None),
                    status=status,
                    stage=step_name,
                    tags=tuple(valid_name(tag, "tag") for tag in tags),
                    cost=dict(cost or {}),
                    created_at=now,
                    expires_at=expires_at,
                    error=error,
                ),
                state=state,
                messages=list(messages),
                tool_calls=list(tool_calls),
                context=dict(context or {}),
            )
            try:
                self.store.put(self.serializer.encode(checkpoint))
            except AlreadyExists:
                continue  # Another caller took the number; the next one is free or taken in turn.
            return checkpoint

    def restore(self, run_id: str, *, state_type: Any = None) -> Checkpoint:
        """Return the checkpoint the run would go on from.

        Args:
            state_type: Validate the state as this type, and return it as such.

        Raises:
            NotFound: The run has no checkpoint.
            Expired: It has, but the time to live of the last is over.
            Corrupt: The last one is damaged. No earlier one is returned in its place.
        """
        valid_name(run_id)
        for kind in (Kind.COMMIT, Kind.MANUAL):
            record = self.store.latest(run_id, kind)
            if record is not None:
                return self._open(record, state_type)
        raise NotFound(f"Run {run_id} has no checkpoint in {self.store.location}.", run_id=run_id)

    def restore_from(
        self, run_id: str, checkpoint_id: str, *, state_type: Any = None
    ) -> Checkpoint:
        """Return the checkpoint with this `checkpoint_id`, however old, past damaged ones.

        Raises:
            NotFound: The run has no such checkpoint.
            Expired: Its time to live is over.
            Corrupt: It is damaged, or was not found among others that are.
        """
        valid_name(run_id)
        damaged: Corrupt | None = None
        for entry in chain.from_iterable(self._entries(run_id, kind) for kind in Kind):
            try:
                metadata = self.serializer.metadata(entry.key, entry.header)
            except Corrupt as error:
                damaged = error
                continue
            if metadata.checkpoint_id == checkpoint_id:
                return self.get(metadata.key, state_type=state_type)
        raise damaged or NotFound(
            f"Run {run_id} has no checkpoint with id {checkpoint_id!r}.", run_id=run_id
        )

    def get(self, key: CheckpointKey, *, state_type: Any = None) -> Checkpoint:
        """Return the checkpoint under *key*; raises as `restore_from` does."""
        return self._open(self.store.get(key), state_type)

    def list(self, run_id: str, *, limit: int | None = None) -> list[CheckpointMetadata]:
        """Return the metadata of the run's checkpoints, newest first; bodies are not read."""
        return [*islice(self._metadata(valid_name(run_id)), limit)]

    def delete(self, key: CheckpointKey) -> bool:
        """Remove one checkpoint; False if there was none."""
        return self.store.delete(key)

    def delete_run(self, run_id: str) -> int:
        """Remove all checkpoints of a run and return how many there were."""
        return self.store.delete_run(valid_name(run_id))

    def mark_completed(self, run_id: str) -> Checkpoint:
        """Write a last checkpoint with status ``completed`` and the state of the one before.

        Raises:
            NotFound: The run has no checkpoint.
        """
        return self._mark(run_id, Status.COMPLETED)

    def mark_failed(self, run_id: str, error: str | None = None) -> Checkpoint:
        """Write a last checkpoint with status ``failed``, *error* and the state of the one before.

        Raises:
            NotFound: The run has no checkpoint.
        """
        return self._mark(run_id, Status.FAILED, error)

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def _mark(self, run_id: str, status: Status, error: str | None = None) -> Checkpoint:
        last = self.restore(run_id)
        return self.create(
            run_id,
            last.state,
            messages=last.messages,
            tool_calls=last.tool_calls,
            context=last.context,
            step_name=last.metadata.stage,
            tags=last.metadata.tags,
            parent_id=last.metadata.checkpoint_id,
            status=status,
            error=error,
        )

    def _last(self, run_id: str, kind: Kind) -> CheckpointMetadata | None:
        page = self.store.history(run_id, kind, limit=1)
        return next((self.serializer.metadata(e.key, e.header) for e in page.items), None)

    def _open(self, record: Record, state_type: Any) -> Checkpoint:
        adapter = _adapter(state_type)
        checkpoint = self.serializer.decode(record, state_type=adapter)
        if checkpoint.metadata.is_expired:
            raise Expired(
                f"Checkpoint {record.key.path} of run {record.key.run_id} expired at "
                f"{checkpoint.metadata.expires_at:%Y-%m-%d %H:%M:%S} UTC.",
                key=record.key,
            )
        return checkpoint

    def _metadata(self, run_id: str) -> Iterator[CheckpointMetadata]:
        series = (
            (self.serializer.metadata(entry.key, entry.header) for entry in entries)
            for entries in [self._entries(run_id, kind) for kind in Kind]
        )
        return merge(*series, key=lambda metadata: metadata.created_at, reverse=True)

    def _entries(self, run_id: str, kind: Kind) -> Iterator[Entry]:
        cursor: str | None = None
        while True:
            page = self.store.history(run_id, kind, cursor=cursor)
            yield from page.items
            if (cursor := page.cursor) is None:
                return


def _adapter(state_type: Any) -> TypeAdapter[Any] | None:
    if state_type is None or isinstance(state_type, TypeAdapter):
        return state_type
    return TypeAdapter(state_type)
