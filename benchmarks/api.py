"""The HTTP API: status requests on kept connections, and how many event streams it holds."""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from milepost.control.api.keys import Keys, Scope
from milepost.tasks import Milepost

from .finding import Finding, finding

NAME = "api"
_REPEATS = 3
_SECONDS = 4.0
_CONNECTIONS = 16
_RUNS = 1_000
_STREAMS = 500


def measure(url: str, folder: Path, repeats: int | None) -> list[Finding]:
    """Measure a real server on a real Redis; the load comes from another process's sockets."""
    app = Milepost(url)
    pipeline = app.pipeline("looked-at")
    pipeline.stage(name="only")(_nothing)
    ids = [f"bench-{number}" for number in range(_RUNS)]
    pipeline.start_many([{"n": 1}] * _RUNS, run_ids=ids, delay="1d")
    key, _ = Keys(app.runs).create("bench", Scope.OPERATE)
    rates, latencies = [], list[float]()
    with served(url, folder) as address:
        for _ in range(repeats or _REPEATS):
            taken = asyncio.run(_load(address, key))
            rates.append(len(taken) / _SECONDS)
            latencies += taken
        heard = [asyncio.run(_streams(app, address, key)) for _ in range(repeats or _REPEATS)]
    latencies.sort()
    p50, p99 = (1000 * latencies[int(len(latencies) * part)] for part in (0.5, 0.99))
    app.close()
    note = f"{_CONNECTIONS} connections; p50 {p50:.1f} ms, p99 {p99:.1f} ms"
    return [
        finding(NAME, "status requests a second", "/s", rates, at_least=1000.0, note=note),
        finding(
            NAME,
            f"of {_STREAMS} event streams of one run, those that hear of a change",
            "",
            [float(number) for number, _ in heard],
            at_least=float(_STREAMS),
            note=f"the last after {statistics.median(s for _, s in heard):.2f} s",
        ),
    ]


def _nothing(state: dict[str, int]) -> dict[str, int]:
    return state


@contextmanager
def served(url: str, folder: Path) -> Iterator[str]:
    """Run ``milepost api`` and yield its host and port."""
    settings = {"MILEPOST_API_RATE_PER_SECOND": "0", "MILEPOST_API_STREAMS_PER_KEY": f"{_STREAMS}"}
    env = {**os.environ, "MILEPOST_URL": url, **settings}
    command = [sys.executable, "-m", "milepost.control.cli", "api", "--port", "0"]
    with (folder / "api.log").open("ab") as log:
        process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=log, text=True)
        assert process.stdout is not None
        address = process.stdout.readline().split("//")[-1].split("/")[0]
        try:
            _wait(address)
            yield address
        finally:
            process.terminate()
            process.wait()


def _wait(address: str) -> None:
    end = time.monotonic() + 10
    while True:
        try:
            httpx.get(f"http://{address}/readyz").raise_for_status()
            return
        except httpx.HTTPError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


async def _load(address: str, key: str) -> list[float]:
    """Return how long each request took."""
    requests = [
        (
            f"GET /v1/runs/bench-{number} HTTP/1.1\r\nHost: {address}\r\n"
            f"Authorization: Bearer {key}\r\n\r\n"
        ).encode()
        for number in range(_RUNS)
    ]
    taken: list[float] = []
    end = time.perf_counter() + _SECONDS

    async def client() -> None:
        reader, writer = await _connect(address)
        while (began := time.perf_counter()) < end:
            writer.write(random.choice(requests))
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
            taken.append(time.perf_counter() - began)
        writer.close()

    await asyncio.gather(*(client() for _ in range(_CONNECTIONS)))
    return taken


async def _streams(app: Milepost, address: str, key: str) -> tuple[int, float]:
    """Open streams, change the run, and return how many heard of it, and when the last did."""
    run = app.run("bench-0")
    run.resume() if run.status == "paused" else None
    request = (
        f"GET /v1/runs/{run.id}/events HTTP/1.1\r\nHost: {address}\r\n"
        f"Authorization: Bearer {key}\r\n\r\n"
    ).encode()
    opened: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    for _ in range(_STREAMS):
        reader, writer = await _connect(address)
        writer.write(request)
        opened.append((reader, writer))
    await asyncio.gather(*(reader.readuntil(b'"status":"') for reader, _ in opened))
    began = time.perf_counter()
    await asyncio.to_thread(run.pause)

    async def hear(reader: asyncio.StreamReader) -> bool:
        try:
            async with asyncio.timeout(10):
                await reader.readuntil(b'"status":"paused"')
        except (TimeoutError, asyncio.IncompleteReadError):
            return False
        return True

    heard = sum(await asyncio.gather(*(hear(reader) for reader, _ in opened)))
    took = time.perf_counter() - began
    for _, writer in opened:
        writer.close()
    return heard, took


async def _connect(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = address.rpartition(":")
    return await asyncio.open_connection(host, int(port))
