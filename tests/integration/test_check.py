"""New code is tried on the runs that old code has left in flight, before it is deployed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis
from pydantic import BaseModel

from integration.deploys import Deploys, begun, step
from milepost.checkpointing import Page, Unavailable
from milepost.tasks import Milepost
from milepost.tasks.head import Head
from milepost.tasks.rehearsal import Rehearsal, Rehearsed

Rehearse = Callable[..., dict[str, Rehearsed]]


class Old(BaseModel):
    rows: int = 1


class New(BaseModel):
    rows: int
    name: str


def rehearsed(app: Milepost, **options: Any) -> dict[str, Rehearsed]:
    return {run.run_id: run for run in Rehearsal(app.runtime).runs(**options)}


def obstacle(app: Milepost, run_id: str) -> str:
    return rehearsed(app)[run_id].obstacle


def test_stages_by_name(deploys: Deploys) -> None:
    run_id = begun(deploys.app("a", "b", "c"))

    assert obstacle(deploys.app("a", "b", "c", version="2"), run_id) == ""
    assert obstacle(deploys.app("a", "bee<b", "c", version="2"), run_id) == ""
    assert obstacle(deploys.app("b", "c", "a", version="2"), run_id) == "StagesReordered"
    gone = rehearsed(deploys.app("a", "c", version="2"))[run_id]
    assert (gone.obstacle, gone.pipeline, gone.stage, gone.status) == (
        "StageGone",
        "line",
        "b",
        "queued",
    )
    assert "formerly=['b']" in gone.reason
    assert obstacle(deploys.app("a", "b", "c", version="0.9"), run_id) == "VersionAhead"
    nobody = deploys.app()
    nobody.versions.clear()
    assert obstacle(nobody, run_id) == "UnknownPipeline"


def test_states_by_their_model(deploys: Deploys) -> None:
    """The state of the new code's first stage is validated as that stage would get it."""

    def typed(version: str, model: type[BaseModel]) -> Milepost:
        app = deploys.app()
        line = app.pipeline("typed", version=version)

        def first(state: Any) -> Any:
            return state

        first.__annotations__ = {"state": model, "return": model}
        line.stage(first)
        line.stage(name="second")(first)
        return app

    old = typed("1", Old)
    run = old.start("typed", {})
    step(old, run.id)
    assert obstacle(typed("2", Old), run.id) == ""
    unfit = rehearsed(typed("2", New))[run.id]
    assert unfit.obstacle == "StateInvalid"
    assert "stage second expects: state.name: Field required" in unfit.reason

    def upcast(by: Callable[[Any], Any]) -> Milepost:
        app = typed("2", New)
        app.versions["typed"].current.upcast("1")(by)
        return app

    assert obstacle(upcast(lambda state: {**state, "name": "x"}), run.id) == ""
    assert obstacle(upcast(lambda state: None), run.id) == "StateInvalid"
    broken = rehearsed(upcast(lambda state: state["lines"]))[run.id]
    assert (broken.obstacle, broken.reason) == (
        "KeyError",
        "The code for its state failed: KeyError('lines')",
    )


def test_a_damaged_checkpoint_is_found(redis_url: str) -> None:
    with closing(Deploys(redis_url, None)) as deploys:
        app = deploys.app("a", "b")
        run_id = begun(app)
        with redis.Redis.from_url(redis_url) as client:
            [bodies] = [
                k for k in client.scan_iter("*") if b":bodies:" in k or k.endswith(b"bodies")
            ]
            for field, body in client.hgetall(bodies).items():
                client.hset(bodies, field, body[:-1] + bytes([body[-1] ^ 1]))

        assert obstacle(app, run_id) == "Corrupt"
        app.checkpoints.store.delete_run(run_id)
        assert obstacle(app, run_id) == "NotFound"


def test_only_what_is_in_flight_is_tried_and_nothing_is_written(
    redis_url: str,
) -> None:
    with closing(Deploys(redis_url, None)) as deploys:
        app = deploys.app("a", "b")
        app.pipeline("other").stage(name="a")(lambda state: state)
        queued, paused, scheduled, cancelled, done = (app.start("line", {}).id for _ in range(5))
        app.lifecycle.pause(paused)
        app.lifecycle.cancel(cancelled)
        scheduled = app.start("line", {}, delay="1h").id
        step(app, done)
        step(app, done)
        other = app.start("other", {}).id
        many = [run.id for run in app.pipelines["other"].start_many([{}] * 450)]
        client = redis.Redis.from_url(redis_url)
        before = {key: client.dump(key) for key in client.scan_iter("*", 1_000)}

        assert set(rehearsed(app, pipeline="line")) >= {queued, paused, scheduled}
        tried = [run.run_id for run in Rehearsal(app.runtime).runs()]

        assert {key: client.dump(key) for key in client.scan_iter("*", 1_000)} == before
        client.close()
        assert len(tried) == len(set(tried))
        assert set(tried) >= {queued, paused, scheduled, other, *many}
        assert not {cancelled, done} & set(tried)


def test_a_run_that_goes_on_meanwhile_is_tried_where_it_is_then(
    deploys: Deploys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its checkpoint may be thinned out between the listing and the reading."""
    app = deploys.app()
    line = app.pipeline("thinned", keep=1)
    for name in "abc":
        line.stage(name=name)(lambda state: state)
    goes_on, ends = app.start("thinned", {}).id, app.start("thinned", {}).id
    find = app.runs.find

    def find_and_go_on(*args: Any, **options: Any) -> Page[Head]:
        page = find(*args, **options)
        step(app, goes_on)
        for _ in range(3):
            step(app, ends)
        app.checkpoints.delete_run(ends)
        return page

    monkeypatch.setattr(app.runs, "find", find_and_go_on)

    found = rehearsed(app)

    assert (found[goes_on].obstacle, found[goes_on].stage) == ("", "b")
    assert ends not in found


def test_a_store_that_is_away_is_no_obstacle_of_a_run(
    deploys: Deploys, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = deploys.app("a", "b")
    begun(app)

    def away(*_: Any) -> None:
        raise Unavailable("gone fishing")

    monkeypatch.setattr(app.checkpoints.store, "get", away)
    with pytest.raises(Unavailable, match="gone fishing"):
        rehearsed(app)


CODE = """
from milepost.tasks import Milepost

app = Milepost()
line = app.pipeline("line", version="{version}")


@line.stage
def a(state: dict) -> dict:
    return state


@line.stage{options}
def {name}(state: dict) -> dict:
    return state
"""


@pytest.fixture
def shell(redis_url: str, tmp_path: Path) -> Callable[..., tuple[int, str, str]]:
    """Three builds of one application, and ``milepost check`` in their folder."""
    (tmp_path / "build_1.py").write_text(CODE.format(version="1", options="", name="b"))
    (tmp_path / "build_2.py").write_text(CODE.format(version="2", options="", name="bee"))
    fixed = CODE.format(version="2", options="(formerly=['b'])", name="bee")
    (tmp_path / "build_3.py").write_text(fixed)

    def check(build: str, *words: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "milepost.control.cli", "check", "-A", build, *words],
            cwd=tmp_path,
            env={**os.environ, "MILEPOST_URL": redis_url},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout, done.stderr

    return check


def test_the_command(shell: Callable[..., tuple[int, str, str]], redis_url: str) -> None:
    with closing(Deploys(redis_url, None)) as deploys:
        old = deploys.app("a", "b")
        runs = [begun(old) for _ in range(5)]

    assert shell("build_1", "--live")[:2] == (
        0,
        f"{redis_url}: all 5 runs in flight go on with this code.\n"
        "Definitions: 1 pipelines with 2 stages, nothing wrong.\n",
    )
    code, shown, _ = shell("build_2", "--live", "--limit", "2")
    assert code == 1
    assert sum(run_id in shown for run_id in runs) == 2
    assert "… and 3 more; see them with --limit." in shown
    assert "5 of 5 runs in flight would not go on (5 StageGone)." in shown
    code, shown, _ = shell("build_2", "--live", "--json")
    *each, summary = map(json.loads, shown.splitlines())
    assert {row["run_id"] for row in each} == set(runs)
    assert summary == {"tried": 5, "would_not_go_on": 5, "obstacles": {"StageGone": 5}}
    assert shell("build_2", "--live", "--pipeline", "none")[0] == 0
    assert shell("build_3", "--live")[0] == 0


def test_the_command_without_a_store(shell: Callable[..., tuple[int, str, str]]) -> None:
    os_code, shown, _ = shell("build_1", "-Q", "other")
    assert os_code == 1
    assert (
        "Stage line.a goes to queue milepost, from which nobody takes; there are: other." in shown
    )
    assert shell("build_1", "-Q", "other,milepost")[0] == 0
    assert shell("build_1", "--pipeline", "line")[0] == 2
    assert shell("nothing", "--live")[0] == 2
