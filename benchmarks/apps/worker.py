"""What a worker loads: the application that the driver names in the environment."""

from __future__ import annotations

import os
from importlib import import_module

from benchmarks.probe import announce_readiness

app = import_module(f"benchmarks.apps.{os.environ['BENCH_APP']}").build(os.environ["BENCH_URL"])
announce_readiness()
