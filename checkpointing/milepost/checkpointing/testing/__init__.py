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

_ASPECTS = ("batches", "damage", "deletion", "expiry", "latest", "listing", "racing", "writing")
pytest.register_assert_rewrite(*(f"{__name__}.{name}" for name in _ASPECTS))

from .batches import BatchesContract  # noqa: E402
from .damage import DamageContract  # noqa: E402
from .deletion import DeletionContract  # noqa: E402
from .expiry import ExpiryContract  # noqa: E402
from .latest import LatestContract  # noqa: E402
from .listing import ListingContract  # noqa: E402
from .racing import RacingContract  # noqa: E402
from .records import make_record  # noqa: E402
from .writing import WritingContract  # noqa: E402

__all__ = [
    "BatchesContract",
    "CheckpointStoreContract",
    "DamageContract",
    "DeletionContract",
    "ExpiryContract",
    "LatestContract",
    "ListingContract",
    "RacingContract",
    "WritingContract",
    "make_record",
]


class CheckpointStoreContract(
    WritingContract,
    RacingContract,
    DamageContract,
    LatestContract,
    BatchesContract,
    ListingContract,
    ExpiryContract,
    DeletionContract,
):
    """All of the contract.

    Give a fixture `address` where other processes can open the store by a URL. Set `atomic_create` to
    False only for a stand-in of a server whose create-only write is known to have no lock; such a store is
    not fit for more than one worker.
    """
