"""The contract of a check."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from milepost.checkpointing import MilepostError

if TYPE_CHECKING:
    from .site import Site


class Verdict(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    """It works, and one day may not, or something waits for a decision."""
    FAIL = "fail"
    """Runs can be lost, or do not go on."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check has found, in one sentence, and what to do about it."""

    check: str
    verdict: Verdict
    where: str
    """A URL without its password, a queue, a worker; empty: the application."""
    says: str
    remedy: str = ""

    def __str__(self) -> str:
        return " ".join(part for part in (self.says, self.remedy) if part)


class Check(ABC):
    """One question to a site. It has at least one answer, and changes nothing that others could notice."""

    name: ClassVar[str]

    @abstractmethod
    def findings(self, site: Site) -> Iterator[Finding]:
        """Yield what is found; may raise what stores raise."""

    def examined(self, site: Site) -> Iterator[Finding]:
        """Yield what is found; a check that cannot be made, or breaks, is a failure with its reason."""
        try:
            yield from self.findings(site)
        except MilepostError as error:
            yield self.fail(f"It cannot be checked: {error}", "")
        except Exception as error:  # noqa: BLE001 - it must not hide what others find
            yield self.fail(f"The check itself failed: {error!r}", "")

    def ok(self, says: str, where: str = "") -> Finding:
        """Return a finding that all is well."""
        return Finding(self.name, Verdict.OK, where, says)

    def warn(self, says: str, remedy: str, where: str = "") -> Finding:
        """Return a finding of something that works for now."""
        return Finding(self.name, Verdict.WARN, where, says, remedy)

    def fail(self, says: str, remedy: str, where: str = "") -> Finding:
        """Return a finding of something that does not work, or loses runs."""
        return Finding(self.name, Verdict.FAIL, where, says, remedy)
