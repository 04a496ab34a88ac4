"""How checkpoints become bytes: the contract of a codec and the three there are."""

from .base import Codec, Parts

__all__ = ["Codec", "Parts"]
