"""The folder a run keeps its files in, written so that a kill at any moment harms nothing."""

import hashlib
import io
import os
import time
import uuid
from pathlib import Path

import pandas as pd

from .record import Artifact

TEMPORARY = ".partial-"
ABANDONED = 3600.0


class Artifacts:
    """Files of one run under FLIGHTS_OUT, read back only if they still match their digest."""

    def __init__(self, run: str) -> None:
        self.folder = Path(os.environ.get("FLIGHTS_OUT", "flights-out")) / run

    def write(self, name: str, content: bytes) -> Artifact:
        """Put the whole content in place in one step, replacing what was there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.folder / f"{TEMPORARY}{uuid.uuid4().hex}"
        try:
            with partial.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, self.folder / name)
        finally:
            partial.unlink(missing_ok=True)
        self._sync()
        return Artifact(name=name, size=len(content), sha256=hashlib.sha256(content).hexdigest())

    def read(self, artifact: Artifact) -> bytes:
        """The content, or a ValueError when it is not what the state says was written."""
        content = (self.folder / artifact.name).read_bytes()
        if hashlib.sha256(content).hexdigest() != artifact.sha256:
            raise ValueError(f"{artifact.name} has changed since it was written")
        return content

    def write_table(self, name: str, table: pd.DataFrame) -> Artifact:
        """Write a table as parquet; equal tables give equal bytes."""
        buffer = io.BytesIO()
        table.to_parquet(buffer, index=False, compression="zstd")
        return self.write(f"{name}.parquet", buffer.getvalue())

    def read_table(
        self, name: str, written: list[Artifact], columns: list[str] | None = None
    ) -> pd.DataFrame:
        """Read a table that an earlier stage listed among the files it wrote."""
        [artifact] = [item for item in written if item.name == f"{name}.parquet"]
        return pd.read_parquet(io.BytesIO(self.read(artifact)), columns=columns)

    def sweep(self) -> None:
        """Delete what killed attempts left half written, sparing any that may still be alive."""
        for partial in self.folder.glob(f"{TEMPORARY}*"):
            try:
                if time.time() - partial.stat().st_mtime > ABANDONED:
                    partial.unlink()
            except FileNotFoundError:
                continue

    def _sync(self) -> None:
        # A rename survives a power cut only once its directory has reached the disk.
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
