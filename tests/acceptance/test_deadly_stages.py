"""Stages that end their process, or as oddly as they can: why is kept, and other runs go on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from acceptance.arena import Arena
from milepost.tasks import Milepost, RunFailed, RunStatus
from support.processes import Worker

LOST = "WorkerLost"


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    with Arena(tmp_path_factory.mktemp("deadly")) as arena:
        yield arena


@pytest.fixture(scope="module")
def worker(arena: Arena) -> Iterator[Worker]:
    with Worker("acceptance.deadly_app", arena.folder, arena.env, concurrency=2) as worker:
        yield worker.wait_ready()


@pytest.mark.parametrize(
    ("end", "kind", "says"),
    [
        pytest.param("os._exit", LOST, "", marks=pytest.mark.fault("F19")),
        pytest.param("sys.exit", "TaskError", "sys.exit(3)", marks=pytest.mark.fault("F19")),
        pytest.param("segmentation fault", LOST, "", marks=pytest.mark.fault("F19")),
        pytest.param("killed for its memory", LOST, "", marks=pytest.mark.fault("F20")),
        pytest.param("no more memory", "MemoryError", "", marks=pytest.mark.fault("F20")),
        pytest.param("odd error", "Odd", "***@host/0 said", marks=pytest.mark.fault("F58")),
        pytest.param("a word of Celery's", "Reject", "no", marks=pytest.mark.fault("F58")),
        pytest.param("odd end", "TaskError", "GeneratorExit", marks=pytest.mark.fault("F58")),
    ],
)
def test_it_is_set_aside_with_its_reason(
    arena: Arena, worker: Worker, end: str, kind: str, says: str
) -> None:
    with closing(Milepost(arena.env["MILEPOST_URL"])) as app:
        for name in ("deadly", "calm"):
            app.pipeline(name).stage(name={"deadly": "die", "calm": "rest"}[name])(lambda s: s)
        run = app.start("deadly", {"end": end})
        others = [app.start("calm", {"n": n}) for n in range(5)]

        with pytest.raises(RunFailed, match=kind):
            run.wait(20)

        head = run.head
        assert (head.status, head.crashes) == (RunStatus.FAILED, 3 if kind == LOST else 0)
        assert head.failure is not None
        assert head.failure["type"] == kind
        assert says in head.failure["message"]
        assert "hunter2" not in head.error
        assert len(head.error) < 15_000
        for other in others:
            assert other.wait(15).head.crashes == 0
        assert worker.exit_code is None
        app.celery.close()
