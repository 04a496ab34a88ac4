"""The dashboard: pages for people, served beside the HTTP API by the same process."""

from .routes import routes

__all__ = ["routes"]
