"""What stages spend, and runs that may spend only so much."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from milepost.checkpointing import InvalidName, Misconfigured, Unavailable
from milepost.tasks import (
    Conflict,
    Context,
    Milepost,
    Retry,
    Run,
    RunPaused,
    RunStatus,
)
from milepost.tasks.setbacks import StageFailed
from support.s3_server import MotoServer, store_url

State = dict[str, Any]
Body = Callable[[State, Context], State]


class Shop:
    """An app whose pipeline ``line`` has the stages that a test gives."""

    def __init__(self, url: str, checkpoints: str | None = None) -> None:
        self.app = Milepost(url, checkpoints=checkpoints)
        self.line = self.app.pipeline("line")

    def stages(self, **bodies: Body) -> None:
        for name, body in bodies.items():
            self.line.stage(name=name, retry=Retry(attempts=3, backoff="0s..0s"))(body)

    def step(self, run: Run) -> str:
        head = run.head
        return self.app.runtime.engine.execute("line", head.step)

    def fail(self, run: Run) -> None:
        with pytest.raises(StageFailed):
            self.step(run)
        run.retry()

    def finish(self, run: Run) -> Run:
        for _ in range(10):
            if run.status.ended or run.status is RunStatus.PAUSED:
                return run
            self.step(run)
        raise AssertionError(f"the run does not end: {run.head}")


@pytest.fixture(params=["one Redis", "S3"])
def shop(request: pytest.FixtureRequest, redis_url: str, moto_server: MotoServer) -> Iterator[Shop]:
    checkpoints = None
    if request.param == "S3":
        checkpoints = store_url(moto_server.endpoint, uuid4().hex)
    there = Shop(redis_url, checkpoints)
    yield there
    there.app.close()
    there.app.celery.close()


def money(amounts: dict[str, float]) -> dict[str, float]:
    return {unit: amount for unit, amount in amounts.items() if unit != "seconds"}


def test_costs_are_useful_or_wasted(shop: Shop) -> None:
    def ask(state: State, ctx: Context) -> State:
        ctx.cost(usd=0.25, tokens_in=100)
        ctx.cost(usd=0.25, tokens_out=10)
        if ctx.attempt == 1:
            raise ConnectionError("the model does not answer")
        return state

    def tell(state: State, ctx: Context) -> State:
        ctx.cost(usd=1)
        return state

    shop.stages(ask=ask, tell=tell)
    run = shop.line.start({})
    shop.fail(run)
    assert money(run.spent.wasted) == {"usd": 0.5, "tokens_in": 100, "tokens_out": 10}
    assert money(run.spent.useful) == {}
    shop.finish(run)
    assert money(run.spent.useful) == {"usd": 1.5, "tokens_in": 100, "tokens_out": 10}
    assert money(run.spent.total) == {"usd": 2.0, "tokens_in": 200, "tokens_out": 20}
    assert run.spent.total["seconds"] >= 0
    told, asked, given = run.checkpoints()
    assert [told.cost, asked.cost, given.cost] == [
        {"usd": 1.0},
        {"usd": 0.5, "tokens_in": 100.0, "tokens_out": 10.0},
        {},
    ]


def test_what_was_kept_is_not_wasted(shop: Shop) -> None:
    def buy(state: State, ctx: Context) -> State:
        def pay() -> str:
            ctx.cost(usd=5)
            return "receipt"

        ctx.once("pay", pay)
        ctx.cost(usd=1)
        ctx.save({"half": True})
        ctx.cost(usd=0.5)
        if ctx.attempt == 1:
            raise ConnectionError
        return state

    shop.stages(buy=buy)
    run = shop.line.start({})
    shop.fail(run)
    assert money(run.spent.useful) == {"usd": 6.0}
    assert money(run.spent.wasted) == {"usd": 0.5}
    shop.finish(run)
    assert money(run.spent.useful) == {"usd": 7.5}


def test_what_the_journal_has_is_not_wasted(shop: Shop) -> None:
    def buy(state: State, ctx: Context) -> State:
        def pay() -> str:
            ctx.cost(usd=5)
            return "receipt"

        ctx.once("pay", pay)
        ctx.cost(usd=0.5)
        if ctx.attempt == 1:
            raise ConnectionError
        return state

    shop.stages(buy=buy)
    run = shop.line.start({})
    shop.fail(run)
    assert money(run.spent.useful) == {"usd": 5.0}
    assert money(run.spent.wasted) == {"usd": 0.5}
    shop.finish(run)
    assert money(run.spent.useful) == {"usd": 5.5}


def test_what_earlier_stages_have_spent_counts(shop: Shop) -> None:
    asked = []

    def first(state: State, ctx: Context) -> State:
        ctx.cost(usd=0.9)
        return state

    def second(state: State, ctx: Context) -> State:
        asked.append(ctx.stage)
        ctx.afford(usd=0.2)
        asked.append("it can be paid")
        return state

    shop.stages(first=first, second=second)
    run = shop.line.start({}, budget={"usd": 1})
    assert shop.finish(run).status is RunStatus.PAUSED
    assert asked == ["second"]


def test_a_report_that_the_store_missed_comes_with_the_commit(
    shop: Shop, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(state: State, ctx: Context) -> State:
        ctx.cost(usd=0.25)
        return state

    def away(*_: Any, **__: Any) -> bool:
        raise Unavailable("the store is away")

    shop.stages(ask=ask)
    run = shop.line.start({})
    monkeypatch.setattr(shop.app.runs, "spend", away)
    shop.finish(run)
    assert money(run.spent.useful) == {"usd": 0.25}


def test_a_run_is_paused_before_a_stage_that_nothing_is_left_for(shop: Shop) -> None:
    ran = []

    def work(state: State, ctx: Context) -> State:
        ran.append(ctx.stage)
        ctx.cost(usd=1)
        return state

    shop.stages(one=work, two=work, three=work)
    run = shop.line.start({}, budget={"usd": 2})
    assert shop.finish(run).status is RunStatus.PAUSED
    assert ran == ["one", "two"]
    failure = run.head.failure or {}
    assert failure["type"] == "BudgetExceeded"
    assert "may spend 2 usd; 2 are spent" in failure["message"]
    with pytest.raises(RunPaused, match="may spend 2 usd"):
        run.wait(timeout=5)
    run.resume()
    assert shop.finish(run).status is RunStatus.PAUSED
    run.top_up(usd=0.5)
    run.resume()
    assert shop.finish(run).status is RunStatus.COMPLETED
    assert ran == ["one", "two", "three"]
    assert run.head.failures == run.head.crashes == 0


def test_a_stage_can_ask_before_it_spends(shop: Shop) -> None:
    calls = []

    def ask(state: State, ctx: Context) -> State:
        for page in ctx.track(range(4), every=0):
            ctx.afford(usd=0.4, tokens_in=100)
            calls.append(page)
            ctx.cost(usd=0.4, tokens_in=100)
        return state

    shop.stages(ask=ask)
    run = shop.line.start({}, budget={"usd": 1})
    assert shop.step(run) == "paused: out of budget"
    assert calls == [0, 1]
    assert "1 usd; 0.8 are spent, and 0.4 more are wanted" in (run.head.failure or {})["message"]
    assert run.spent.total["usd"] == pytest.approx(0.8)
    run.top_up(usd=10)
    run.resume()
    assert shop.finish(run).status is RunStatus.COMPLETED
    assert calls == [0, 1, 2, 3]


def test_tokens_are_counted_once(shop: Shop) -> None:
    def first(state: State, ctx: Context) -> State:
        ctx.cost(tokens_in=300, tokens_out=100)
        return state

    def second(state: State, ctx: Context) -> State:
        ctx.afford(tokens=600)
        ctx.afford(tokens_in=500, tokens_out=100)
        return state

    shop.stages(first=first, second=second)
    run = shop.line.start({}, budget={"tokens": 1000})
    assert shop.finish(run).status is RunStatus.COMPLETED


def test_who_is_topped_up_in_mid_stage_goes_on(shop: Shop) -> None:
    def ask(state: State, ctx: Context) -> State:
        ctx.cost(usd=1)
        shop.app.run(ctx.run_id).top_up(usd=10)
        ctx.afford(usd=1)
        return state

    shop.stages(ask=ask)
    run = shop.line.start({}, budget={"usd": 1})
    assert shop.finish(run).status is RunStatus.COMPLETED


def test_what_did_not_run_uses_up_no_attempt(shop: Shop) -> None:
    def one(state: State, ctx: Context) -> State:
        ctx.cost(usd=1)
        return state

    shop.stages(one=one, two=lambda state, ctx: state)
    run = shop.line.start({}, budget={"usd": 1, "attempts": 2})
    for _ in range(3):
        assert shop.finish(run).status is RunStatus.PAUSED
        assert run.head.tries == 1
        run.resume()
    shop.finish(run)
    run.top_up(usd=1)
    run.resume()
    assert shop.finish(run).status is RunStatus.COMPLETED


def test_the_cost_of_a_commit_that_is_adopted_is_useful(shop: Shop) -> None:
    def ask(state: State, ctx: Context) -> State:
        ctx.cost(usd=1)
        return state

    shop.stages(ask=ask, end=lambda state, ctx: state)
    if shop.app.runtime.log_in_runs:
        pytest.skip("body and head are written together")
    run = shop.line.start({})

    def die(run_id: str, stage: str) -> None:
        if stage == "ask":
            raise KeyboardInterrupt

    shop.app.faultpoints.install("saved", die)
    with pytest.raises(KeyboardInterrupt):
        shop.step(run)
    shop.finish(run)
    assert (money(run.spent.useful), money(run.spent.wasted)) == ({"usd": 1}, {})


def test_a_report_that_the_store_missed_comes_with_the_failure(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    spend, missed = shop.app.runs.spend, [True]

    def away_once(*args: Any, **options: Any) -> bool:
        if missed:
            missed.pop()
            raise Unavailable("away")
        return spend(*args, **options)

    def ask(state: State, ctx: Context) -> State:
        ctx.cost(usd=5)
        raise ConnectionError

    shop.stages(ask=ask)
    run = shop.line.start({})
    monkeypatch.setattr(shop.app.runs, "spend", away_once)
    with pytest.raises(StageFailed):
        shop.step(run)
    assert money(run.spent.wasted) == {"usd": 5}


@pytest.mark.parametrize(
    ("unit", "limit", "more"),
    [("tokens", 150, 1000), ("seconds", 0.001, 100), ("attempts", 1, 5), ("bytes", 300, 100_000)],
)
def test_each_unit_has_its_limit(shop: Shop, unit: str, limit: float, more: float) -> None:
    def work(state: State, ctx: Context) -> State:
        ctx.cost(tokens_in=100, tokens_out=50)
        time.sleep(0.005)
        return {"filled": "x" * 300}

    shop.stages(one=work, two=work)
    run = shop.line.start({}, budget={unit: limit})
    assert shop.finish(run).status is RunStatus.PAUSED
    assert run.progress == (1, 2)
    assert f" {unit}; " in (run.head.failure or {})["message"]
    run.top_up(**{unit: more})
    run.resume()
    assert shop.finish(run).status is RunStatus.COMPLETED


@pytest.mark.parametrize(
    "budget", [{"usd": 0}, {"usd": -1}, {"usd": float("nan")}, {"usd": float("inf")}, {"usd": "5"}]
)
def test_budgets_that_are_none_are_refused(shop: Shop, budget: Any) -> None:
    shop.stages(one=lambda state, ctx: state)
    with pytest.raises(Misconfigured, match="is no budget"):
        shop.line.start({}, run_id="none", budget=budget)
    with pytest.raises(InvalidName, match="valid unit"):
        shop.line.start({}, run_id="none", budget={"us d": 1})
    assert shop.app.runs.get("none") is None


def test_costs_that_are_none_fail_the_stage(shop: Shop) -> None:
    def work(state: State, ctx: Context) -> State:
        ctx.cost(usd=state["usd"])
        return state

    shop.stages(work=work)
    for amount in (-1, "5", True, None):
        run = shop.line.start({"usd": amount})
        with pytest.raises(StageFailed, match="is no amount"):
            shop.step(run)
        assert money(run.spent.total) == {}


def test_only_limits_that_there_are_can_be_raised(shop: Shop) -> None:
    shop.stages(one=lambda state, ctx: state)
    run = shop.line.start({}, budget={"usd": 1})
    with pytest.raises(Conflict, match="no limit for tokens; it has usd"):
        run.top_up(tokens=5)
    with pytest.raises(Misconfigured, match="is no budget"):
        run.top_up(usd=-1)
    for _ in range(2):
        run.top_up(usd=1)
    assert run.head.budget == '{"usd": 3.0}'
    bare = shop.line.start({})
    with pytest.raises(Conflict, match="it has none at all"):
        bare.top_up(usd=1)
