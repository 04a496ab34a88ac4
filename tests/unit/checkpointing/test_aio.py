"""The awaitable names: an agent that crashes twice and goes on, and a loop that is not held up."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from milepost.checkpointing import CheckpointManager as SyncManager
from milepost.checkpointing import Record
from milepost.checkpointing.aio import (
    CheckpointConfig,
    CheckpointManager,
    CheckpointStore,
    FileCheckpointStore,
    InMemoryCheckpointStore,
    Status,
)


async def agent(store: CheckpointStore, *, crash_at: int | None = None) -> list[int]:
    """Do ten steps, each once; return those done in this life."""
    manager = CheckpointManager(
        store, config=CheckpointConfig(auto_checkpoint=True, max_checkpoints_per_run=10)
    )
    await manager.start()
    done: list[int] = []
    checkpoint = await manager.restore("run-1")
    if checkpoint is None:
        state: dict[str, Any] = {"step": 0}
        messages: list[Any] = []
    else:
        state, messages = checkpoint.state, checkpoint.messages
    try:
        for step in range(state["step"], 10):
            if step == crash_at:
                raise RuntimeError("crash")
            done.append(step)
            state["step"] = step + 1
            messages.append({"role": "assistant", "content": f"step {step}"})
            made = await manager.create(
                run_id="run-1",
                state=state,
                messages=messages,
                tool_calls=[{"name": "search"}],
                context={"user_id": "u"},
                step_name=f"step_{step}",
                tags=["agent"],
                ttl_seconds=3600,
            )
            assert made is not None
            assert made.metadata.sequence == len(messages) - 1
            assert not made.metadata.is_expired
        await manager.mark_completed("run-1")
    finally:
        await manager.stop()
    return done


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_a_loop_goes_on_where_it_crashed_twice(kind: str, tmp_path: Path) -> None:
    """FastAgentic repeats finished steps at each further crash (FA-D3)."""

    def opened() -> CheckpointStore:
        return memory if kind == "memory" else FileCheckpointStore(tmp_path / "checkpoints")

    memory = InMemoryCheckpointStore()
    done: list[int] = []
    for crash_at in (5, 8, None):
        store = opened()
        if crash_at is None:
            done += asyncio.run(agent(store))
        else:
            with pytest.raises(RuntimeError):
                asyncio.run(agent(store, crash_at=crash_at))
            last = SyncManager(store).restore("run-1")
            assert last is not None
            done = [*range(last.state["step"])]
    assert done == [*range(10)]
    reader = SyncManager(opened())
    last = reader.restore("run-1")
    assert last is not None
    assert last.metadata.status is Status.COMPLETED
    assert len(last.messages) == 10
    assert len(reader.list_checkpoints("run-1")) == 10


def test_all_names_of_the_manager_are_there() -> None:
    names = {name for name, _ in inspect.getmembers(SyncManager) if not name.startswith("_")}
    streams = {"open_blob", "write_blob"}
    engines = {"put", "put_pieces", "drop_pieces", "delete_blobs", "expire_blobs", "thin"}
    assert names - set(dir(CheckpointManager)) == {"find", "missing"} | streams | engines


def test_the_loop_goes_on_while_the_store_is_slow() -> None:
    class Slow(InMemoryCheckpointStore):
        released = Event()

        def put(self, record: Record) -> None:
            assert self.released.wait(30)
            super().put(record)

    async def scene() -> int:
        async with CheckpointManager(Slow()) as manager:
            writing = asyncio.create_task(manager.create("run", 1))
            turns = 0
            while turns < 100:
                await asyncio.sleep(0)
                turns += 1
            assert not writing.done()
            Slow.released.set()
            await writing
            return turns

    assert asyncio.run(scene()) == 100


def test_a_failure_is_kept_and_raised() -> None:
    async def scene() -> Any:
        async with CheckpointManager("memory://") as manager:
            await manager.create("run", {"a": 1})
            with pytest.raises(ValueError, match="no"):
                async with manager.failures_kept("run"):
                    raise ValueError("no")
            with pytest.raises(ValueError, match="no"):
                async with manager.failures_kept("nobody"):
                    raise ValueError("no")
            return await manager.restore("run")

    assert asyncio.run(scene()).metadata.error == "ValueError: no"
