"""A server that lives as long as a ``with`` block."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Server(ABC):
    """Started on entering; ended on leaving, and when it does not come up."""

    @abstractmethod
    def start(self) -> Self:
        """Start, and return when it can be used."""

    @abstractmethod
    def close(self) -> None:
        """End the server, if it runs, and remove its data."""

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
