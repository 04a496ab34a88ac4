"""What the signatures of routes are made of."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Header, Path

from .bodies import NAME_PATTERN
from .identity import Identity, requires
from .keys import Scope

Reader = Annotated[Identity, Depends(requires(Scope.READ))]
Operator = Annotated[Identity, Depends(requires(Scope.OPERATE))]
FleetReader = Annotated[Identity, Depends(requires(Scope.READ, every_tenant=True))]
Admin = Annotated[Identity, Depends(requires(Scope.ADMIN, every_tenant=True))]

RunId = Annotated[str, Path(pattern=NAME_PATTERN, max_length=128, examples=["flights-2013"])]
PathName = Annotated[str, Path(pattern=NAME_PATTERN, max_length=128)]
IfMatch = Annotated[
    str | None,
    Header(max_length=1000, description="Do it only if the run stands where its ETag was seen."),
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        description="The same key with the same input is the same run, whatever is lost on the way.",
    ),
]
LastEventId = Annotated[
    str | None,
    Header(
        max_length=100, description="Of the last event received: what came since is sent first."
    ),
]
CONDITIONAL: dict[str, Any] = {
    "parameters": [
        {
            "name": "If-None-Match",
            "in": "header",
            "required": False,
            "schema": {"type": "string"},
            "description": "An ETag: if it still holds, the answer is 304 without a body.",
        }
    ]
}
EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Server-Sent Events",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}
