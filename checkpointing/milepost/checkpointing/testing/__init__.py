"""The contract of a checkpoint store as tests: subclass it to prove a store of your own.

    class TestMyStore(CheckpointStoreContract):
        @pytest.fixture
        def store(self, tmp_path):
            with MyStore(tmp_path) as store:
                yield store

The fixture must give an empty store to each test. Needs pytest; nothing here sleeps.
"""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(
    *(f"{__name__}.{name}" for name in ("deletion", "expiry", "latest", "listing", "writing"))
)

from .deletion import DeletionContract  # noqa: E402
from .expiry import ExpiryContract  # noqa: E402
from .latest import LatestContract  # noqa: E402
from .listing import ListingContract  # noqa: E402
from .records import make_record  # noqa: E402
from .writing import WritingContract  # noqa: E402

__all__ = [
    "CheckpointStoreContract",
    "DeletionContract",
    "ExpiryContract",
    "LatestContract",
    "ListingContract",
    "WritingContract",
    "make_record",
]


class CheckpointStoreContract(
    WritingContract, LatestContract, ListingContract, ExpiryContract, DeletionContract
):
    """All of the contract.

    Set `atomic_create` to False only for a stand-in of a server whose create-only write is known
    to have no lock; such a store is not fit for more than one worker.
    """
