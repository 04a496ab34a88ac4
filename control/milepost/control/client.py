"""A client of the HTTP API, for programs that have no access to the stores."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from milepost.checkpointing import CheckpointMetadata
from milepost.checkpointing.ids import valid_name

from .api.documents import (
    Batch,
    BulkDocument,
    CheckpointDocument,
    CheckpointsPage,
    Failures,
    KeyDocument,
    KeyList,
    NewKeyDocument,
    NoteDocument,
    Notes,
    PipelineDocument,
    Pipelines,
    RunDocument,
    RunsPage,
    StateDocument,
)
from .api.fleet_documents import QueueDocument, Queues, WorkerDocument, Workers
from .client_events import RunEvent, read_events
from .client_requests import Requests, listed, plain

_LONGEST_WAIT = 50.0


class Client(Requests):
    """All of the HTTP API, with the library's own errors.

    Requests that may be repeated are: reads, and starts, which carry an idempotency key. Commands are not,
    because the first may have been done.

    Args:
        url: Where ``milepost api`` serves, such as ``http://127.0.0.1:8400``.
        key: As `milepost keys create` prints it.
        timeout: Seconds for one request.
        retries: How often a request that may be repeated is, when the server cannot be reached, does not
            answer, or says that it is busy.
        http: An httpx client of your own, for proxies and certificates; its address and headers are used.

    Raises, from everything:
        MilepostError: The error that the library raises for the same; `Refused` if the key does not allow it.
        Unavailable: The server or its stores do not answer.
    """

    def pipelines(self) -> tuple[PipelineDocument, ...]:
        """Return what can be started there."""
        return self._read("/v1/pipelines", Pipelines).items

    def start(
        self,
        pipeline: str,
        state: Any = None,
        *,
        run_id: str | None = None,
        idempotency_key: str | None = None,
        **options: Any,
    ) -> RunDocument:
        """Start a run; repeating it after a lost answer starts no second one.

        Args:
            run_id, idempotency_key: One of them, or neither, for a fresh run.
            **options: `tags`, `priority`, `delay` or `at`, `budget`, `tenant`, as `Pipeline.start` has them.
        """
        body: dict[str, Any] = {"state": state, **plain(options)}
        key = idempotency_key
        if run_id is not None:
            body["run_id"] = run_id
        elif key is None:
            key = uuid4().hex
        path = f"/v1/pipelines/{valid_name(pipeline, 'pipeline')}/runs"
        return self._post(path, body, RunDocument, key=key, repeat=True)

    def start_many(
        self,
        pipeline: str,
        states: Sequence[Any],
        *,
        run_ids: Sequence[str] | None = None,
        idempotency_key: str | None = None,
        **options: Any,
    ) -> Batch:
        """Start up to a thousand runs; the answer says for each what became of it."""
        names = [None] * len(states) if run_ids is None else run_ids
        runs = [
            {"state": state} | ({} if name is None else {"run_id": name})
            for state, name in zip(states, names, strict=True)
        ]
        key = idempotency_key or (uuid4().hex if run_ids is None else None)
        body = {"runs": runs, **plain(options)}
        return self._post(
            f"/v1/pipelines/{valid_name(pipeline, 'pipeline')}/runs:batch",
            body,
            Batch,
            key=key,
            repeat=True,
        )

    def run(self, run_id: str) -> RunDocument:
        """Return how a run stands."""
        return self._read(f"/v1/runs/{valid_name(run_id)}", RunDocument)

    def runs(self, *, limit: int | None = None, **conditions: Any) -> Iterator[RunDocument]:
        """Yield runs, youngest first, a page at a time.

        Args:
            limit: So many at most.
            **conditions: `status` (one or several), `pipeline`, `stage`, `group`, `tag`, `tenant`, `since`,
                `until`.
        """
        asked = plain(conditions)
        left = limit
        while left is None or left > 0:
            asked["limit"] = 500 if left is None else min(500, left)
            page = self._read("/v1/runs", RunsPage, asked)
            yield from page.items
            left = None if left is None else left - len(page.items)
            if page.cursor is None:
                return
            asked["cursor"] = page.cursor

    def wait(self, run_id: str, timeout: float | None = None) -> RunDocument:
        """Return the run when it has ended, well or not, or needs a decision.

        Raises:
            TimeoutError: Not in so many seconds; it goes on.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            left = _LONGEST_WAIT if end is None else max(0.0, end - time.monotonic())
            slice_ = min(_LONGEST_WAIT, left)
            run = self._read(
                f"/v1/runs/{valid_name(run_id)}/wait",
                RunDocument,
                {"timeout": slice_},
                timeout=slice_ + 10,
            )
            parked = run.status == "paused" and run.error is not None
            if run.ended or parked:
                return run
            if end is not None and time.monotonic() >= end:
                raise TimeoutError(f"Run {run_id} is {run.status} after {timeout:g} s.")

    def state(self, run_id: str) -> Any:
        """Return the current state as JSON: the result, when the run has completed."""
        return self._read(f"/v1/runs/{valid_name(run_id)}/state", StateDocument).state

    def checkpoints(self, run_id: str, *, kind: str = "commit") -> Iterator[CheckpointMetadata]:
        """Yield what is known of a run's checkpoints, the last first."""
        asked: dict[str, Any] = {"limit": 100, "kind": kind}
        while True:
            page = self._read(f"/v1/runs/{valid_name(run_id)}/checkpoints", CheckpointsPage, asked)
            yield from page.items
            if page.cursor is None:
                return
            asked["cursor"] = page.cursor

    def checkpoint(self, run_id: str, checkpoint_id: str) -> CheckpointDocument:
        """Return one checkpoint with its state."""
        return self._read(
            f"/v1/runs/{valid_name(run_id)}/checkpoints/{valid_name(checkpoint_id)}",
            CheckpointDocument,
        )

    def notes(self, run_id: str | None = None, limit: int = 100) -> tuple[NoteDocument, ...]:
        """Return who did what, to a run or to all, newest first."""
        path = "/v1/notes" if run_id is None else f"/v1/runs/{valid_name(run_id)}/notes"
        return self._read(path, Notes, {"limit": limit}).items

    def retry(self, run_id: str, **condition: str) -> RunDocument:
        """Let a failed or scheduled run move now.

        Args:
            **condition: `if_match`, an ETag, here and below.
        """
        return self._command(run_id, "retry", **condition)

    def pause(self, run_id: str, **condition: str) -> RunDocument:
        """Stop a run before its next stage."""
        return self._command(run_id, "pause", **condition)

    def resume(self, run_id: str, **condition: str) -> RunDocument:
        """Let a paused run go on."""
        return self._command(run_id, "resume", **condition)

    def cancel(self, run_id: str, **condition: str) -> RunDocument:
        """End a run."""
        return self._command(run_id, "cancel", **condition)

    def skip(self, run_id: str, **condition: str) -> RunDocument:
        """Go on behind the stage due."""
        return self._command(run_id, "skip", **condition)

    def rewind(
        self,
        run_id: str,
        stage: str | None = None,
        *,
        checkpoint_id: str | None = None,
        **condition: str,
    ) -> RunDocument:
        """Go on from before a stage, or from a commit."""
        body = {"stage": stage} if checkpoint_id is None else {"checkpoint_id": checkpoint_id}
        return self._command(run_id, "rewind", body, **condition)

    def edit(
        self, run_id: str, state: Any = None, *, patch: Any = None, **condition: str
    ) -> RunDocument:
        """Replace the state that the stage due gets, or change it by a JSON merge patch."""
        body = {"state": state} if patch is None else {"patch": patch}
        return self._command(run_id, "edit", body, **condition)

    def top_up(self, run_id: str, amounts: Mapping[str, float], **condition: str) -> RunDocument:
        """Raise limits of a run's budget."""
        return self._command(run_id, "top-up", {"amounts": dict(amounts)}, **condition)

    def fork(
        self, run_id: str, stage: str | None = None, *, as_run: str | None = None, **condition: str
    ) -> RunDocument:
        """Start another run from what this one had before a stage, and return it."""
        return self._command(run_id, "fork", plain({"stage": stage, "run_id": as_run}), **condition)

    def delete(self, run_id: str, *, if_match: str | None = None) -> None:
        """Forget a run that has ended or is paused."""
        headers = {} if if_match is None else {"If-Match": if_match}
        self._send("DELETE", f"/v1/runs/{valid_name(run_id)}", headers=headers)

    def bulk(
        self,
        command: str,
        query: Mapping[str, Any],
        *,
        arguments: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> BulkDocument:
        """Do a command on every run that *query* finds.

        Args:
            query: As the conditions of `runs`.
            **options: `dry_run`, `rate_per_second`, `limit`, `yes`.
        """
        body = {"command": command, "query": listed(query), **plain(options)}
        if arguments:
            body["arguments"] = dict(arguments)
        return self._post("/v1/bulk", body, BulkDocument, timeout=3600)

    def failures(self, limit: int = 100) -> Failures:
        """Return failed runs by cause, and those that keep losing their workers."""
        return self._read("/v1/failures", Failures, {"limit": limit})

    def workers(self) -> tuple[WorkerDocument, ...]:
        """Return the workers."""
        return self._read("/v1/workers", Workers).items

    def drain(self, worker: str) -> None:
        """Let a worker finish and leave."""
        self._send("POST", f"/v1/workers/{quote(worker, safe='')}/drain")

    def queues(self) -> tuple[QueueDocument, ...]:
        """Return the queues."""
        return self._read("/v1/queues", Queues).items

    def pause_queue(self, queue: str) -> None:
        """Let no worker take from a queue."""
        self._send("POST", f"/v1/queues/{quote(queue, safe='')}/pause")

    def resume_queue(self, queue: str) -> None:
        """Let workers take from a queue again."""
        self._send("POST", f"/v1/queues/{quote(queue, safe='')}/resume")

    def keys(self) -> tuple[KeyDocument, ...]:
        """Return all keys, without their secrets."""
        return self._read("/v1/keys", KeyList).items

    def create_key(
        self, name: str, scope: str, *, tenant: str | None = None, seconds: float | None = None
    ) -> NewKeyDocument:
        """Make a key; `key` of the answer is its text."""
        body = {"name": name, "scope": scope, "tenant": tenant, "expires_seconds": seconds}
        return self._post("/v1/keys", plain(body), NewKeyDocument)

    def revoke_key(self, key_id: str) -> None:
        """Let a key be good no more."""
        self._send("DELETE", f"/v1/keys/{valid_name(key_id)}")

    def events(
        self, run_id: str | None = None, *, after: str | None = None, **conditions: Any
    ) -> Iterator[RunEvent]:
        """Yield how a run stands, now and whenever that has changed, until it has ended; or all, for good.

        A broken connection is made again, and what was missed is sent then.

        Args:
            after: The `id` of the last event seen.
            **conditions: Without *run_id*: as those of `runs`.
        """
        path = "/v1/events" if run_id is None else f"/v1/runs/{valid_name(run_id)}/events"
        return read_events(self._http, path, plain(conditions), after, self._retries)

    def _command(
        self, run_id: str, name: str, body: Any = None, *, if_match: str | None = None
    ) -> RunDocument:
        headers = {} if if_match is None else {"If-Match": if_match}
        answer = self._send(
            "POST", f"/v1/runs/{valid_name(run_id)}/{name}", json=body, headers=headers
        )
        return RunDocument.model_validate_json(answer.content)
