"""One trace a run: begun where the run is started, carried by its head as a W3C ``traceparent``."""

from __future__ import annotations

import sys
from typing import Any

_HEADER = "traceparent"


def configured_tracer() -> Any:
    """Return OpenTelemetry's tracer for Milepost; None where the program has not set OpenTelemetry up.

    Who has not even imported it cannot have: that is asked first, and costs next to nothing.
    """
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None or isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return None
    return trace.get_tracer("milepost")


def begin_trace(pipeline: str, run_id: str) -> str:
    """Note the start of a run as a span, and return the ``traceparent`` of it; empty without a tracer."""
    tracer = configured_tracer()
    if tracer is None:
        return ""
    about = {"milepost.run_id": run_id, "milepost.pipeline": pipeline}
    with tracer.start_as_current_span(f"start {pipeline}", attributes=about):
        return current_trace()


def noted_trace() -> dict[str, str]:
    """Return what a failed try notes, so that the next one can be linked to it; nothing if not traced."""
    if configured_tracer() is None:
        return {}
    here = current_trace()
    return {"trace": here} if here else {}


def current_trace() -> str:
    """Return the ``traceparent`` of the span that is current here; empty if none is."""
    carrier: dict[str, str] = {}
    _propagator().inject(carrier)
    return carrier.get(_HEADER, "")


def remote_context(traceparent: str, base: Any = None) -> Any:
    """Return *base*, or the current context, with the span that *traceparent* names as the current one."""
    return _propagator().extract({_HEADER: traceparent}, context=base)


def _propagator() -> Any:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator()
