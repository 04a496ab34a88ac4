"""For tests: pipelines of yours that crash everywhere, and the suite that proves a run store of yours.

Subclass `RunStoreContract` in a test module and give its hooks; see `crash_everywhere` for the other.
"""

from __future__ import annotations

from .claiming import Claiming
from .commands import Commands
from .committing import Committing
from .crashing import Survivor, crash_everywhere
from .creating import Creating
from .failing import Failing
from .failures import Failures
from .intending import Intending
from .keeping import Keeping
from .listing import Listing
from .looking import Looking
from .owners import Owners
from .putting_off import PuttingOff
from .rebuilding import Rebuilding
from .saving import Saving
from .seeing import Seeing
from .spending import Spending
from .suspects import Suspects

__all__ = ["RunStoreContract", "Survivor", "crash_everywhere"]


class RunStoreContract(
    Creating,
    Claiming,
    Committing,
    Saving,
    Spending,
    Failing,
    PuttingOff,
    Owners,
    Suspects,
    Looking,
    Commands,
    Seeing,
    Intending,
    Rebuilding,
    Listing,
    Failures,
    Keeping,
):
    """What `milepost.tasks.runs.RunStore` promises; `case.RunStoreCase` has the hooks to give."""
