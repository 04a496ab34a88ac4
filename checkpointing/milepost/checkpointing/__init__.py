"""The durable state of a run, and where it is kept. Knows nothing of Celery."""

from .blob import Blob
from .blob_streams import BlobReader, BlobWriter
from .comparison import ABSENT, Difference, compare
from .config import CheckpointConfig
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
from .policies import Adaptive, Always, AnyOf, AtSteps, EveryN, Interval, OnEvents, Policy, Since
from .reader import CheckpointReader, Recovery
from .retention import Usage
from .serializer import Serializer
from .settings import CheckpointSettings
from .stores import CheckpointStore, Entry, open_store
from .types import Types

__all__ = [
    "ABSENT",
    "Adaptive",
    "AlreadyExists",
    "Always",
    "AnyOf",
    "AtSteps",
    "Blob",
    "BlobReader",
    "BlobWriter",
    "Checkpoint",
    "CheckpointConfig",
    "CheckpointError",
    "CheckpointKey",
    "CheckpointManager",
    "CheckpointMetadata",
    "CheckpointReader",
    "CheckpointSettings",
    "CheckpointStore",
    "Corrupt",
    "Difference",
    "Entry",
    "EveryN",
    "Expired",
    "Interval",
    "InvalidName",
    "Kind",
    "MilepostError",
    "Misconfigured",
    "MissingExtra",
    "MissingKey",
    "NotFound",
    "NotSerializable",
    "OnEvents",
    "Page",
    "Policy",
    "Record",
    "Recovery",
    "Refused",
    "Serializer",
    "Since",
    "Status",
    "TooLarge",
    "Types",
    "Unavailable",
    "UnknownFormat",
    "Unprotected",
    "Usage",
    "compare",
    "open_store",
]
