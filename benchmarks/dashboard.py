"""What the dashboard's first view costs, with as many runs as a busy fleet keeps."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import redis
import uvicorn
from fastapi import FastAPI
from playwright.sync_api import Browser, sync_playwright

from milepost.checkpointing.redis_connection import prefix_of
from milepost.control.api.keys import Keys, Scope
from milepost.control.dashboard import Site, routes
from milepost.tasks import Head, Milepost, RunStatus

from .finding import Finding, finding

NAME = "dashboard"
RUNS = 100_000
_BATCH = 2_000
_STATUSES = (
    *[RunStatus.COMPLETED] * 16,
    *[RunStatus.FAILED] * 2,
    RunStatus.QUEUED,
    RunStatus.PAUSED,
)


def measure(url: str, folder: Path, repeats: int | None) -> list[Finding]:
    """Open ``/runs`` in a new browser profile, signed in, over and over."""
    with redis.Redis.from_url(url) as client:
        client.flushall()
    app = Milepost(url)
    _fill(app)
    api = FastAPI(openapi_url=None)
    api.include_router(routes(Site(app)))
    server = uvicorn.Server(uvicorn.Config(api, host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    key, _ = Keys(app.runs).create("benchmark", Scope.ADMIN)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path="/usr/bin/chromium",
                args=["--no-sandbox", "--disable-gpu", "--disable-quic"],
            )
            views = [_view(browser, f"http://127.0.0.1:{port}", key) for _ in range(repeats or 15)]
            browser.close()
    finally:
        server.should_exit = True
        thread.join()
        app.close()
    note = f"{RUNS:,} runs in Redis, an empty cache"
    parts = (
        ("first view of /runs: all bytes", "KB", "kilobytes", 200),
        ("until it is loaded", "ms", "loaded", 1000),
        ("until its first byte: the server's part", "ms", "answered", None),
    )
    return [
        finding(NAME, what, unit, [view[name] for view in views], at_most=most, note=note)
        for what, unit, name, most in parts
    ]


def _fill(app: Milepost) -> None:
    """Make heads as finished, failed and waiting runs leave them."""
    for n in range(RUNS):
        head = Head(
            run_id=f"run-{n:07}",
            pipeline=f"pipeline-{n % 5}",
            version="1",
            digest="",
            stages_total=8,
            stages_done=n % 8,
            stage="charge",
            queue="milepost",
            tags=("nightly", f"shard-{n % 50}"),
        )
        app.runs.create(head, record=None, push=None)
    with redis.Redis.from_url(app.runs.location) as client:
        _settle(client)


def _settle(client: Any) -> None:
    """Give the runs the statuses that a fleet's have, in heads and indexes."""
    error = (
        '{"type": "ConnectionError", "message": "card processor answered 402", "stage": "charge"}'
    )
    for start in range(0, RUNS, _BATCH):
        with client.pipeline(transaction=False) as pipe:
            for n in range(start, start + _BATCH):
                run_id, status = f"run-{n:07}", _STATUSES[n % len(_STATUSES)]
                prefix = prefix_of(run_id)
                pipe.zrem(f"{prefix}status:queued", run_id)
                if status is not RunStatus.COMPLETED:
                    pipe.zadd(f"{prefix}status:{status}", {run_id: start})
                fields = {"status": str(status)} | (
                    {"error": error} if status is RunStatus.FAILED else {}
                )
                pipe.hset(f"{prefix}run:{run_id}", mapping=fields)
            pipe.execute()


def _view(browser: Browser, url: str, key: str) -> dict[str, float]:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{url}/sign-in")
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/runs")
    cookies = context.cookies()
    context.close()
    context = browser.new_context()
    context.add_cookies(cookies)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(f"{url}/runs", wait_until="load")
    found: dict[str, float] = page.evaluate(
        """() => {
          const page = performance.getEntriesByType("navigation")[0];
          const others = performance.getEntriesByType("resource");
          return {
            kilobytes: [page, ...others].reduce((sum, entry) => sum + entry.transferSize, 0) / 1000,
            loaded: page.loadEventEnd || page.domComplete,
            answered: page.responseStart,
          };
        }"""
    )
    assert page.locator("tbody tr").count() == 50
    context.close()
    return found
