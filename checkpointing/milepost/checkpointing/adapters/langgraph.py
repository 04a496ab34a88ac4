"""A LangGraph checkpointer on any of Milepost's stores.

from milepost.checkpointing.adapters.langgraph import MilepostSaver

with MilepostSaver("redis://localhost:6379/0") as saver:
    graph = builder.compile(checkpointer=saver)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from secrets import token_hex
from typing import Any

from langchain_core.runnables import RunnableConfig

from ..closing import Closing
from ..errors import MissingExtra
from ..serializer import Serializer
from ..settings import CheckpointSettings
from ..stores import CheckpointStore, open_store
from .langgraph_threads import Threads

try:
    from langgraph.checkpoint import base
    from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
except ImportError:
    raise MissingExtra("The LangGraph checkpointer", "langgraph") from None

_Writes = list[base.PendingWrite]
_Written = list[Any]


class MilepostSaver(base.BaseCheckpointSaver[Any], Closing):
    """LangGraph's whole contract, synchronous and awaitable, on one store.

    Each put is durable when it returns, as the store is. Deleting, copying and pruning of threads, and
    deletion by run, are there, too; pruning spares what delta channels are rebuilt from.

    Args:
        store: A store, or the URL of one.
        settings: Codec, compression and encryption of what is written; by default the ``MILEPOST_…``
            variables.
        serde: How LangGraph turns values into bytes; by default its `JsonPlusSerializer`, restricted to its
            safe types and those of the graph's own schema. Loading runs nothing else.
    """

    def __init__(
        self,
        store: CheckpointStore | str,
        settings: CheckpointSettings | None = None,
        *,
        serde: Any = None,
    ) -> None:
        # LangGraph's own default makes any class that the bytes name.
        super().__init__(serde=serde or JsonPlusSerializer(allowed_msgpack_modules=None))
        serializer = Serializer(settings)
        self._store = open_store(store, settings) if isinstance(store, str) else store
        self._threads = Threads(self._store, serializer)

    def get_tuple(self, config: RunnableConfig) -> base.CheckpointTuple | None:
        """Return the checkpoint that *config* names, or the last of its thread and namespace."""
        thread, namespace, wanted = _named(config)
        if wanted is not None:
            found = self._threads.find(thread, namespace, wanted)
            return None if found is None else self._tuple(thread, namespace, found[1])
        last = self._threads.last(thread, namespace)
        return None if last is None else self._tuple(thread, namespace, last)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[base.CheckpointTuple]:
        """List checkpoints, newest first within a namespace; *filter* is matched with their metadata."""
        left = float("inf") if limit is None else limit
        below = base.get_checkpoint_id(before) if before else None
        for thread, namespace in self._places(config):
            wanted = base.get_checkpoint_id(config) if config else None
            for _, content in self._threads.contents(thread, namespace):
                if left <= 0:
                    return
                skipped = (wanted and content["id"] != wanted) or (below and content["id"] >= below)
                if skipped or not self._matches(content, filter):
                    continue
                left -= 1
                yield self._tuple(thread, namespace, content)

    def put(
        self,
        config: RunnableConfig,
        checkpoint: base.Checkpoint,
        metadata: base.CheckpointMetadata,
        new_versions: base.ChannelVersions,
    ) -> RunnableConfig:
        """Write a checkpoint; the one that *config* names is its parent."""
        thread, namespace, parent = _named(config)
        content = {
            "thread": thread,
            "namespace": namespace,
            "id": checkpoint["id"],
            "parent": parent,
            "checkpoint": self._dumped(checkpoint),
            "metadata": self._dumped(base.get_checkpoint_metadata(config, metadata)),
        }
        if parent is None:
            self._threads.know(thread, namespace)
        self._threads.put(thread, namespace, content)
        return _config(thread, namespace, checkpoint["id"])

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Write what a task has done since the checkpoint that *config* names."""
        thread, namespace, checkpoint_id = _named(config)
        content = {
            "task": task_id,
            "path": task_path,
            "writes": [
                [base.WRITES_IDX_MAP.get(channel, index), channel, *self._dumped(value)]
                for index, (channel, value) in enumerate(writes)
            ],
        }
        self._threads.put_writes(thread, namespace, str(checkpoint_id), content)

    def delete_thread(self, thread_id: str) -> None:
        """Remove a thread with all it has."""
        self._threads.delete(thread_id)

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Remove the checkpoints that these runs of LangGraph have made; reads all threads."""
        for thread, namespace in [*self._places(None)]:
            for _, content in [*self._threads.contents(thread, namespace)]:
                if self._loaded(content["metadata"]).get("run_id") in run_ids:
                    self._threads.remove(thread, namespace, content["id"])

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy a thread with all its checkpoints and writes."""
        for namespace in self._threads.namespaces(source_thread_id):
            self._threads.know(target_thread_id, namespace)
            for _, content in reversed([*self._threads.contents(source_thread_id, namespace)]):
                self._threads.put(
                    target_thread_id, namespace, {**content, "thread": target_thread_id}
                )
                for written in self._threads.writes(source_thread_id, namespace, content["id"]):
                    self._threads.put_writes(target_thread_id, namespace, content["id"], written)

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Keep the last checkpoint of each namespace, and what its delta channels need; or ``delete`` all."""
        for thread in thread_ids:
            if strategy == "delete":
                self.delete_thread(thread)
                continue
            for namespace in self._threads.namespaces(thread):
                contents = [*self._threads.contents(thread, namespace)]
                kept = self._needed({content["id"]: content for _, content in contents})
                for _, content in contents:
                    if content["id"] not in kept:
                        self._threads.remove(thread, namespace, content["id"])

    async def aget_tuple(self, config: RunnableConfig) -> base.CheckpointTuple | None:
        """Await `get_tuple`."""
        return await asyncio.to_thread(self.get_tuple, config)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[base.CheckpointTuple]:
        """Await `list`, item by item."""
        items = self.list(config, filter=filter, before=before, limit=limit)
        while (item := await asyncio.to_thread(next, items, None)) is not None:
            yield item

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: base.Checkpoint,
        metadata: base.CheckpointMetadata,
        new_versions: base.ChannelVersions,
    ) -> RunnableConfig:
        """Await `put`."""
        return await asyncio.to_thread(self.put, config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Await `put_writes`."""
        await asyncio.to_thread(self.put_writes, config, writes, task_id, task_path)

    async def adelete_thread(self, thread_id: str) -> None:
        """Await `delete_thread`."""
        await asyncio.to_thread(self.delete_thread, thread_id)

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Await `delete_for_runs`."""
        await asyncio.to_thread(self.delete_for_runs, run_ids)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Await `copy_thread`."""
        await asyncio.to_thread(self.copy_thread, source_thread_id, target_thread_id)

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Await `prune`."""
        await asyncio.to_thread(lambda: self.prune(thread_ids, strategy=strategy))

    def get_next_version(self, current: Any, channel: None) -> str:
        """Return a version that sorts behind *current*, and that no other try has given."""
        number = int(str(current).split(".")[0]) if current is not None else 0
        return f"{number + 1:032}.{token_hex(8)}"

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def _tuple(
        self, thread: str, namespace: str, content: Mapping[str, Any]
    ) -> base.CheckpointTuple:
        parent = content["parent"]
        return base.CheckpointTuple(
            config=_config(thread, namespace, content["id"]),
            checkpoint=self._loaded(content["checkpoint"]),
            metadata=self._loaded(content["metadata"]),
            parent_config=_config(thread, namespace, parent) if parent else None,
            pending_writes=self._writes(thread, namespace, content["id"]),
        )

    def _writes(self, thread: str, namespace: str, checkpoint_id: str) -> _Writes:
        found: dict[tuple[str, str, int], base.PendingWrite] = {}
        for written in self._threads.writes(thread, namespace, checkpoint_id):
            for index, channel, kind, value in written["writes"]:
                place = base.writes_sort_key(written["path"], written["task"], index)
                # Of a task's own writes the first stays; errors and interrupts are written over.
                if index < 0 or place not in found:
                    found[place] = (written["task"], channel, self._loaded([kind, value]))
        return [found[place] for place in sorted(found)]

    def _needed(self, contents: Mapping[str, Mapping[str, Any]]) -> set[str]:
        """Return the last checkpoint's id, and those of the ancestors that its delta channels go back to."""
        current: str | None = max(contents, default=None)
        kept: set[str] = set()
        missing: set[str] | None = None
        while current in contents and (missing is None or missing):
            kept.add(str(current))
            checkpoint = self._loaded(contents[str(current)]["checkpoint"])
            values = checkpoint["channel_values"]
            missing = set(checkpoint["channel_versions"] if missing is None else missing) - set(
                values
            )
            if not any(self._is_delta(contents, channel) for channel in missing):
                break
            current = contents[str(current)]["parent"]
        return kept

    def _is_delta(self, contents: Mapping[str, Mapping[str, Any]], channel: str) -> bool:
        metadata = (self._loaded(content["metadata"]) for content in contents.values())
        return any(channel in each.get("counters_since_delta_snapshot", {}) for each in metadata)

    def _places(self, config: RunnableConfig | None) -> Iterator[tuple[str, str]]:
        """Return the threads and namespaces that *config* may mean."""
        for thread in [_named(config)[0]] if config else self._threads.threads():
            if config and "checkpoint_ns" in config["configurable"]:
                yield thread, config["configurable"]["checkpoint_ns"]
            else:
                yield from ((thread, namespace) for namespace in self._threads.namespaces(thread))

    def _matches(self, content: Mapping[str, Any], wanted: Mapping[str, Any] | None) -> bool:
        if not wanted:
            return True
        metadata = self._loaded(content["metadata"])
        return all(metadata.get(name) == value for name, value in wanted.items())

    def _dumped(self, value: Any) -> _Written:
        return [*self.serde.dumps_typed(value)]

    def _loaded(self, written: Sequence[Any]) -> Any:
        return self.serde.loads_typed((written[0], written[1]))


def _named(config: RunnableConfig) -> tuple[str, str, str | None]:
    """Return the thread, the namespace and the id that a configuration names."""
    named = config["configurable"]
    return str(named["thread_id"]), named.get("checkpoint_ns", ""), named.get("checkpoint_id")


def _config(thread: str, namespace: str, checkpoint_id: str) -> RunnableConfig:
    return {
        "configurable": {
            "thread_id": thread,
            "checkpoint_ns": namespace,
            "checkpoint_id": checkpoint_id,
        }
    }
