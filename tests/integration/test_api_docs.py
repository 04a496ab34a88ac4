"""The guide's examples are run as they stand, and its lists are those of the code."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from integration.api_site import finish
from milepost.control.api.problems import KINDS
from milepost.control.api.settings import ApiSettings
from milepost.tasks import Milepost, PermanentError
from support.api_server import ApiServer
from support.waiting import eventually

DOCS = Path(__file__).parents[2] / "docs"
GUIDE = (DOCS / "guides" / "api.md").read_text()
ERRORS = (DOCS / "reference" / "errors.md").read_text()


class Delays(BaseModel):
    source: str


@pytest.fixture
def server(redis_url: str) -> Iterator[ApiServer]:
    app = Milepost(redis_url)
    flights = app.pipeline("flights")

    @flights.stage
    def load(state: Delays) -> Delays:
        if state.source == "bad":
            raise PermanentError("no such year")
        return state

    with ApiServer(app, api_poll_seconds=0.05) as server:
        yield server
    app.close()


def test_the_python_example(server: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    """From the start to the refusal."""
    app = server.app
    app.start("flights", {"source": "bad"}, run_id="bad")
    finish(app, "bad")
    code = next(
        part for part in re.findall(r"```python\n(.*?)```", GUIDE, re.S) if "Client" in part
    )
    for shown, meant in (("http://127.0.0.1:8400", server.url), ("mp_…", server.key())):
        assert shown in code
        code = code.replace(shown, meant)
    running = threading.Thread(target=exec, args=(compile(code, "guide", "exec"), {}))
    running.start()

    def started() -> str:
        return next((h.run_id for h in app.runs.find().items if h.run_id != "bad"), "")

    finish(app, eventually(started))
    running.join(20)
    assert not running.is_alive()
    printed = capsys.readouterr().out.split("\n")
    assert "completed {'source': '2013'}" in printed
    assert printed[-2] == "completed"
    assert app.run("bad").status == "queued"


def test_the_curl_examples(server: ApiServer) -> None:
    """Each answers with success."""
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    app = server.app
    app.start("flights", {"source": "bad"}, run_id="bad")
    finish(app, "bad")
    group = app.run("bad").head.error_group
    given = {
        "auth": f"Authorization: Bearer {server.key()}",
        "json": "Content-Type: application/json",
        "url": f"{server.url}/v1",
    }
    lines = re.findall(r"^\$ (curl .*)$", GUIDE, re.M)
    assert len(lines) == 7
    for line in lines:
        if line.endswith("/events"):
            app.run("bad").cancel()
        text = line.replace("RUN_ID", "bad").replace("GROUP", group)
        words = [
            re.sub(r"\$(auth|json|url)", lambda found: given[found[1]], word)
            for word in shlex.split(text)
        ]
        done = subprocess.run(
            [*words, "--fail-with-body"], capture_output=True, text=True, timeout=30
        )
        assert done.returncode == 0, f"{line}: {done.stdout} {done.stderr}"
    assert "event: end" in done.stdout


def test_every_problem_is_listed() -> None:
    """With its status; and no other."""
    rows = re.findall(r'^\| <a id="([a-z-]+)"></a>`([a-z-]+)` \| ([0-9, ]+) \|', ERRORS, re.M)
    listed = {name: statuses for _, name, statuses in rows}
    assert {anchor for anchor, _, _ in rows} == {*KINDS} == {*listed}
    for name, kind in KINDS.items():
        assert str(kind.status) in listed[name]


def test_every_setting_is_listed() -> None:
    """With its default."""
    shown = GUIDE[GUIDE.index("## Limits") :]
    for name, field in ApiSettings.model_fields.items():
        assert f"`{name.removeprefix('api_').upper()}`" in shown
        default = field.default
        if isinstance(default, bool):
            value = str(default).lower()
        else:
            value = "none" if default == () else f"{default:.10g}"
        assert re.search(rf"\b{re.escape(value)}\b", shown), f"{name}: {value}"
