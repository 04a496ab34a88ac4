"""The durable state of a run, and where it is kept. Knows nothing of Celery."""

from .errors import (
    AlreadyExists,
    CheckpointError,
    Corrupt,
    Expired,
    InvalidName,
    MilepostError,
    Misconfigured,
    MissingExtra,
    MissingKey,
    NotFound,
    NotSerializable,
    Refused,
    TooLarge,
    Unavailable,
    UnknownFormat,
    Unprotected,
)
from .manager import CheckpointManager
from .models import Checkpoint, CheckpointKey, CheckpointMetadata, Kind, Record, Status
from .page import Page
from .serializer import Serializer
from .settings import CheckpointSettings
from .stores import CheckpointStore, Entry, open_store
from .types import Types

__all__ = [
    "AlreadyExists",
    "Checkpoint",
    "CheckpointError",
    "CheckpointKey",
    "CheckpointManager",
    "CheckpointMetadata",
    "CheckpointSettings",
    "CheckpointStore",
    "Corrupt",
    "Entry",
    "Expired",
    "InvalidName",
    "Kind",
    "MilepostError",
    "Misconfigured",
    "MissingExtra",
    "MissingKey",
    "NotFound",
    "NotSerializable",
    "Page",
    "Record",
    "Refused",
    "Serializer",
    "Status",
    "TooLarge",
    "Types",
    "Unavailable",
    "UnknownFormat",
    "Unprotected",
    "open_store",
]
