"""A stage that ends its process in a way of its input's choice, and one that does no harm."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import threading

from celery.exceptions import Reject
from pydantic import BaseModel

from milepost.tasks import Milepost

app = Milepost()
deadly, calm = app.pipeline("deadly"), app.pipeline("calm")


class Way(BaseModel):
    """How the process ends."""

    end: str


class Odd(Exception):
    """One that cannot be pickled, nor made again from its arguments."""

    def __init__(self, size: int, password: str) -> None:
        super().__init__(f"redis://:{password}@host/0 said {'no ' * size}")
        self.lock = threading.Lock()


@deadly.stage
def die(state: Way) -> Way:
    match state.end:
        case "os._exit":
            os._exit(3)
        case "sys.exit":
            sys.exit(3)
        case "segmentation fault":
            ctypes.string_at(0)
        case "killed for its memory":
            os.kill(os.getpid(), signal.SIGKILL)
        case "no more memory":
            soft, hard = resource.getrlimit(resource.RLIMIT_AS)
            resource.setrlimit(resource.RLIMIT_AS, (4 << 30, hard))
            try:
                bytearray(8 << 30)
            finally:
                resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        case "odd error":
            raise Odd(10_000_000, "hunter2")
        case "a word of Celery's":
            raise Reject("no", requeue=True)
        case "odd end":
            raise GeneratorExit(Odd(0, "hunter2"))
    return state


@calm.stage
def rest(state: dict[str, int]) -> dict[str, int]:
    return state
