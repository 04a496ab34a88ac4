"""What a run may spend: limits by unit, and whether one is used up."""

from __future__ import annotations

from collections.abc import Mapping

from milepost.checkpointing import Misconfigured
from milepost.checkpointing.ids import valid_name

from .errors import BudgetExceeded
from .head import Head
from .spent import Amounts, added, read_amounts, write_amounts

_TOKENS = ("tokens_in", "tokens_out")
_MOST = 1e15


def valid_budget(limits: Mapping[str, float]) -> str:
    """Write limits as a head keeps them.

    Raises:
        Misconfigured: One is not a number above zero.
        InvalidName: A unit breaks the rule for names.
    """
    return write_amounts(valid_amounts(limits, "budget"))


def valid_amounts(amounts: Mapping[str, float], what: str) -> Amounts:
    """Return amounts by unit as numbers from zero; of a budget, above zero.

    Raises:
        Misconfigured: One is something else.
        InvalidName: A unit breaks the rule for names.
    """
    for unit, amount in amounts.items():
        valid_name(unit, "unit")
        number = isinstance(amount, int | float) and not isinstance(amount, bool)
        if not number or not 0 <= amount <= _MOST or (amount == 0 and what == "budget"):
            raise Misconfigured(
                f"{amount!r:.40} {unit} is no {what}: expected a number above zero, at most {_MOST:g}."
            )
    return {unit: float(amount) for unit, amount in amounts.items()}


def spent_so_far(head: Head) -> Amounts:
    """Return what a run has spent in all, in the units of budgets, as its head has it."""
    total = added(head.spent.total, read_amounts(head.spent_try))
    # The one that asks is counted already.
    total["attempts"] = max(0, head.tries - 1)
    total["bytes"] = head.written_bytes
    return total


def _with_tokens(amounts: Amounts) -> Amounts:
    """Count tokens in and out together, too."""
    tokens = amounts.get("tokens", 0) + sum(amounts.get(unit, 0) for unit in _TOKENS)
    return {**amounts, "tokens": tokens} if tokens else amounts


def check_budget(head: Head, spent: Amounts, planned: Amounts | None = None) -> None:
    """See that a run has something left of everything, and enough for what is *planned*.

    Args:
        spent: In all, until now.
        planned: What is about to be spent; without it a limit that is reached is used up.

    Raises:
        BudgetExceeded: A limit is used up, or would be crossed.
    """
    spent = _with_tokens(spent)
    planned = None if planned is None else _with_tokens(planned)
    for unit, limit in read_amounts(head.budget).items():
        has = spent.get(unit, 0)
        wanted = 0.0 if planned is None else planned.get(unit, 0.0)
        over = has >= limit if planned is None else 0 < wanted > limit - has
        if over:
            more = f", and {wanted:g} more are wanted" if wanted else ""
            raise BudgetExceeded(
                f"Run {head.run_id} may spend {limit:g} {unit}; {has:g} are spent{more}. Top it up "
                f"(run.top_up({unit}=…)) and resume it, or cancel it.",
                unit=unit,
                run_id=head.run_id,
            )
