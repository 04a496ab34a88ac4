"""Celery's own command, on what ``pip install celery[redis]`` brings.

That is redis-py without hiredis, its parser in C, which Milepost requires and which is therefore installed
here. Blocking the import before anything is loaded leaves redis-py as such an installation has it.
"""

import sys

sys.modules["hiredis"] = None  # type: ignore[assignment]

from celery.__main__ import main  # noqa: E402
from redis.utils import HIREDIS_AVAILABLE  # noqa: E402

if HIREDIS_AVAILABLE:
    raise AssertionError("hiredis is in use; expected redis-py's parser in Python")
main()
