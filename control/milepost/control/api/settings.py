"""Settings of the HTTP API, read from ``MILEPOST_API_…`` variables."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, IPvAnyNetwork
from pydantic_settings import NoDecode

from milepost.checkpointing.environment import Environment


def _networks(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    found = []
    for part in filter(None, (part.strip() for part in value.split(","))):
        try:
            found.append(ip_network(part))
        except ValueError:
            raise ValueError(
                f"{part} is neither an IP address nor a network such as 10.0.0.0/8; "
                "separate several by commas"
            ) from None
    return tuple(found)


class ApiSettings(Environment):
    """What the API takes from one request, one connection and one key."""

    api_body_bytes: int = Field(default=10_000_000, gt=0)
    """The longest body of a request."""

    api_body_depth: int = Field(default=100, ge=2, le=500)
    """How deep the JSON of a body may be nested."""

    api_body_seconds: float = Field(default=20.0, gt=0)
    """How long a client may take to send a body."""

    api_header_seconds: float = Field(default=10.0, gt=0)
    """How long a connection may take until a request's headers are there."""

    api_stall_seconds: float = Field(default=30.0, gt=0)
    """How long a client may leave what was sent to it unread before it is cut off."""

    api_trusted_proxies: Annotated[
        tuple[IPvAnyNetwork, ...], NoDecode, BeforeValidator(_networks)
    ] = ()
    """Addresses and networks of the proxies in front, separated by commas: whose ``X-Forwarded-Proto`` and
    ``X-Forwarded-For`` say how and from where a client came. Nobody else's are believed."""

    api_connections: int = Field(default=2_000, ge=1)
    """How many connections are served at once; more are answered with 503."""

    api_threads: int = Field(default=16, ge=1)
    """How many requests ask the stores at once; the others wait for their turn."""

    api_rate_per_second: float = Field(default=2_000.0, ge=0)
    """Requests a key may make in the long run, for each process of the API; 0: as many as it likes."""

    api_rate_burst: int = Field(default=4_000, ge=1)
    """Requests a key may make at once after a pause."""

    api_bulk_seconds: float = Field(default=300.0, gt=0)
    """How long one bulk request works; what is left then is done by the same request again."""

    api_bulk_jobs: int = Field(default=8, ge=1)
    """How many bulk commands go on at once, of requests and of the dashboard."""

    api_bulk_jobs_per_key: int = Field(default=4, ge=1)
    """How many of them one key may have."""

    api_streams: int = Field(default=1_000, ge=1)
    """How many event streams, WebSockets and waits for a run are served at once."""

    api_streams_per_key: int = Field(default=200, ge=1)
    """How many of them one key may have."""

    api_stream_backlog: int = Field(default=256, ge=1)
    """How many events may wait for a slow client before it is dropped."""

    api_poll_seconds: float = Field(default=0.5, gt=0)
    """How often the store is asked for changes while somebody follows runs; once for all who do."""

    api_heartbeat_seconds: float = Field(default=15.0, gt=0)
    """How often a silent event stream says that it is alive, and whether its key is still good is asked."""

    api_metrics_public: bool = False
    """Whether ``/metrics`` needs no key. It names pipelines and queues, so by default it needs one."""
