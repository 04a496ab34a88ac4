"""An application with OpenTelemetry set up, whose processes write their spans to one file."""

from __future__ import annotations

import json
import logging
import os
import signal
from collections.abc import Sequence

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from acceptance.pipelines import Trail
from milepost.tasks import Context, Milepost, Retry


class Lines(SpanExporter):
    """One JSON object a line; a line is written whole."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        file = os.open(os.environ["TEST_SPANS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for span in spans:
            about = {**json.loads(span.to_json(indent=None)), "pid": os.getpid()}
            os.write(file, json.dumps(about).encode() + b"\n")
        os.close(file)
        return SpanExportResult.SUCCESS


provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(Lines()))
trace.set_tracer_provider(provider)

app = Milepost()
traced = app.pipeline("traced")


@traced.stage
async def nest(state: Trail, ctx: Context) -> Trail:
    """Open a span of its own."""
    with trace.get_tracer("theirs").start_as_current_span("own work"):
        logging.getLogger("theirs").warning("in the middle of it")
    return Trail(done=["nest"])


@traced.stage
def die(state: Trail, ctx: Context) -> Trail:
    """Take its process along, the first time."""
    if ctx.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return Trail(done=[*state.done, "die"])


@traced.stage(retry=Retry(attempts=2, backoff="1s"))
def stumble(state: Trail, ctx: Context) -> Trail:
    """Fail, the first time."""
    if ctx.attempt == 1:
        raise ValueError("stumbled over redis://user:hunter2@host/0")
    return Trail(done=[*state.done, "stumble"])


@traced.stage
def end(state: Trail) -> Trail:
    """Come to the end."""
    return Trail(done=[*state.done, "end"])
