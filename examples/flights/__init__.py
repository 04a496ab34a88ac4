"""A durable pipeline over every flight that left New York City in 2013."""

from .pipeline import app
from .state import Flights

__all__ = ["Flights", "app"]
