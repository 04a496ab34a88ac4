"""Whether a worker lives, and whether it takes messages."""

from __future__ import annotations

import time
from collections.abc import Iterable

from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family

from milepost.checkpointing import CheckpointError
from milepost.tasks import Milepost
from milepost.tasks.observer import Observer

from .metrics import LOOK_AGE, READY, STOPPING

_STUCK_SECONDS = 120.0
"""After which a look that does not come back is taken for stuck; stores may take a while to say no."""
_ASK_SECONDS = 1.0


class Health(Observer):
    """What the page of a worker's health says. It collects its metrics for a registry, too."""

    def __init__(self, app: Milepost) -> None:
        self._app = app
        self._turned = self._looked = time.monotonic()
        self._asked = 0.0
        self._silent = ""
        self.consuming = False
        """Whether the consumer is connected and takes messages."""
        self.stopping = False

    def looked(self, published: int | None) -> None:
        self._turned = time.monotonic()
        if published is not None:
            self._looked = self._turned

    def illness(self) -> str:
        """Return why the process should be replaced; empty if it need not be.

        A store that is away is no reason: a new process would not reach it either.
        """
        age = time.monotonic() - self._turned
        return f"nobody has looked after runs for {age:.0f} s" if age > _STUCK_SECONDS else ""

    def hindrance(self) -> str:
        """Return why it takes no messages; empty if it does. The run store is asked once a second at most."""
        if self.stopping:
            return "it was told to stop"
        if not self.consuming:
            return "the consumer is not connected to the broker"
        now = time.monotonic()
        if now - self._asked >= _ASK_SECONDS:
            try:
                self._app.runs.get("health")
                self._silent = ""
            except CheckpointError as error:
                self._silent = str(error)
            self._asked = time.monotonic()
        return self._silent

    def describe(self) -> list[Family]:
        """Name nothing twice: `collect` is cheap and says it all."""
        return []

    def collect(self) -> Iterable[Family]:
        """Yield the metrics of now."""
        ready = self.consuming and not self.stopping
        for metric, value in (
            (LOOK_AGE, time.monotonic() - self._looked),
            (READY, float(ready)),
            (STOPPING, float(self.stopping)),
        ):
            yield GaugeMetricFamily(metric.name, metric.help, value=value)
