"""The state that the pipelines hand on."""

from __future__ import annotations

import base64
import random
from typing import Any


def make_state(size_bytes: int = 1_000) -> dict[str, Any]:
    """Return JSON of about that size that does not compress to nothing."""
    raw = random.Random(size_bytes).randbytes(max(0, size_bytes - 20) * 3 // 4)
    return {"n": 0, "pad": base64.b64encode(raw).decode()}
