"""LangGraph's own conformance suite, and a graph that crashes, on Milepost's stores."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, TypedDict
from uuid import uuid4

import ormsgpack
import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.serde.jsonplus import EXT_CONSTRUCTOR_SINGLE_ARG
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt

from milepost.checkpointing import (
    CheckpointConfig,
    CheckpointManager,
    CheckpointSettings,
    open_store,
)
from milepost.checkpointing.adapters.langgraph import MilepostSaver
from support.s3_server import SeaweedServer, store_url

pytestmark = pytest.mark.filterwarnings("default")


def in_memory(request: pytest.FixtureRequest) -> str:
    return "memory://"


def in_files(request: pytest.FixtureRequest) -> str:
    return f"file://{request.getfixturevalue('tmp_path')}/checkpoints"


def in_sqlite(request: pytest.FixtureRequest) -> str:
    return f"sqlite:///{request.getfixturevalue('tmp_path')}/checkpoints.db"


def in_postgresql(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue("postgres_url"))


def in_redis(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue("redis_url"))


def in_s3(request: pytest.FixtureRequest) -> str:
    server: SeaweedServer = request.getfixturevalue("seaweed_server")
    return store_url(server.endpoint, f"langgraph/{uuid4().hex}")


@pytest.mark.parametrize("place", [in_memory, in_files, in_sqlite, in_postgresql, in_redis, in_s3])
def test_the_whole_of_langgraphs_contract_is_kept(
    request: pytest.FixtureRequest, place: Callable[[pytest.FixtureRequest], str]
) -> None:
    url = place(request)

    @checkpointer_test(name=f"MilepostSaver {url}")
    async def saver() -> AsyncIterator[MilepostSaver]:
        with MilepostSaver(url) as saver:
            yield saver

    report = asyncio.run(validate(saver))
    failures = [failure for result in report.results.values() for failure in result.failures or []]
    assert not failures, "\n".join(failures)
    assert all(result.passed for result in report.results.values())
    assert len(report.results) == 8


class Steps(TypedDict):
    done: Annotated[list[str], operator.add]


def graph(saver: MilepostSaver, crash: list[str]) -> Any:
    """Three nodes; the second crashes as often as *crash* has entries."""

    def second(state: Steps) -> Steps:
        if crash:
            raise RuntimeError(crash.pop())
        return {"done": ["second"]}

    builder = StateGraph(Steps)
    builder.add_node("first", lambda state: {"done": ["first"]})
    builder.add_node("second", second)
    builder.add_node("third", lambda state: {"done": ["third"]})
    builder.add_edge(START, "first")
    builder.add_edge("first", "second")
    builder.add_edge("second", "third")
    builder.add_edge("third", END)
    return builder.compile(checkpointer=saver)


def test_a_graph_goes_on_in_another_process_of_ours(tmp_path: Path) -> None:
    url, config = f"file://{tmp_path}/threads", {"configurable": {"thread_id": "my thread/1"}}
    for crash in (["once"], ["twice"]):
        with MilepostSaver(url) as saver, pytest.raises(RuntimeError):
            graph(saver, crash).invoke(None if crash == ["twice"] else {"done": []}, config)
    with MilepostSaver(url) as saver:
        done = graph(saver, []).invoke(None, config)
        assert done == {"done": ["first", "second", "third"]}
        history = [*graph(saver, []).get_state_history(config)]
        assert [len(state.values["done"]) for state in history] == [3, 2, 1, 0, 0]


def test_a_person_can_be_waited_for_and_time_travelled(redis_url: str) -> None:
    def ask(state: Steps) -> Steps:
        return {"done": [interrupt("go on?")]}

    config: Any = {"configurable": {"thread_id": "t"}}
    with MilepostSaver(redis_url) as saver:
        builder = StateGraph(Steps)
        builder.add_node("ask", ask)
        builder.add_edge(START, "ask")
        asked = builder.compile(checkpointer=saver)
        assert "__interrupt__" in asked.invoke({"done": []}, config)
        assert asked.invoke(Command(resume="yes"), config) == {"done": ["yes"]}
        before = [*asked.get_state_history(config)][1]
        forked = asked.update_state(before.config, {"done": ["another way"]})
        assert asked.get_state(forked).values == {"done": ["another way"]}


def test_async_graphs_do_not_hold_up_the_loop(redis_url: str) -> None:
    async def scene() -> Any:
        with MilepostSaver(redis_url) as saver:
            config = {"configurable": {"thread_id": "t"}}
            return await graph(saver, []).ainvoke({"done": []}, config)

    assert asyncio.run(scene()) == {"done": ["first", "second", "third"]}


def test_ids_that_are_no_times_are_told_apart() -> None:
    with MilepostSaver("memory://") as saver:
        for number in range(12):
            checkpoint = {**empty_checkpoint(), "id": f"checkpoint-{number:02}"}
            config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
            saver.put(config, checkpoint, {"step": number}, {})  # type: ignore[arg-type]
        for number in range(12):
            config = {
                "configurable": {"thread_id": "t", "checkpoint_id": f"checkpoint-{number:02}"}
            }
            found = saver.get_tuple(config)
            assert found is not None
            assert found.metadata["step"] == number


def test_a_checkpoint_written_twice_is_one_and_is_removed_whole() -> None:
    config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    with MilepostSaver("memory://") as saver:
        checkpoint = empty_checkpoint()
        for step in (1, 2, 2):
            saver.put(config, checkpoint, {"step": step}, {})
        (found,) = saver.list(config)
        assert found.metadata["step"] == 2
        last = saver.get_tuple(config)
        assert last is not None
        assert last.metadata["step"] == 2
        for number in range(4):
            alike = {**empty_checkpoint(), "id": f"checkpoint-{number}"}
            saver.put(config, alike, {"step": number, "run_id": f"run-{number}"}, {})  # type: ignore[arg-type]
        saver.delete_for_runs(["run-1"])
        ids = {each.checkpoint["id"] for each in saver.list(config)}
        assert ids == {checkpoint["id"], "checkpoint-0", "checkpoint-2", "checkpoint-3"}
        for each in ids:
            named: Any = {"configurable": {"thread_id": "t", "checkpoint_id": each}}
            assert saver.get_tuple(named) is not None
        saver.prune(["t"])
        assert len([*saver.list(config)]) == 1


def test_versions_rise_and_no_two_tries_give_one() -> None:
    with MilepostSaver("memory://") as saver:
        versions = [saver.get_next_version(None, None)]
        for _ in range(12):
            versions.append(saver.get_next_version(versions[-1], None))
        assert versions == sorted(versions)
        assert saver.get_next_version(versions[3], None) != versions[4]


def test_what_is_written_is_encrypted_where_there_are_keys(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/threads"
    keys = CheckpointSettings.model_validate({"encryption_keys": "a:" + "A" * 43 + "="})
    config = {"configurable": {"thread_id": "t"}}
    with MilepostSaver(url, keys) as saver:
        graph(saver, []).invoke({"done": ["canary"]}, config)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not any(b"canary" in path.read_bytes() for path in files)
    with MilepostSaver(url) as saver, pytest.raises(Exception, match="encrypted"):
        saver.get_tuple(config)  # type: ignore[arg-type]


@pytest.mark.fault("S2")
def test_loading_runs_no_code(tmp_path: Path) -> None:
    """Though whoever can write to the store makes the checksums right."""
    mark = tmp_path / "ran"
    bomb = ormsgpack.packb(
        ormsgpack.Ext(
            EXT_CONSTRUCTOR_SINGLE_ARG, ormsgpack.packb(("os", "system", f"touch {mark}"))
        )
    )
    with MilepostSaver("memory://") as saver:
        config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
        saver.put(config, empty_checkpoint(), {}, {})
        (content,) = [content for _, content in saver._threads.contents("t", "")]
        content["checkpoint"] = ["msgpack", bomb]
        content["id"] = "f" + content["id"][1:]
        saver._threads.put("t", "", content)
        with suppress(Exception):
            saver.get_tuple(config)
    assert not mark.exists()


def test_a_managers_limits_spare_threads(redis_url: str) -> None:
    config: Any = {"configurable": {"thread_id": "t"}}
    with MilepostSaver(redis_url) as saver:
        graph(saver, []).invoke({"done": []}, config)
        before = len([*saver.list(config)])
        limits = CheckpointConfig(max_checkpoints_per_run=1, max_age_seconds=0.000001)
        with CheckpointManager(redis_url, config=limits) as manager:
            assert manager.cleanup() == 0
        assert len([*saver.list(config)]) == before > 2


def test_a_thread_that_was_deleted_elsewhere_is_listed_again(redis_url: str) -> None:
    config: Any = {"configurable": {"thread_id": "t"}}
    with MilepostSaver(redis_url) as one, MilepostSaver(redis_url) as two:
        graph(one, []).invoke({"done": []}, config)
        two.delete_thread("t")
        graph(one, []).invoke({"done": []}, config)
        assert len([*two.list(config)]) > 2
        assert len([*two.list(None)]) > 2


def test_threads_do_not_meet_runs(redis_url: str) -> None:
    with MilepostSaver(redis_url) as saver, open_store(redis_url) as store:
        graph(saver, []).invoke({"done": []}, {"configurable": {"thread_id": "t"}})
        assert store.runs().items == ("lg-t",)
        assert [*{found.config["configurable"]["thread_id"] for found in saver.list(None)}] == ["t"]
        saver.delete_thread("t")
        assert store.runs().items == ()
