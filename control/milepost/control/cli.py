"""The ``milepost`` command.

Exit codes: 0 done · 1 the run failed, was cancelled or needs a decision · 2 wrong usage or settings ·
3 no such run or worker · 4 the run's status does not allow it · 5 a store or broker does not answer ·
6 not in time.
"""

from __future__ import annotations

import sys
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import click

from milepost.checkpointing import MilepostError, Refused, Unavailable
from milepost.checkpointing.redaction import redact_output, redacted
from milepost.tasks import Conflict, RunCancelled, RunFailed, RunPaused, UnknownRun
from milepost.worker.errors import UnknownWorker

_COMMANDS = {
    "worker": "worker_command",
    "up": "up_command",
    "start": "run_commands",
    "status": "run_commands",
    "runs": "run_commands",
    "watch": "run_commands",
    "result": "run_commands",
    "checkpoints": "run_commands",
    "failures": "failure_commands",
    "retry": "operate_commands",
    "rewind": "operate_commands",
    "skip": "operate_commands",
    "edit": "operate_commands",
    "fork": "operate_commands",
    "pause": "operate_commands",
    "resume": "operate_commands",
    "cancel": "operate_commands",
    "top-up": "operate_commands",
    "delete": "operate_commands",
    "notes": "failure_commands",
    "recover": "recover_command",
    "flower": "flower_command",
    "check": "check_command",
    "doctor": "doctor_command",
    "workers": "workers_command",
    "drain": "workers_command",
    "queues": "queues_command",
    "server": "server_commands",
    "api": "api_command",
    "keys": "keys_command",
    "demo": "demo_command",
    "completion": "server_commands",
}
_EXIT = (
    ((RunFailed, RunCancelled, RunPaused), 1),
    ((UnknownRun, UnknownWorker), 3),
    ((Conflict,), 4),
    ((Unavailable, Refused), 5),
    ((MilepostError,), 2),
    ((TimeoutError,), 6),
)


class _Group(click.Group):
    """Prints Milepost's errors as one sentence, and exits with a code that scripts can use.

    Imports a command's module when it is called: a worker that replaces a dead one shall not wait for
    what only terminals need.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*_COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        found: click.Command = getattr(
            import_module(f"{__package__}.{_COMMANDS[cmd_name]}"), cmd_name.replace("-", "_")
        )
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            near = get_close_matches(args[0], _COMMANDS, n=1)
            meant = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"No such command {args[0]!r}.{meant}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        redact_output()
        try:
            return super().invoke(ctx)
        except (MilepostError, TimeoutError) as error:
            code = next(code for kinds, code in _EXIT if isinstance(error, kinds))
            click.secho(f"milepost: {redacted(str(error))}", fg="red", err=True)
            sys.exit(code)


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 the run did not end well, 2 wrong usage, 3 no such run or worker, "
    "4 not allowed in the run's status, 5 a store or broker does not answer, 6 not in time.",
)
@click.version_option(package_name="milepost")
def main() -> None:
    """Durable pipelines on Celery."""


if __name__ == "__main__":
    main()
