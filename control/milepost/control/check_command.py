"""``milepost check``."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import asdict

import click

from milepost.checkpointing import Misconfigured
from milepost.tasks import Milepost
from milepost.tasks.definitions import problems
from milepost.tasks.rehearsal import Rehearsal, Rehearsed

from .display import print_json
from .loading import load_app
from .options import app_option, json_option


@click.command()
@app_option
@click.option("--live", is_flag=True, help="Try the code on every run in flight; writes no run.")
@click.option("-Q", "--queues", help="The queues that workers take from, behind commas.")
@click.option("--pipeline", help="With --live: only runs of this pipeline.")
@click.option(
    "--limit",
    default=20,
    show_default=True,
    type=click.IntRange(1, 1_000_000),
    help="With --live: print so many of the runs that would not go on.",
)
@json_option
def check(
    app_name: str | None,
    live: bool,
    queues: str | None,
    pipeline: str | None,
    limit: int,
    as_lines: bool,
) -> None:
    """Check definitions; with --live, too, whether each run in flight goes on with this code.

    For a pipeline of builds, before a deploy. Exits with 1 if something would not work.
    """
    if app_name is None:
        raise Misconfigured("To check code, name the application: -A MODULE or MILEPOST_APP.")
    app = load_app(app_name)
    if pipeline is not None and not live:
        raise Misconfigured("--pipeline says which runs are tried, with --live.")
    served = {name.strip() for name in (queues or "").split(",")} - {""}
    wrong = [*problems(app, served)]
    for sentence in wrong:
        if as_lines:
            print_json({"problem": sentence})
        else:
            click.secho(sentence, fg="red")
    failed = _rehearse(app, pipeline, limit, as_lines) if live else 0
    if not as_lines and not wrong:
        stages = sum(len(p.stages) for v in app.versions.values() for p in v.known)
        click.echo(
            f"Definitions: {len(app.versions)} pipelines with {stages} stages, nothing wrong."
        )
    sys.exit(1 if wrong or failed else 0)


def _rehearse(app: Milepost, pipeline: str | None, limit: int, as_lines: bool) -> int:
    """Try all runs, print those that would not go on and a summary, and return how many those are."""
    tried: Counter[str] = Counter()
    obstacles: Counter[str] = Counter()
    for run in Rehearsal(app.runtime).runs(pipeline):
        tried[run.pipeline] += 1
        if run.obstacle:
            obstacles[run.obstacle] += 1
            if obstacles.total() <= limit:
                _print(run, as_lines)
    total, failed = tried.total(), obstacles.total()
    if as_lines:
        print_json({"tried": total, "would_not_go_on": failed, "obstacles": dict(obstacles)})
        return failed
    if failed > limit:
        click.echo(f"… and {failed - limit} more; see them with --limit.")
    where = app.runs.location
    if not failed:
        click.echo(f"{where}: all {total} runs in flight go on with this code.")
    else:
        kinds = ", ".join(f"{number} {name}" for name, number in obstacles.most_common())
        click.echo(f"{where}: {failed} of {total} runs in flight would not go on ({kinds}).")
    return failed


def _print(run: Rehearsed, as_lines: bool) -> None:
    if as_lines:
        print_json(asdict(run))
    else:
        place = f"{run.pipeline} {run.version}, {run.status} at {run.stage}"
        click.secho(f"{run.run_id} ({place}): {run.reason}", fg="red")
