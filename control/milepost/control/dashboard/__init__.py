"""The dashboard: pages for people, served beside the HTTP API by the same process."""

from .routes import routes
from .session import COOKIE, Doorkeeper, Session, Sessions
from .site import Site

__all__ = ["COOKIE", "Doorkeeper", "Session", "Sessions", "Site", "routes"]
