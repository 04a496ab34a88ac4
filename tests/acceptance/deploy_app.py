"""One app in two versions, ``CODE`` says which: stage b is called bee in the second, and d comes before c."""

from __future__ import annotations

import os
from typing import Any

from milepost.tasks import Milepost

CODE = os.environ.get("CODE", "1")


def build(url: str, code: str) -> Milepost:
    """Return the app of that version."""
    app = Milepost(url)
    line = app.pipeline("line", version=code)

    def note(state: dict[str, Any], stage: str) -> dict[str, Any]:
        return {"done": [*state.get("done", []), f"{stage}{code}"]}

    names = ["a", "b", "c"] if code == "1" else ["a", "bee", "d", "c"]
    for name in names:
        former = ["b"] if name == "bee" else []
        line.stage(name=name, formerly=former)(lambda state, stage=name: note(state, stage))
    return app


if "MILEPOST_URL" in os.environ:
    app = build(os.environ["MILEPOST_URL"], CODE)
