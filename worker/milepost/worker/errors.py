"""Errors of the room.

MilepostError
└── UnknownWorker          no living worker of that name has reported itself
"""

from __future__ import annotations

from milepost.checkpointing import MilepostError


class UnknownWorker(MilepostError):
    """No living worker of that name has reported itself."""
