"""An application full of secrets, whose stages let all of them out."""

from __future__ import annotations

import json
import logging
import os
from typing import Any

import acceptance.traced_app  # noqa: F401 - it sets OpenTelemetry up
from milepost.tasks import Context, Milepost, Retry

app = Milepost()
leaky = app.pipeline("leaky")
theirs = logging.getLogger("theirs")


@leaky.stage(retry=Retry(attempts=2, backoff="1s"))
def leak(state: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """Log secrets in all ways, and fail of them."""
    canaries = json.loads(os.environ["TEST_CANARIES"])
    for name, value in canaries.items():
        theirs.warning("%s is here: %s", name.upper(), value)
        theirs.warning("by key", extra={"password": f"extra-{value}", "data": {"api_key": value}})
        theirs.warning({"message": value, "authorization": f"Bearer {value}"})
        ctx.log.warning(f"json {json.dumps({'value': value})} and repr {value!r}")
        print("printed", value)
    theirs.warning("their own: password=Unknown-canary-1 token: 'Unknown-canary-2'")
    theirs.warning("their own: https://me:Unknown-canary-3@host/x?api_key=Unknown-canary-4")
    theirs.warning('their own: {"client_secret": "Unknown-canary-5", "n": 1}')
    theirs.warning("their own: Authorization: Bearer Unknown-canary-6")
    try:
        raise KeyError("password=Unknown-canary-7")
    except KeyError:
        theirs.exception("caught")
    raise ValueError(f"all of it: {' '.join(canaries.values())} secret=Unknown-canary-8")
