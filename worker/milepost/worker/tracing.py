"""Tries as spans, in the trace that the head of their run carries."""

from __future__ import annotations

from collections.abc import Sequence
from traceback import format_exception
from typing import Any

from celery.signals import worker_process_shutdown, worker_shutdown
from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

from milepost.checkpointing.redaction import redacted
from milepost.tasks.failure import LONGEST, text_of
from milepost.tasks.head import Head
from milepost.tasks.observer import Ending, Observer, Observers, Outcome
from milepost.tasks.trace import configured_tracer, remote_context

_LONGEST = 8_000


class Tracing(Observer):
    """Makes a span of each try, current while the stage runs, so that the stage's own spans lie in it.

    A try whose process is killed leaves no span; the next one says what became of it. A run that was started
    where OpenTelemetry is not set up has a trace for each try.
    """

    @classmethod
    def join(cls, observers: Observers) -> None:
        """Add one to *observers*, unless there is one, and let its spans out when the process ends."""
        if not any(isinstance(each, cls) for each in observers):
            observers.add(cls())
            worker_process_shutdown.connect(flush)
            worker_shutdown.connect(flush)

    def begin(self, head: Head, stage: str) -> Ending | None:
        tracer = configured_tracer()
        if tracer is None:
            return None
        context = remote_context(head.trace, contexts.get_current())
        about = {
            "milepost.run_id": head.run_id,
            "milepost.pipeline": head.pipeline,
            "milepost.stage": stage,
            "milepost.attempt": head.attempt,
            "milepost.worker": head.worker,
        }
        if head.recovered_from:
            about["milepost.recovered_from"] = head.recovered_from
        span = tracer.start_span(
            f"{head.pipeline}.{stage}",
            context=context,
            kind=SpanKind.CONSUMER,
            attributes=about,
            links=_links(head),
        )
        token = contexts.attach(trace.set_span_in_context(span, context))

        def end(outcome: Outcome, error: BaseException | None) -> None:
            contexts.detach(token)
            span.set_attribute("milepost.outcome", outcome.value)
            if error is not None:
                span.add_event("exception", _exception(error))
                span.set_status(Status(StatusCode.ERROR, redacted(text_of(error))[:_LONGEST]))
            span.end()

        return end


def flush(**_: Any) -> None:
    """Let spans that wait in a batch go out; a pool process ends without another chance."""
    export = getattr(trace.get_tracer_provider(), "force_flush", None)
    if export is not None:
        export()


def _links(head: Head) -> Sequence[Link]:
    """Return a link to the try of this stage that failed before."""
    before = (head.failure or {}).get("trace")
    if not before:
        return ()
    there = trace.get_current_span(remote_context(before, contexts.Context())).get_span_context()
    return (Link(there, {"milepost.link": "try before"}),) if there.is_valid else ()


def _exception(error: BaseException) -> dict[str, str]:
    """Return *error* under the names of OpenTelemetry's conventions, without secrets."""
    trace = "".join(format_exception(type(error), error, error.__traceback__, limit=-20))
    return {
        "exception.type": type(error).__name__,
        "exception.message": redacted(text_of(error))[:_LONGEST],
        "exception.stacktrace": redacted(trace[-LONGEST:])[-_LONGEST:],
    }
