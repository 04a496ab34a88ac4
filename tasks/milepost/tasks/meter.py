"""What one try of a stage spends."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from milepost.checkpointing import Refused, Unavailable

from .budget import check_budget, spent_so_far, valid_amounts
from .errors import BudgetExceeded, ClaimLost, OutOfBudget
from .runs import Claim
from .spent import Amounts, added, write_amounts

if TYPE_CHECKING:
    from .runtime import Runtime

logger = logging.getLogger("milepost")


class Meter:
    """Adds up what a try reports, and notes each report in the run store.

    What is noted is the sum until then, so that a report that the store missed comes with the next one, or
    with the commit.
    """

    def __init__(self, runtime: Runtime, claim: Claim) -> None:
        self._runs = runtime.runs
        self._process = runtime.process
        self._claim = claim
        self._began = self._process.monotonic()
        self._lock = threading.Lock()
        self._noted: Amounts = {}
        self._noted_as_kept: Amounts = {}
        self.amounts: Amounts = {}

    @property
    def written(self) -> str:
        """The sum as a head keeps it."""
        return write_amounts(self.amounts)

    def cost(self, amounts: Mapping[str, float]) -> None:
        """Add a report."""
        checked = valid_amounts(amounts, "amount")
        with self._lock:
            self.amounts = added(self.amounts, checked)
            self._note(kept=False)

    def flush(self) -> None:
        """Note what the store has missed, before the try ends without a commit."""
        with self._lock:
            if self.amounts != self._noted:
                self._note(kept=False)

    def keep(self) -> None:
        """Note that what was spent until now stands, whatever becomes of the try."""
        with self._lock:
            if self.amounts != self._noted_as_kept and self._note(kept=True):
                self._noted_as_kept = self.amounts

    def afford(self, planned: Mapping[str, float]) -> None:
        """Park the run if *planned* would cross its budget."""
        wanted = valid_amounts(planned, "amount")
        seconds = {"seconds": self._process.monotonic() - self._began}
        head = self._claim.head
        spent = added(spent_so_far(head), self.amounts, seconds)
        try:
            check_budget(head, spent, wanted)
        except BudgetExceeded as error:
            now = self._runs.get(head.run_id)
            if now is None or now.budget == head.budget:
                raise OutOfBudget(error) from None
            # It was topped up meanwhile.
            self._claim = replace(self._claim, head=replace(head, budget=now.budget))
        else:
            return
        self.afford(planned)

    def _note(self, *, kept: bool) -> bool:
        try:
            if not self._runs.spend(self._claim, self.written, kept=kept):
                raise ClaimLost(f"Run {self._claim.head.run_id} was given to another worker.")
            self._noted = self.amounts
            return True
        except (Unavailable, Refused) as error:
            logger.warning(
                "Run %s: a cost could not be noted yet: %s", self._claim.head.run_id, error
            )
            return False
