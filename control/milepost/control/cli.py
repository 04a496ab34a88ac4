"""The ``milepost`` command.

Exit codes: 0 done · 1 the run failed or was cancelled · 2 wrong usage or settings · 3 no such run ·
4 the run's status does not allow it · 5 a store or broker does not answer · 6 not in time.
"""

from __future__ import annotations

import sys
from typing import Any

import click

from milepost.checkpointing import MilepostError, Refused, Unavailable
from milepost.tasks import Conflict, RunCancelled, RunFailed, UnknownRun

from .demo_command import demo
from .run_commands import cancel, checkpoints, retry, runs, start, status, watch
from .server_commands import completion, server, worker

_EXIT = (
    ((RunFailed, RunCancelled), 1),
    ((UnknownRun,), 3),
    ((Conflict,), 4),
    ((Unavailable, Refused), 5),
    ((MilepostError,), 2),
    ((TimeoutError,), 6),
)


class _Group(click.Group):
    """Prints Milepost's errors as one sentence, and exits with a code that scripts can use."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (MilepostError, TimeoutError) as error:
            code = next(code for kinds, code in _EXIT if isinstance(error, kinds))
            click.secho(f"milepost: {error}", fg="red", err=True)
            sys.exit(code)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="milepost")
def main() -> None:
    """Durable pipelines on Celery."""


for command in (
    worker, start, status, runs, watch, retry, cancel, checkpoints, server, demo, completion,
):  # fmt: skip
    main.add_command(command)


if __name__ == "__main__":
    main()
