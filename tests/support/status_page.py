"""The status page of a worker, as Prometheus and a supervisor read it."""

from __future__ import annotations

import urllib.error
import urllib.request
from contextlib import suppress

from prometheus_client.parser import text_string_to_metric_families

from .ports import free_port


class StatusPage:
    """The page on a free port; `env` lets a worker serve it."""

    def __init__(self) -> None:
        self.port = free_port()
        self.env = {"MILEPOST_METRICS_PORT": str(self.port)}

    def get(self, path: str) -> tuple[int, str]:
        """Return status and body; 0 while nobody listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def names(self) -> set[str]:
        """The series that are there."""
        families = text_string_to_metric_families(self.get("/metrics")[1])
        return {sample.name for family in families for sample in family.samples}

    def value(self, name: str, **labels: str) -> float:
        """The sum of the samples of that name that have these labels; 0 if there is none."""
        families = text_string_to_metric_families(self.get("/metrics")[1])
        return sum(
            sample.value
            for family in families
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def is_up(self) -> bool:
        """Whether the worker says that it takes messages."""
        with suppress(OSError):
            return self.get("/readyz")[0] == 200
        return False
