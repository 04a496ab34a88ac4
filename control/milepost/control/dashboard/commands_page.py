"""Commands on one run: asking for what they need, doing them, and saying what was wrong."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from milepost.checkpointing import CheckpointError, InvalidName, MilepostError, NotSerializable
from milepost.tasks import Command, Conflict, Head, StateInvalid
from milepost.tasks.spent import read_amounts

from .actions import ORDER, action, actions
from .run_page import checkpoints, run_page
from .state_text import SHOWN_BYTES, StateUnreadable, glance, plain_parts, read_state
from .text import pretty
from .timeline import stages_before
from .visit import Visit


def command_page(visit: Visit) -> Response:
    """Ask for what a command needs, or whether it is meant."""
    head, command = visit.head(), _command(visit)
    if not _offered(visit, head, command):
        return _not_now(visit, head, command)
    return _ask(visit, head, command, {}, {})


def do_command(visit: Visit) -> Response:
    """Do a command; what could not be done is said where it was asked for, with all that was typed."""
    head, command = visit.head(), _command(visit)
    if not _offered(visit, head, command):
        return _not_now(visit, head, command)
    typed = {name: text for name, text in visit.form.items() if name != "csrf"}
    lifecycle, target = visit.lifecycle, head.run_id
    try:
        if command is Command.EDIT:
            _edit(visit, head, typed)
        elif command is Command.REWIND:
            lifecycle.rewind(head.run_id, typed.get("stage", ""))
        elif command is Command.FORK:
            target = _fork(visit, head, typed)
        elif command is Command.TOP_UP:
            lifecycle.top_up(head.run_id, _amounts(typed))
        else:
            getattr(lifecycle, command)(head.run_id)
    except (StateUnreadable, StateInvalid, NotSerializable) as error:
        field = "state" if command is Command.EDIT else "all"
        return _ask(visit, head, command, typed, {field: str(error)}, 422)
    except Conflict as error:
        now = visit.app.runs.get(head.run_id)
        if now is None or command not in (Command.EDIT, Command.FORK, Command.REWIND):
            return run_page(visit, now or head, error=str(error), status=409)
        return _ask(visit, now, command, typed, {"all": str(error)}, 409)
    except InvalidName as error:
        field = "run_id" if command is Command.FORK else "all"
        return _ask(visit, head, command, typed, {field: str(error)}, 422)
    except MilepostError as error:
        return _ask(visit, head, command, typed, {"all": str(error)}, 422)
    if command is Command.DELETE:
        return visit.go("/runs", done="delete")
    back = visit.form.get("back", "")
    if command is Command.RETRY and back == "failures" and head.error_group:
        return visit.go(f"/failures/{head.error_group}", canary=head.run_id)
    return visit.go(f"/runs/{target}", done=command)


def _command(visit: Visit) -> Command:
    try:
        return Command(visit.path("command"))
    except ValueError:
        raise LookupError("There is no such command.") from None


def _offered(visit: Visit, head: Head, command: Command) -> bool:
    known = head.pipeline in visit.app.versions
    return any(offer.command is command for offer in actions(head, code_known=known))


def _not_now(visit: Visit, head: Head, command: Command) -> Response:
    label = action(command).label if command in ORDER else str(command)
    why = f"The run is {head.status}"
    if head.pipeline not in visit.app.versions:
        why += f", and this server does not know pipeline {head.pipeline} (start it with -A MODULE)"
    return run_page(visit, head, error=f"“{label}” is not possible now. {why}.", status=409)


def _ask(
    visit: Visit,
    head: Head,
    command: Command,
    typed: dict[str, str],
    errors: dict[str, str],
    status: int = 200,
) -> Response:
    stages: list[str] = []
    state, too_large, base = "", 0, ""
    versions = visit.app.versions.get(head.pipeline)
    if command in (Command.REWIND, Command.FORK) and versions is not None:
        history, _ = checkpoints(visit.app, head)
        stages = stages_before(head, versions.of(head.version).stages, history)
    if command is Command.EDIT:
        state, too_large, base = _state_now(visit, head)
        if "state" in typed:
            # What was typed stays, and so does what it was made from.
            state, base = typed["state"], typed.get("base", base)
    return visit.page(
        "command.html",
        status,
        head=head,
        action=action(command),
        typed=typed,
        errors=errors,
        stages=stages,
        state=state,
        base=base,
        too_large=too_large,
        budget=read_amounts(head.budget),
    )


def _state_now(visit: Visit, head: Head) -> tuple[str, int, str]:
    """Return the state as text, or its size if it is too large for a page; and of which checkpoint."""
    try:
        _, total = glance(visit.app, head.key)
        if total > SHOWN_BYTES:
            return "", total, head.checkpoint_id
        state = plain_parts(visit.app, visit.app.checkpoints.get(head.key))["state"]
    except CheckpointError:
        # Why it cannot be read is said when the form is sent.
        return "", 0, head.checkpoint_id
    return pretty(state), 0, head.checkpoint_id


def _edit(visit: Visit, head: Head, typed: dict[str, str]) -> None:
    if typed.get("base") != head.checkpoint_id:
        raise Conflict(
            f"Run {head.run_id} has moved on since you opened this page. Compare what you typed with its "
            "state now before you send it again.",
            run_id=head.run_id,
        )
    given: Any = read_state(typed.get("state", ""))
    lifecycle = visit.lifecycle.only_if(head)
    if typed.get("how") == "patch":
        lifecycle.edit(head.run_id, patch=given)
    else:
        lifecycle.edit(head.run_id, given)


def _fork(visit: Visit, head: Head, typed: dict[str, str]) -> str:
    wanted = typed.get("run_id", "").strip() or None
    return visit.lifecycle.fork(head.run_id, typed.get("stage") or None, as_run=wanted)


def _amounts(typed: dict[str, str]) -> dict[str, float]:
    amounts: dict[str, float] = {}
    for name, text in typed.items():
        if name.startswith("amount-") and text.strip():
            try:
                amounts[name.removeprefix("amount-")] = float(text.replace(",", ""))
            except ValueError:
                raise StateUnreadable(f"{text[:40]!r} is no number.") from None
    return amounts
