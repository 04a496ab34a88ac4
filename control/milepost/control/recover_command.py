"""``milepost recover``."""

from __future__ import annotations

import sys
from collections import Counter

import click

from milepost.checkpointing import Misconfigured

from .display import print_json
from .loading import load_app
from .options import app_option, json_option


@click.command()
@app_option
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@json_option
def recover(app_name: str | None, dry_run: bool, as_lines: bool) -> None:
    """Rebuild the runs of a lost run store from the checkpoint store; unfinished ones go on.

    Exits with 1 if a run that the run store does not have could not be rebuilt.
    """
    if app_name is None:
        raise Misconfigured("To rebuild runs, name the application: -A MODULE or MILEPOST_APP.")
    app = load_app(app_name)
    counts: Counter[str] = Counter()
    for run in app.runtime.rebuilder.rebuild(dry_run=dry_run):
        outcome = run.status or ("known" if run.is_known else "not rebuilt")
        counts[outcome] += 1
        if as_lines:
            print_json({"run_id": run.run_id, "outcome": outcome, "reason": run.reason})
        elif outcome == "not rebuilt":
            click.echo(f"{run.run_id}: not rebuilt: {run.reason}", err=True)
    if not as_lines:
        done = "would be rebuilt" if dry_run else "rebuilt"
        what = ", ".join(f"{n} {name}" for name, n in sorted(counts.items())) or "no runs"
        click.echo(f"{app.checkpoints.store.location}: {what} ({done} in that status).")
    sys.exit(1 if counts["not rebuilt"] else 0)
