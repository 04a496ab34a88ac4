"""``milepost demo``: rehearse a crash on a real pipeline, and prove that nothing came of it."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from milepost.checkpointing import CheckpointMetadata, Misconfigured
from milepost.tasks import Head, Milepost, Pipeline, Run, RunStatus
from milepost.worker import EmbeddedServer

from . import demo_app
from .loading import load_app
from .options import app_option
from .run_commands import parsed
from .watching import changes, describe, progress_bar

_READY_SECONDS = 60.0
_END_SECONDS = 300.0


@dataclass
class Rehearsal:
    """What happened: which stage was hit, who died, who went on, and when."""

    stage: str
    killed_worker: str = ""
    killed_at: float = 0.0

    def resumed(self, history: list[CheckpointMetadata]) -> CheckpointMetadata | None:
        """The stage's commit, if another process than the killed one made it."""
        return next(
            (
                metadata
                for metadata in history
                if metadata.stage == self.stage and self.killed_worker not in ("", metadata.worker)
            ),
            None,
        )


@click.command()
@app_option
@click.argument("pipeline_name", metavar="[PIPELINE]", required=False)
@click.argument("state", required=False)
@click.option("--kill-in", metavar="STAGE", help="Kill the worker that holds this stage.")
@click.option("--runs", metavar="URL", help="Keep the runs there, not in the embedded server.")
@click.option("--checkpoints", metavar="URL", help="Keep the checkpoints there.")
def demo(
    app_name: str | None,
    pipeline_name: str | None,
    state: str | None,
    kill_in: str | None,
    runs: str | None,
    checkpoints: str | None,
) -> None:
    """Run PIPELINE on two workers, kill one with SIGKILL, and check the result.

    Starts an embedded server and two workers of its own, which end with it. Exit code 1 if the run
    does not complete, a finished stage ran again, or the final state differs from that of the same
    functions called one after the other in one process without Milepost.
    """
    if app_name is None:
        raise Misconfigured("The demo needs an application: -A MODULE or MILEPOST_APP.")
    console = Console()
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="milepost-demo-")))
        os.environ["MILEPOST_HOME"] = str(home)
        os.environ.pop("MILEPOST_URL", None)
        for name, url in (("MILEPOST_RUNS", runs), ("MILEPOST_CHECKPOINTS", checkpoints)):
            if url is not None:
                os.environ[name] = url
        server = EmbeddedServer(home)
        stack.callback(server.stop)
        app = load_app(app_name)
        pipeline = _chosen(app, pipeline_name)
        names = [*pipeline.stages]
        rehearsal = Rehearsal(kill_in or names[len(names) // 2])
        pipeline.following(rehearsal.stage)

        server.ensure()
        console.print(f"Embedded server up (pid {server.pid}). Starting two workers …")
        workers = [_Worker(app_name, rehearsal.stage, home, number) for number in (1, 2)]
        for worker in workers:
            stack.callback(worker.end)
        for worker in workers:
            worker.wait_ready()

        run = pipeline.start(parsed(state))
        console.print(
            f"Run [bold]{run.id}[/] of [bold]{escape(pipeline.name)}[/] started; its checkpoints go to "
            f"{escape(app.checkpoints.store.location)}.\n"
        )
        head = _watch(console, run, rehearsal, workers)
        history = [m for m in reversed(run.checkpoints()) if m.stage]
        console.print(_table(history, rehearsal))
        good = _judge(console, head, history, rehearsal, pipeline, parsed(state), run)
    raise SystemExit(0 if good else 1)


class _Worker:
    """One ``milepost worker`` in a process group of its own."""

    def __init__(self, app_name: str, stage: str, home: Path, number: int) -> None:
        self.name = f"worker {number}"
        self.home = home
        self.log = home / f"worker-{number}.log"
        command = [sys.executable, "-m", "milepost.control.cli", "worker", "-A", demo_app.__name__]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "-c", "1", "-n", f"demo{number}@%h", "-l", "INFO"],
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, demo_app.APP: app_name, demo_app.STAGE: stage},
            )

    def wait_ready(self) -> None:
        end = time.monotonic() + _READY_SECONDS
        while " ready." not in self.log.read_text(errors="replace"):
            if self.process.poll() is not None or time.monotonic() > end:
                tail = self.log.read_text(errors="replace")[-2000:]
                raise Misconfigured(f"The demo's {self.name} did not start:\n{tail}")
            time.sleep(0.05)

    def holds(self, pid: int) -> bool:
        try:
            return os.getpgid(pid) == self.process.pid
        except ProcessLookupError:
            return False

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                self.kill()


def _chosen(app: Milepost, name: str | None) -> Pipeline:
    if name is None and len(app.pipelines) == 1:
        return next(iter(app.pipelines.values()))
    if name is None or name not in app.pipelines:
        raise Misconfigured(
            f"Name one of the pipelines: {', '.join(app.pipelines) or 'none is defined'}."
        )
    return app.pipelines[name]


def _watch(console: Console, run: Run, rehearsal: Rehearsal, workers: list[_Worker]) -> Head:
    with progress_bar(console) as bar:
        task = bar.add_task("", total=None)
        head = run.head
        for head in changes(run, _END_SECONDS):
            bar.update(
                task,
                total=head.stages_total,
                completed=head.stages_done,
                description=describe(head),
            )
            at_stage = head.status is RunStatus.RUNNING and head.stage == rehearsal.stage
            if at_stage and not rehearsal.killed_at:
                pid = int(head.worker.rpartition(":")[2])
                victim = next(worker for worker in workers if worker.holds(pid))
                rehearsal.killed_worker = head.worker
                rehearsal.killed_at = time.time()
                demo_app.hold_no_more(victim.home)
                victim.kill()
                bar.console.print(
                    f"[bold red]kill -9[/] {victim.name} and all its processes, "
                    f"in the middle of stage [bold]{escape(head.stage)}[/]"
                )
    return head


def _table(history: list[CheckpointMetadata], rehearsal: Rehearsal) -> Table:
    table = Table(
        "stage", "committed by", "seconds", "tries", "what happened", title="What ran where"
    )
    resumed = rehearsal.resumed(history)
    for metadata in history:
        took = (metadata.created_at - (metadata.started_at or metadata.created_at)).total_seconds()
        note = "[dim]once, not run again[/]"
        if metadata is resumed and metadata.started_at is not None:
            after = metadata.started_at.timestamp() - rehearsal.killed_at
            note = (
                f"[yellow]killed on {escape(rehearsal.killed_worker)}, resumed by "
                f"{escape(metadata.worker or '')} after {after:.2f} s[/]"
            )
        elif metadata.attempt > 1:
            note = f"[red]{metadata.attempt} tries[/]"
        table.add_row(
            escape(metadata.stage or ""),
            escape(metadata.worker or ""),
            f"{took:.2f}",
            str(metadata.attempt),
            note,
        )
    return table


def _judge(
    console: Console,
    head: Head,
    history: list[CheckpointMetadata],
    rehearsal: Rehearsal,
    pipeline: Pipeline,
    state: Any,
    run: Run,
) -> bool:
    """Print one line a check, and say whether all hold."""
    others = [m for m in history if m.stage != rehearsal.stage]
    checks = {
        "the run completed": head.status is RunStatus.COMPLETED,
        "each stage was committed once, in order": [m.stage for m in history] == [*pipeline.stages],
        "the killed stage was resumed by another process": rehearsal.resumed(history) is not None,
        "no finished stage ran again": all(m.attempt == 1 for m in others),
    }
    if head.status is RunStatus.COMPLETED:
        console.print("\nCalling the same functions in one process, without Milepost …")
        name = "the final state equals theirs, figure by figure"
        # What the stages have to say, the workers' logs have.
        logging.disable()
        checks[name] = _plain(pipeline.call(state)) == _plain(run.state)
    for name, holds in checks.items():
        console.print(f"  {'[green]✓[/]' if holds else '[bold red]✗[/]'} {name}")
    return all(checks.values())


def _plain(state: Any) -> Any:
    return state.model_dump(mode="json") if isinstance(state, BaseModel) else state
