"""What workers log as JSON, whoever logs it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from acceptance.arena import Arena
from support.processes import Worker
from support.shell import COMMAND, environment, milepost
from support.waiting import eventually

LOGGING_APP = """
from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

from milepost.tasks import Context, Milepost
from celery.utils.log import get_task_logger

app = Milepost()
noisy = app.pipeline("noisy")
theirs = logging.getLogger("theirs.deep")


@noisy.stage
def loud(state: dict, ctx: Context) -> dict:
    theirs.warning("from their logger %d", 1, extra={"shop": "Ångström"})
    ctx.log.warning("from ctx.log")
    get_task_logger("anything").warning("from a task logger")
    print("from print")
    theirs.warning(ctx.run_id + "\\r\\n" + '{"message": "forged"}')
    with ThreadPoolExecutor(1) as pool:
        pool.submit(copy_context().run, theirs.warning, "from a thread").result()
    return state


@noisy.stage
async def together(state: dict, ctx: Context) -> dict:
    async def say(n: int) -> None:
        await asyncio.sleep(0)
        theirs.warning("from coroutine %d of %s", n, ctx.run_id)
    await asyncio.gather(*(say(n) for n in range(3)))
    return state


@noisy.stage
def fail(state: dict) -> dict:
    raise ValueError("no good")
"""


@pytest.fixture
def arena(tmp_path: Path) -> Iterator[Arena]:
    (tmp_path / "logging_app.py").write_text(LOGGING_APP)
    with Arena(tmp_path) as arena:
        yield arena


def lines(text: str) -> list[dict[str, Any]]:
    """Read each line that is an object: before logging is set up, Celery greets in plain text."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def check(text: str, run_ids: list[str]) -> None:
    found = lines(text)
    for run_id in run_ids:
        mine = {line["message"]: line for line in found if line.get("run_id") == run_id}
        for message, logger in (
            ("from their logger 1", "theirs.deep"),
            ("from ctx.log", "milepost.noisy"),
            ("from a task logger", "anything"),
            ("from print", "celery.redirected"),
            ("from a thread", "theirs.deep"),
        ):
            line = mine[message]
            about = {name: line[name] for name in ("level", "logger", "stage", "attempt")}
            assert about == {"level": "WARNING", "logger": logger, "stage": "loud", "attempt": 1}
            assert datetime.fromisoformat(line["time"]).tzinfo is not None
            assert line["worker"].rpartition(":")[2].isdigit()
        assert mine["from their logger 1"]["shop"] == "Ångström"
        assert len(mine["from ctx.log"]["task_id"]) == 32
        assert mine["from ctx.log"]["task"] == "noisy.loud"
        for n in range(3):
            assert mine[f"from coroutine {n} of {run_id}"]["stage"] == "together"
    [failed] = [line for line in found if "ValueError('no good')" in line["message"]][:1]
    assert failed["level"] == "ERROR"
    assert failed["run_id"] in run_ids
    assert "in fail" in failed["traceback"]
    assert all("message" in line for line in found)
    assert not [line for line in found if line["message"] == "forged"]
    whole = {f'{run_id}\r\n{{"message": "forged"}}' for run_id in run_ids}
    assert whole <= {line["message"] for line in found}


@pytest.mark.fault("S16")
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_plain_celery_logs_json(arena: Arena, pool: Any) -> None:
    """The variable is enough; threads keep their runs apart."""
    env = {**arena.env, "MILEPOST_LOG_FORMAT": "json"}
    with Worker("logging_app", arena.folder, env, pool=pool, concurrency=2) as worker:
        worker.wait_ready()
        for n in range(4):
            words = ("start", "noisy", "{}", "-A", "logging_app", "--run-id", f"run-{n}")
            assert milepost(arena.folder, arena.env, *words).returncode == 0
        eventually(lambda: worker.text().count("no good") >= 4, 30, worker.text)
        eventually(
            lambda: sum("ValueError('no good')" in x["message"] for x in lines(worker.text())) >= 4
        )
        check(worker.text(), [f"run-{n}" for n in range(4)])


def test_the_command_logs_json(arena: Arena) -> None:
    """By its option."""
    log = arena.folder / "worker.log"
    with log.open("wb") as out:
        worker = subprocess.Popen(
            [*COMMAND, "worker", "-A", "logging_app", "-c", "1", "--log-format", "json"],
            cwd=arena.folder,
            env=environment(arena.env),
            stdout=out,
            stderr=out,
        )
    try:
        words = ("start", "noisy", "{}", "-A", "logging_app", "--run-id", "mine", "--watch")
        assert milepost(arena.folder, arena.env, *words).returncode == 1
        eventually(
            lambda: any("ValueError('no good')" in x["message"] for x in lines(log.read_text()))
        )
        check(log.read_text(), ["mine"])
    finally:
        worker.terminate()
        worker.wait(30)
