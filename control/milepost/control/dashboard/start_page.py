"""Starting a run."""

from __future__ import annotations

import json
from typing import Any

from pydantic import PydanticUserError
from starlette.responses import Response

from milepost.checkpointing import InvalidName, MilepostError, Misconfigured, NotSerializable
from milepost.tasks import InputMismatch, Pipeline, StateInvalid
from milepost.tasks.order import StartOptions, ordered

from .state_text import StateUnreadable, read_state
from .text import pretty
from .visit import Visit

_FIELDS = ("run_id", "tags", "delay", "priority", "tenant")


def start_page(visit: Visit) -> Response:
    """Ask for what a run begins with."""
    name = visit.query.get("pipeline", "")
    pipeline = visit.app.pipelines.get(name)
    if pipeline is None:
        return visit.page("start.html", pipelines=visit.app.pipelines, pipeline=None)
    return _form(visit, pipeline, {"state": _example(pipeline)}, {})


def start_run(visit: Visit) -> Response:
    """Start a run, or show what is wrong with what was typed."""
    typed = {name: visit.form.get(name, "").strip() for name in ("state", *_FIELDS)}
    pipeline = visit.app.pipelines.get(visit.form.get("pipeline", ""))
    if pipeline is None:
        raise LookupError("There is no such pipeline in this process.")
    errors: dict[str, str] = {}
    try:
        run_id = _start(visit, pipeline, typed)
    except (StateUnreadable, StateInvalid, NotSerializable) as error:
        errors["state"] = str(error)
    except InputMismatch as error:
        errors["run_id"] = str(error)
    except InvalidName as error:
        text = str(error)
        errors[
            next((w for w in ("tag", "tenant") if f"valid {w}" in text), "run_id").replace(
                "tag", "tags"
            )
        ] = text
    except MilepostError as error:
        named = next((name for name in ("priority", "delay") if name in str(error)), "")
        errors[named or ("delay" if "duration" in str(error) else "all")] = str(error)
    if errors:
        return _form(visit, pipeline, typed, errors)
    return visit.go(f"/runs/{run_id}", done="start")


def _start(visit: Visit, pipeline: Pipeline, typed: dict[str, str]) -> str:
    state = read_state(typed["state"])
    options: StartOptions = {
        "tags": typed["tags"].replace(",", " ").split(),
        "tenant": visit.tenant or typed["tenant"] or None,
        "delay": typed["delay"] or None,
    }
    if typed["priority"]:
        number = typed["priority"]
        if not number.isdecimal():
            raise Misconfigured(f"The priority {number[:40]!r} is no number from 0 to 9.")
        options["priority"] = int(number)
    order = ordered(pipeline, state, typed["run_id"] or None, options)
    known = visit.app.runs.get(order.run_id)
    if known is not None and visit.tenant not in (None, known.tenant):
        # Whether another tenant has a run of this id with the same input is none of this one's business.
        raise InputMismatch(f"The run id {order.run_id} is taken.", run_id=order.run_id)
    visit.lifecycle.start(pipeline, order)
    return order.run_id


def _form(
    visit: Visit, pipeline: Pipeline, typed: dict[str, str], errors: dict[str, str]
) -> Response:
    return visit.page(
        "start.html",
        422 if errors else 200,
        pipelines=visit.app.pipelines,
        pipeline=pipeline,
        typed={name: typed.get(name, "") for name in ("state", *_FIELDS)},
        errors=errors,
        schema=_schema(pipeline),
    )


def _schema(pipeline: Pipeline) -> str:
    adapter = pipeline.first.input
    try:
        return "" if adapter is None else pretty(adapter.json_schema())
    except PydanticUserError:
        return ""


def _example(pipeline: Pipeline) -> str:
    """Return a state with the fields that have to be given, empty ones of their types."""
    adapter = pipeline.first.input
    try:
        schema = {} if adapter is None else adapter.json_schema()
    except PydanticUserError:
        return "{}"
    empty: dict[str, Any] = {
        "string": "", "integer": 0, "number": 0, "boolean": False, "array": [], "object": {},
    }  # fmt: skip
    fields = schema.get("properties", {})
    wanted = list(schema.get("required", []))
    return json.dumps({name: empty.get(fields[name].get("type")) for name in wanted}, indent=2)
