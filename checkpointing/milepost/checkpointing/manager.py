"""The familiar verbs on checkpoints, with or without Celery."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from .config import CheckpointConfig
from .errors import AlreadyExists, CheckpointError, Corrupt, Misconfigured, NotFound
from .ids import telling_checkpoint_id, valid_name
from .models import Checkpoint, CheckpointKey, CheckpointMetadata, Kind, Record, Status
from .pacing import Last, Pace, Pacing
from .redaction import redacted
from .retention import Retention, Usage
from .settings import CheckpointSettings
from .stores import CheckpointStore
from .types import Types
from .writer import CheckpointWriter

logger = logging.getLogger("milepost.checkpointing")
_LONGEST_SECONDS = 1e10


class CheckpointManager(CheckpointWriter):
    """Creates, restores and removes the checkpoints of runs in one store.

    What it creates stands beside the commits of Milepost's engine and is never taken for one; what
    it restores is the engine's last commit where there is one, else the last it created itself. Its
    methods may be called from several threads.

    Args:
        store: A store, or the URL of one.
        settings: Defaults to the ``MILEPOST_…`` variables.
        types: What states without a model may hold beside JSON; by default the built-in types.
        config: When checkpoints are written and which are kept; by default all.
    """

    def __init__(
        self,
        store: CheckpointStore | str,
        settings: CheckpointSettings | None = None,
        types: Types | None = None,
        config: CheckpointConfig | None = None,
    ) -> None:
        super().__init__(store, settings, types)
        self.config = config or CheckpointConfig()
        self.failed_cleanups = 0
        """How often the background cleanup has failed since the start; each is logged."""
        self._retention = Retention(self.store, self.blobs, self.serializer, self.config)
        self._pacing = Pacing(self.config.decides)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

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
        force: bool = False,
        event: str | None = None,
        work: float = 0.0,
    ) -> Checkpoint | None:
        """Write the run's next checkpoint and return it; None if the configuration puts it off.

        Two callers at once get two numbers. A checkpoint that is returned is durable; its `state` is the
        object that was given, and what is stored does not change with that. A process that dies in here
        leaves a whole one or none. What is put off is kept as it is now, and is written when it is
        due (see `start`), or by `flush`, `mark_completed`, `mark_failed` and `stop`, unless something newer
        was offered meanwhile.

        Args:
            state: A pydantic model, JSON, or what *types* know.
            ttl_seconds: After this long the checkpoint counts as expired. None: as configured; 0: never.
            parent_id: The `checkpoint_id` it continues from; by default the last one's.
            force: Write it, whatever the configuration says.
            event: What has happened, for policies that write on events.
            work: What was done since the last offer, for policies that weigh it.

        Raises:
            InvalidName: *run_id*, *step_name* or a tag breaks the rule for names.
            NotSerializable: The state cannot be kept; nothing was written.
            TooLarge: It is over `max_record_bytes`; nothing was written.
            Misconfigured: *ttl_seconds* is no time.
        """
        valid_name(run_id)
        if step_name is not None:
            valid_name(step_name, "step name")
        now = datetime.now(UTC)
        if ttl_seconds is not None and not 0 <= ttl_seconds <= _LONGEST_SECONDS:
            raise Misconfigured(f"ttl_seconds is {ttl_seconds}: expected seconds, 0 or None.")
        ttl_seconds = self.config.default_ttl_seconds if ttl_seconds is None else ttl_seconds
        offer = Checkpoint(
            metadata=CheckpointMetadata(
                run_id=run_id,
                sequence=0,
                kind=Kind.MANUAL,
                parent=parent_id,
                status=status,
                stage=step_name,
                tags=tuple(valid_name(tag, "tag") for tag in tags),
                cost=dict(cost or {}),
                created_at=now,
                expires_at=now + timedelta(seconds=ttl_seconds) if ttl_seconds else None,
                error=error,
            ),
            state=state,
            messages=list(messages),
            tool_calls=list(tool_calls),
            context=dict(context or {}),
        )
        if not (force or self.config.auto_checkpoint):
            return None
        pace = self._pacing.of(run_id)
        with pace.lock:
            if force or self._pacing.is_due(pace, offer, event, work):
                return self._write(pace, offer)
            # As it is now: the caller may go on changing it.
            record = self.serializer.encode(offer)
            pace.offered = self.serializer.decode(record)
            self._pacing.keep(run_id, pace)
            return None

    def flush(self, run_id: str) -> Checkpoint | None:
        """Write what `create` put off for a run, if there is something; return it."""
        pace = self._pacing.of(valid_name(run_id))
        with pace.lock:
            return None if pace.offered is None else self._write(pace, pace.offered)

    def delete(self, checkpoint: str | CheckpointKey, run_id: str | None = None) -> bool:
        """Remove one checkpoint, by its id or key; False if there was none."""
        if isinstance(checkpoint, str):
            try:
                checkpoint = self.find(checkpoint, run_id)
            except NotFound:
                return False
        return self._retention.delete(checkpoint)

    def delete_run(self, run_id: str) -> int:
        """Remove all of a run, blobs included, and return how many records that were."""
        self._pacing.forget(valid_name(run_id))
        # The checkpoints first: without its pieces one would be damaged.
        return self.store.delete_run(run_id) + self.delete_blobs(run_id)

    def mark_completed(self, run_id: str) -> Checkpoint:
        """Write a last checkpoint with status ``completed`` and the state of the one before.

        Then remove what `on_success` says.

        Raises:
            NotFound: The run has no checkpoint.
        """
        final = self._mark(run_id, Status.COMPLETED)
        if self.config.on_success == "final":
            self._retention.keep_only(final.metadata)
        elif self.config.on_success == "none":
            self.delete_run(run_id)
        self._pacing.forget(run_id)
        return final

    def mark_failed(self, run_id: str, error: str | None = None) -> Checkpoint:
        """Write a last checkpoint with status ``failed``, *error* and the state of the one before.

        Raises:
            NotFound: The run has no checkpoint.
        """
        final = self._mark(run_id, Status.FAILED, error)
        self._pacing.forget(run_id)
        return final

    def keep_failure(self, run_id: str, error: BaseException) -> Checkpoint:
        """Do what `mark_failed` does, for a run that may have no checkpoint yet."""
        text = redacted(f"{type(error).__name__}: {error}")
        try:
            return self.mark_failed(run_id, text)
        except NotFound:
            first = self.create(run_id, status=Status.FAILED, error=text, force=True)
            assert first is not None
            return first

    @contextmanager
    def failures_kept(self, run_id: str) -> Iterator[None]:
        """Within the block, write an error checkpoint of whatever is raised, and let it go on.

        It has the state of the last checkpoint, or none if there is none yet. That it cannot be written is
        logged, and does not take the place of what was raised.
        """
        try:
            yield
        except Exception as error:
            try:
                self.keep_failure(run_id, error)
            except Exception:
                logger.exception("Run %s: its failure could not be kept.", run_id)
            raise

    def thin(self, last: CheckpointKey, keep: int, *, wholly: bool = False) -> int:
        """Remove commits of a pipeline's run before *last*, so that *keep* are left; return how many.

        Args:
            wholly: All that are over the number; else only the one that the last has pushed out.
        """
        return self._retention.thin(last, keep, wholly=wholly)

    def usage(self, run_id: str) -> Usage:
        """Return how many checkpoints a run has, and the bytes they take."""
        return self._retention.usage(valid_name(run_id))

    def total_usage(self) -> Usage:
        """Return the same of all runs of the store; reads all headers."""
        return self._retention.total_usage()

    def prune(self, run_id: str) -> int:
        """Apply the configured limits to one run and return how many checkpoints were removed."""
        return self._retention.prune(valid_name(run_id))

    def cleanup(self) -> int:
        """Apply the configured limits to every run and return how many checkpoints were removed."""
        return self._retention.cleanup()

    def start(self) -> None:
        """Write what is due and clean up in the background, until `stop` or `close`; twice is harmless."""
        if self._thread is None:
            self._stop.clear()
            self._thread = threading.Thread(
                target=self._look_after, name="milepost-checkpoints", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """End what `start` began, and write everything that was put off; twice is harmless."""
        if self._thread is not None:
            self._stop.set()
            self._thread.join()
            self._thread = None
        failed: Exception | None = None
        for run_id in self._pacing.offered():
            try:
                self.flush(run_id)
            except Exception as error:
                logger.exception("Run %s: what was put off could not be written.", run_id)
                failed = failed or error
        if failed is not None:
            raise failed

    def close(self) -> None:
        """Stop, and close the store."""
        try:
            self.stop()
        finally:
            super().close()

    def _write(self, pace: Pace, offer: Checkpoint) -> Checkpoint:
        """Give *offer* the next number and write it; the pace is locked."""
        began = time.monotonic()
        run_id = offer.run_id
        if pace.last is None:
            pace.last = self._last(run_id)
        while True:
            last = pace.last
            sequence = last.sequence + 1 if last else 0
            key = offer.metadata.key._replace(sequence=sequence)
            parent = offer.metadata.parent or (last.checkpoint_id if last else None)
            metadata = offer.metadata.model_copy(
                update={
                    "sequence": sequence,
                    "parent": parent,
                    "checkpoint_id": telling_checkpoint_id(run_id, key.timeline, sequence),
                }
            )
            checkpoint = offer.model_copy(update={"metadata": metadata})
            record = self.serializer.encode(checkpoint, base=last.manifest if last else None)
            try:
                self.put(record)
            except AlreadyExists:
                # Another process took the number; the next one is free or taken in turn.
                pace.last = self._last(run_id)
                continue
            if last is not None and not self._base_stands(record, last):
                # Somebody removed it, and with it pieces that were to be shared.
                self.store.delete(key)
                self.drop_pieces(record)
                pace.last = self._last(run_id)
                continue
            if last is not None and self.config.frees_numbers:
                # Another process may have gone on, and its retention may have freed this number again.
                now = self._last(run_id)
                if now is not None and now.sequence > sequence:
                    self._retention.remove(record)
                    pace.last = now
                    continue
            done = Last(sequence, metadata.checkpoint_id, record.manifest)
            self._pacing.written(pace, done, time.monotonic() - began)
            self._retention.make_room(metadata.key, whole_before=pace.whole_in_a_row)
            return checkpoint

    def _mark(self, run_id: str, status: Status, error: str | None = None) -> Checkpoint:
        self.flush(run_id)
        last = self.restore(run_id)
        if last is None:
            raise self.missing(run_id)
        marked = self.create(
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
            force=True,
        )
        assert marked is not None
        return marked

    def _look_after(self) -> None:
        tick = min(self.config.cleanup_interval, self.config.checkpoint_interval or 1.0, 1.0)
        clean_at = time.monotonic() + self.config.cleanup_interval
        while not self._stop.wait(tick):
            try:
                self._flush_overdue()
                if time.monotonic() >= clean_at:
                    clean_at = time.monotonic() + self.config.cleanup_interval
                    self.cleanup()
            except Exception:
                self.failed_cleanups += 1
                logger.exception("Looking after checkpoints failed; it is tried again.")

    def _flush_overdue(self) -> None:
        for run_id in self._pacing.offered():
            try:
                if self._pacing.is_overdue(self._pacing.of(run_id)):
                    self.flush(run_id)
            except CheckpointError:
                self.failed_cleanups += 1
                logger.exception("Run %s: what is due could not be written; tried again.", run_id)

    def _base_stands(self, record: Record, last: Last) -> bool:
        """Whether the checkpoint whose pieces *record* has is there; who removes it later sees that."""
        if record.manifest is None or not record.manifest.base:
            return True
        with suppress(NotFound, Corrupt):
            base = record.key._replace(sequence=last.sequence)
            found = self.serializer.metadata(base, self.store.get(base).header)
            return found.checkpoint_id == last.checkpoint_id
        return False

    def _last(self, run_id: str) -> Last | None:
        """Return the number and the id of the last checkpoint; of a damaged one the number stands.

        Its pieces can be shared if what it shares itself is certain: if the one before it stands still.
        """
        entries = self.store.history(run_id, Kind.MANUAL, limit=2).items
        if not entries:
            return None
        last = entries[0]
        try:
            metadata = self.serializer.metadata(last.key, last.header)
        except Corrupt:
            return Last(last.key.sequence, None)
        manifest = self._retention.manifest(last)
        if manifest is not None and manifest.base:
            with suppress(Corrupt):
                before = [self.serializer.metadata(e.key, e.header) for e in entries[1:]]
                if [each.checkpoint_id for each in before] == [manifest.base]:
                    return Last(metadata.sequence, metadata.checkpoint_id, manifest)
            manifest = None
        return Last(metadata.sequence, metadata.checkpoint_id, manifest)
