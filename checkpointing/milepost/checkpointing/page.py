"""One page of a listing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items in order, and where the next page begins.

    `cursor` is opaque; None says that this was the last page. A listing shows each item that exists
    during all of it exactly once; items made or removed meanwhile may or may not be shown.
    """

    items: tuple[T, ...]
    cursor: str | None = None
