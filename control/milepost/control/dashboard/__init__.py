"""The dashboard: pages for people, served beside the HTTP API by the same process."""

from .doorkeeper import SessionIdentity
from .routes import router, routes
from .site import Site

__all__ = ["SessionIdentity", "Site", "router", "routes"]
