"""Running pipelines: workers, heartbeats, recovery, shutdown and the embedded server."""

from .embedded import EmbeddedServer
from .settings import WorkerSettings

__all__ = ["EmbeddedServer", "WorkerSettings"]
